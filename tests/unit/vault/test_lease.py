# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lock of a run that outlives its processes: leases, and debts that are never lost."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.ovm.backup.plugins.module_utils.errors import VaultLockedError, VaultWriteError
from ansible_collections.ovm.backup.plugins.module_utils.vault.lock import ClientLock
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.directory import DirectoryStorage

NOW = 1_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(tmp_path: Path, clock: Clock) -> Callable[..., ClientLock]:
    """Every call stands for another process."""

    def build(run_id: str = "one", **options: Any) -> ClientLock:
        return ClientLock(str(tmp_path), owner="me", run_id=run_id, **{"clock": clock, **options})

    return build


def content(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / "lock.json").read_text())
    return found


def test_a_run_holds_the_lock_between_its_processes(
    tmp_path: Path, make: Callable[..., ClientLock], clock: Clock
) -> None:
    assert make().hold(100.0, {"vm_stopped": False})
    assert "pid" not in content(tmp_path)
    clock.now += 90
    assert not make().hold(100.0), "the run has it already"
    assert content(tmp_path)["heartbeat"] == NOW + 90
    clock.now += 90
    with make() as lock:
        assert content(tmp_path)["pid"] == os.getpid()
        lock.check()
        with pytest.raises(VaultLockedError), make():
            pass
    assert "pid" not in content(tmp_path)
    assert content(tmp_path)["debts"] == {"vm_stopped": False}
    assert make().held
    assert make().release()
    assert not make().release()
    assert os.listdir(tmp_path) == []


def test_a_lock_that_cannot_be_read_is_not_said_to_be_given_back(
    tmp_path: Path, make: Callable[..., ClientLock], monkeypatch: pytest.MonkeyPatch
) -> None:
    make().hold(100.0)
    lock = make()

    def late(_self: DirectoryStorage, path: str) -> bytes:
        raise TimeoutError(errno.ETIMEDOUT, "the storage did not answer within the time limit", path)

    with monkeypatch.context() as patch:
        patch.setattr(DirectoryStorage, "read", late)
        with pytest.raises(VaultWriteError, match=r"^Cannot read .*/lock\.json: the storage did not answer"):
            lock.release()
    assert make().held
    assert lock.release()


def test_another_run_has_to_wait_for_the_end_of_the_lease(
    tmp_path: Path, make: Callable[..., ClientLock], clock: Clock
) -> None:
    make().hold(100.0)
    clock.now += 30
    for attempt in (lambda: make("two").hold(50.0), lambda: make("two").__enter__()):
        with pytest.raises(VaultLockedError) as caught:
            attempt()
        assert caught.value.message.endswith(
            "last heard of 30 s ago. Wait until it has ended; if it is dead, its lock ends in 70 s or by "
            "break_lock: true"
        )
    assert not make("two").held
    assert not make("two").release()
    assert make("two").status() == {**content(tmp_path), "alive": True}
    clock.now = NOW + 100
    with pytest.raises(VaultLockedError):
        make("two").hold(50.0)
    clock.now += 1
    assert make("two").status() == {**content(tmp_path), "alive": False}
    assert make("two").hold(50.0)
    with pytest.raises(VaultLockedError, match="is locked by run two"):
        make("one").hold(50.0)


def test_debts_are_inherited_until_they_are_settled(
    tmp_path: Path, make: Callable[..., ClientLock], clock: Clock
) -> None:
    make().hold(100.0, {"vm_stopped": True})
    assert not make().hold(100.0)
    assert content(tmp_path)["debts"] == {"vm_stopped": True}, "not given means not changed"
    clock.now += 101
    second = make("two")
    assert second.hold(100.0)
    assert second.taken_over is not None
    assert second.taken_over["run_id"] == "one"
    assert second.debts == {"vm_stopped": True} == content(tmp_path)["debts"]
    clock.now += 101
    with make("three") as third:
        assert third.debts == {"vm_stopped": True} == content(tmp_path)["debts"]
    third = make("four", break_lock=True)
    third.hold(10.0, {"vm_stopped": False})
    assert content(tmp_path)["debts"] == {"vm_stopped": False}


