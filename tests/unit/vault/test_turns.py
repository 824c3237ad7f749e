# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Turns: what one process may do at a time."""

from __future__ import annotations

import errno
import fcntl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ansible_collections.ovm.backup.plugins.module_utils.errors import VaultLockedError
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Vault
from ansible_collections.ovm.backup.plugins.module_utils.vault.turns import turns

HOLD = """
import fcntl, sys
file = open(sys.argv[1], "r+b")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held_elsewhere(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process has the turn; closing its standard input ends it."""
    path.parent.mkdir(exist_ok=True)
    path.touch()
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == "held\n"
        yield process
        if not process.stdin.closed:
            process.stdin.close()


def test_a_turn_is_waited_for(vault: Vault, tmp_path: Path) -> None:
    waits = []

    with held_elsewhere(tmp_path / "vault" / "turns" / "clone-1") as other:

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 2:
                assert other.stdin is not None
                other.stdin.close()
                other.wait()

        with turns(vault, {"clone-2": 1, "clone-1": 1}, limit=60, clock=lambda: 0.0, sleep=sleep):
            assert waits == [0.5, 0.5]


def test_waiting_has_an_end(vault: Vault, tmp_path: Path) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    path = tmp_path / "vault" / "turns" / "clone-1"
    with (
        held_elsewhere(path),
        pytest.raises(VaultLockedError) as caught,
        turns(vault, {"clone-1": 1}, limit=2, clock=lambda: now[0], sleep=sleep),
    ):
        pass
    assert caught.value.message == f"Other runs did not leave clone-1 to this one in 2 s: {path} is locked"
    assert now == [2.0]


def test_a_turn_ends_with_its_block(vault: Vault, tmp_path: Path) -> None:
    with turns(vault, {"a/../b": 1}, limit=0):
        assert [path.name for path in (tmp_path / "vault" / "turns").iterdir()] == ["a_.._b"]
    with held_elsewhere(tmp_path / "vault" / "turns" / "a_.._b"):
        pass


def test_several_may_have_a_turn(vault: Vault, tmp_path: Path) -> None:
    folder = tmp_path / "vault" / "turns"
    with held_elsewhere(folder / "clone-1"), turns(vault, {"clone-1": 2}, limit=0):
        assert sorted(path.name for path in folder.iterdir()) == ["clone-1", "clone-1.1"]
    with (
        held_elsewhere(folder / "clone-1"),
        held_elsewhere(folder / "clone-1.1"),
        pytest.raises(VaultLockedError),
        turns(vault, {"clone-1": 2}, limit=0),
    ):
        pass


def test_no_locks_in_this_file_system(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_descriptor: int, _what: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    with turns(vault, {"clone-1": 1}, limit=0):
        pass
