# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A vault that is full, read-only or limited by a quota."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from unit.limits import largest_file

from playbooks.bench import Bench, only, reasons


@pytest.fixture
def small_vault(bench: Bench, tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB for the vault; where only root may mount one, tests that need it are skipped."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "ovm-test", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted")
    bench.vault = place / "vault"
    try:
        bench.make_vault()
        yield place
        # What the fixture of the bench would look for is looked for here, while it is there.
        bench.check_settled()
    finally:
        bench.vault = tmp_path / "bench" / "vault"
        subprocess.run(["umount", str(place)], check=True)


def test_vault_is_full_or_read_only(bench: Bench, small_vault: Path) -> None:
    bench.subclients = {"both": only("big01", "bigfiles01", "old01")}
    # One after the other: what is removed of the first ones leaves room for the small one.
    bench.backup("both", "--forks", "1", code=2)
    assert bench.statuses() == {"big01": "Failed", "bigfiles01": "Failed", "old01": "Completed"}
    for why in (reasons(bench.job())[vm] for vm in ("big01", "bigfiles01")):
        assert why.startswith("Cannot write ") and "the vault is full" in why
    subprocess.run(["mount", "-o", "remount,ro", str(small_vault)], check=True)
    outcome = bench.backup("both", code=2)
    subprocess.run(["mount", "-o", "remount,rw", str(small_vault)], check=True)
    assert "the vault is mounted read-only" in outcome.messages["localhost"]


def test_quota_is_used_up(bench: Bench) -> None:
    bench.subclients = {"big": only("bigfiles01")}
    # A limit of the processes' files stands in for a quota: it needs no root.
    with largest_file(4 << 20):
        playbook = bench.start("backup", subclient="big")
    assert playbook.wait().code == 2
    vm = bench.job()["vms"]["bigfiles01"]
    assert vm["status"] == "Failed"
    assert vm["reason"].startswith("Cannot write ") and "File too large" in vm["reason"]
    # The first pass has failed, so the VM was never shut down.
    assert vm["outage"] is None