def test_a_takeover_that_is_overtaken_leaves_the_debt_to_the_faster_one(
    tmp_path: Path, make: Callable[..., ClientLock], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    make().hold(100.0, {"vm_stopped": True})
    clock.now += 101
    slow, fast = make("slow"), make("fast")
    look = slow._on_disk

    def overtaken() -> bytes | None:
        found = look()
        if not fast.held:
            fast.hold(100.0)
        return found

    monkeypatch.setattr(slow, "_on_disk", overtaken)
    with pytest.raises(VaultLockedError, match="is locked by run fast"):
        slow.hold(100.0)
    assert fast.debts == {"vm_stopped": True} == content(tmp_path)["debts"]
    assert slow.taken_over is None
    assert os.listdir(tmp_path) == ["lock.json"]


def test_debts_of_several_dead_runs_add_up(tmp_path: Path, make: Callable[..., ClientLock], clock: Clock) -> None:
    make("one").hold(10.0, {"vm_stopped": True, "clone": None})
    clock.now += 11
    make("two").hold(10.0)
    clock.now += 11
    lock = make("three")
    lock.hold(10.0)
    lock.hold(10.0, {**lock.debts, "clone": "7"})
    clock.now += 11
    last = make("four")
    last.hold(10.0)
    assert last.debts == {"vm_stopped": True, "clone": "7"} == content(tmp_path)["debts"]
    assert os.listdir(tmp_path) == ["lock.json"]


@pytest.mark.parametrize("debts", [None, "nonsense"])
def test_debts_that_are_none(tmp_path: Path, make: Callable[..., ClientLock], debts: object) -> None:
    (tmp_path / "lock.json").write_text(json.dumps({"run_id": "dead", "debts": debts, "lease": 1.0, "heartbeat": 1.0}))
    lock = make()
    lock.hold(10.0)
    assert lock.debts == {} == content(tmp_path)["debts"]


def test_a_full_vault_keeps_the_debts(
    tmp_path: Path, make: Callable[..., ClientLock], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    make().hold(100.0, {"vm_stopped": True})
    clock.now += 101

    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(VaultWriteError, match="the vault is full"):
            make("two").hold(100.0)
    assert os.listdir(tmp_path) == ["lock.json"]
    lock = make("three")
    lock.hold(100.0)
    assert lock.debts == {"vm_stopped": True}


def test_a_process_of_a_run_that_lost_its_lock_does_not_write(
    tmp_path: Path, make: Callable[..., ClientLock], clock: Clock
) -> None:
    make().hold(100.0)
    with make() as lock:
        clock.now += 101
        make("two").hold(100.0)
        with pytest.raises(VaultLockedError, match="is locked by run two"):
            lock.check()
    assert content(tmp_path)["run_id"] == "two"
    assert "pid" not in content(tmp_path)
    assert not make().release()


def test_a_run_may_join_where_its_own_process_died(
    tmp_path: Path, make: Callable[..., ClientLock], clock: Clock
) -> None:
    make().hold(100.0)
    lock = make().__enter__()
    lock._stop.set()
    document = content(tmp_path)
    # The process is gone, the lock still says its number.
    (tmp_path / "lock.json").write_text(json.dumps({**document, "process_start": "1"}))
    clock.now += 5
    assert not make().hold(100.0, {"vm_stopped": True})
    assert "pid" not in content(tmp_path)
    with make():
        assert content(tmp_path)["pid"] == os.getpid()


def test_foreseeing_says_the_same_and_writes_nothing(
    tmp_path: Path, make: Callable[..., ClientLock], clock: Clock
) -> None:
    assert make().foresee()
    assert os.listdir(tmp_path) == []
    make().hold(100.0, {"vm_stopped": True})
    before = content(tmp_path)
    again = make()
    assert not again.foresee()
    assert (again.debts, again.taken_over) == ({"vm_stopped": True}, None)
    with pytest.raises(VaultLockedError, match="locked by run one"):
        make("two").foresee()
    breaking = make("two", break_lock=True)
    assert breaking.foresee()
    clock.now += 101
    late = make("two")
    assert late.foresee()
    for lock in (breaking, late):
        assert lock.taken_over is not None
        assert (lock.debts, lock.taken_over["run_id"]) == ({"vm_stopped": True}, "one")
    assert content(tmp_path) == before


def test_foreseeing_needs_no_folder(tmp_path: Path) -> None:
    assert ClientLock(str(tmp_path / "new"), owner="me", run_id="one").foresee()
    assert os.listdir(tmp_path) == []


# --- what a dead run has left to be settled --------------------------------------------------------------------------

VM = {"vm_id": "0004fb", "vm_name": "db01", "manager_id": "m1"}


@pytest.mark.parametrize(("vm", "debts"), [(VM, {"vm_stopped": True}), (VM, {}), ({}, {"vm_stopped": True})])
def test_whoever_settles_nothing_gives_the_lock_back_to_the_dead_run(
    tmp_path: Path, make: Callable[..., ClientLock], clock: Clock, vm: dict[str, str], debts: dict[str, bool]
) -> None:
    make("one", **vm).hold(100.0, debts)
    before = content(tmp_path)
    clock.now += 101
    with make("two") as lock:
        assert (lock.debts, content(tmp_path)["run_id"]) == (debts, "two")
    assert content(tmp_path) == before
    assert os.listdir(tmp_path) == ["lock.json"]
    status = make("three").status()
    assert status is not None
    assert not status["alive"]
    settling = make("three", **vm)
    settling.hold(100.0)
    assert (settling.debts, settling.taken_over) == (debts, before)
    assert settling.release()
    assert os.listdir(tmp_path) == []


def test_a_lock_that_is_broken_and_given_back_is_over(
    tmp_path: Path, make: Callable[..., ClientLock], clock: Clock
) -> None:
    make("one", **VM).hold(100.0)
    before = content(tmp_path)
    clock.now += 10
    with make("two", break_lock=True):
        pass
    assert content(tmp_path) == {**before, "lease": 0.0}
    assert make("three").foresee()


def test_the_lock_of_a_process_that_is_given_back_is_over_for_every_host(
    tmp_path: Path, make: Callable[..., ClientLock], clock: Clock
) -> None:
    document = {"run_id": "one", "host": "elsewhere", "pid": 1, "boot": "b", "process_start": "1", "heartbeat": NOW - 1}
    (tmp_path / "lock.json").write_text(json.dumps({**document, **VM}))
    with make("two", break_lock=True):
        pass
    assert content(tmp_path) == {
        **VM, "run_id": "one", "host": "elsewhere", "heartbeat": NOW - 1, "lease": 0.0, "debts": {}
    }  # fmt: skip
    assert make("three").foresee()


def test_a_lock_that_leaves_nothing_to_be_settled_goes(
    tmp_path: Path, make: Callable[..., ClientLock], clock: Clock
) -> None:
    make("one").hold(100.0, {"vm_stopped": False})
    clock.now += 101
    with make("two"):
        pass
    assert os.listdir(tmp_path) == []


def test_the_vm_of_a_dead_run_is_known_when_the_next_one_dies_too(
    tmp_path: Path, make: Callable[..., ClientLock], clock: Clock
) -> None:
    make("one", **VM).hold(100.0, {"vm_stopped": True})
    clock.now += 101
    make("two").hold(100.0)
    assert VM.items() <= content(tmp_path).items()
    clock.now += 101
    with make("three"):
        pass
    found = content(tmp_path)
    assert found == {**found, **VM, "run_id": "two", "debts": {"vm_stopped": True}, "lease": 100.0}


def test_giving_back_leaves_the_lock_of_another(tmp_path: Path, make: Callable[..., ClientLock], clock: Clock) -> None:
    make("one", **VM).hold(100.0)
    clock.now += 101
    with make("two"):
        make("three", break_lock=True).hold(100.0)
        before = content(tmp_path)
    assert content(tmp_path) == before


# --- a proxy of the run is lost ---------------------------------------------------------------------------------------


def test_a_lost_process_of_the_run_finds_that_its_lock_was_handed_over(
    tmp_path: Path, make: Callable[..., ClientLock], clock: Clock
) -> None:
    """It stands on another host, so nobody can see whether it is dead; and it may be alive."""
    make(vm_id="7", vm_name="web").hold(100.0, {"vm_stopped": True})
    with make() as lost:
        clock.now += 1
        with pytest.raises(VaultLockedError):
            make().hold(100.0)
        other = make(hand_over=True)
        assert other.hold(100.0)
        assert (other.debts, other.taken_over) == ({"vm_stopped": True}, None)
        assert (content(tmp_path)["vm_name"], content(tmp_path)["since"]) == ("web", clock.now)
        assert not other.hold(100.0), "it is renewed by now"
        with pytest.raises(VaultLockedError):
            lost.check()
    # Its end does not touch the lock.
    assert content(tmp_path)["lease"] == 100.0
    assert other.held
    assert other.release()


def test_only_the_lock_of_the_own_run_is_handed_over(
    tmp_path: Path, make: Callable[..., ClientLock], clock: Clock
) -> None:
    make("two").hold(100.0)
    before = content(tmp_path)
    for attempt in (lambda: make(hand_over=True).hold(50.0), lambda: make(hand_over=True).foresee()):
        with pytest.raises(VaultLockedError):
            attempt()
    assert content(tmp_path) == before
    clock.now += 101
    taken = make(hand_over=True)
    assert taken.hold(50.0)
    assert taken.taken_over is not None and taken.taken_over["run_id"] == "two"
    own = make(hand_over=True)
    assert not own.foresee()
    assert own.debts == {}


def test_a_lock_that_is_gone_is_made_anew(tmp_path: Path, make: Callable[..., ClientLock]) -> None:
    assert make(hand_over=True).hold(50.0)
    assert content(tmp_path)["debts"] == {}
