# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks export and boot_test: with one variable each besides what they need, in check mode, and again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bootable.guest import GuestUnavailable, install_packages
from playbooks.bench import Bench, only, settled
from simulator.testing import Simulator

VM = "old01"


@pytest.fixture(scope="module")
def backup(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    made = Bench(simulator, tmp_path_factory.mktemp("saved") / "bench")
    made.make_vault()
    with settled(made):
        made.subclients = {"old": only(VM)}
        made.backup("old")
    return made


@pytest.fixture
def point(bench: Bench, backup: Bench) -> str:
    bench.take_vault(backup)
    return str(bench.points(VM)[0]["id"])


def test_export(bench: Bench, point: str, tmp_path: Path) -> None:
    directory = tmp_path / "exported"
    tree = bench.tree()
    foreseen = bench.run("export", "--check", client=VM, directory=str(directory))
    assert not directory.exists()
    done = bench.run("export", client=VM, directory=str(directory), compression="zstd", vm_name="copy", mac="new")
    assert [line.split(": ")[:2] for line in done.shown[0]][:1] == [["must", "disk old01-sys"]]
    assert len(foreseen.shown[0]) == len(done.shown[0])
    assert {f"{VM}.xml", f"{VM}.ovf", "report.txt", "export.json"} < set(os.listdir(directory))
    text = (directory / "report.txt").read_text(encoding="utf-8")
    assert text.startswith(f"copy: export of recovery point {point} of client {VM}\n")
    other = bench.run("export", code=2, client=VM, directory=str(directory))
    assert other.messages["localhost"].startswith(f"{directory} holds another export, or one that was changed: ")
    assert bench.tree() == tree


def test_boot_test_in_check_mode(bench: Bench, point: str) -> None:
    try:
        install_packages()
    except GuestUnavailable as problem:
        pytest.skip(f"no boot test: {problem}")
    tree = bench.tree()
    found = bench.run("boot_test", "--check", client=VM, pattern="login:")
    assert (found.shown, bench.tree()) == ([], tree)
    nothing = bench.run("boot_test", code=2, client=VM, point=point)
    assert nothing.messages == {"localhost": "Say what counts as up: one or more of pattern, port and screen_seconds"}
    assert bench.tree() == tree
