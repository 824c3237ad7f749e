# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lock of a client: one run at a time, whoever dies, hangs or breaks in."""

from __future__ import annotations

import errno
import json
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.ovm.backup.plugins.module_utils.errors import VaultLockedError, VaultWriteError
from ansible_collections.ovm.backup.plugins.module_utils.vault import processes
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
    def build(run_id: str = "one", **options: Any) -> ClientLock:
        return ClientLock(str(tmp_path), owner=f"{run_id}@proxy", run_id=run_id, **{"clock": clock, **options})

    return build


def content(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / "lock.json").read_text())
    return found


def write(directory: Path, **values: Any) -> dict[str, Any]:
    """Write the lock of another run."""
    document = {
        "owner": "root@other",
        "run_id": "other",
        "host": "otherhost",
        "pid": 4711,
        "boot": "another boot",
        "process_start": "1",
        "since": NOW - 10,
        "heartbeat": NOW - 10,
        "debts": {},
        **values,
    }
    (directory / "lock.json").write_text(json.dumps(document))
    return document


@pytest.fixture(scope="module")
def dead_process() -> Iterator[dict[str, Any]]:
    """Return what a lock says of a process of this host that is no more."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    start = processes.process_start(process.pid)
    process.communicate()
    yield {"host": platform.node(), "pid": process.pid, "boot": processes.boot_id(), "process_start": start}


def test_a_lock_says_who_holds_it_and_goes_with_its_holder(tmp_path: Path, make: Callable[..., ClientLock]) -> None:
    with make(vm_id="7", vm_name="web") as lock:
        lock.check()
        assert lock.taken_over is None
        assert lock.held
        assert content(tmp_path) == {
            "owner": "one@proxy",
            "run_id": "one",
            "vm_id": "7",
            "vm_name": "web",
            "manager_id": None,
            "host": platform.node(),
            "pid": os.getpid(),
            "boot": processes.boot_id(),
            "process_start": processes.process_start(os.getpid()),
            "since": NOW,
            "heartbeat": NOW,
            "debts": {},
        }
    assert os.listdir(tmp_path) == []


def test_a_second_run_is_refused_with_the_holders_name(
    tmp_path: Path, make: Callable[..., ClientLock], clock: Clock
) -> None:
    with make():
        clock.now += 42
        with pytest.raises(VaultLockedError) as caught, make("two"):
            pass
        assert caught.value.message == (
            f"Client {tmp_path.name} is locked by run one (one@proxy) on {platform.node()}, process {os.getpid()}, "
            "last heard of 42 s ago. Wait until that run has ended"
        )
        assert caught.value.details == {"path": str(tmp_path / "lock.json"), "holder": content(tmp_path)}
        assert content(tmp_path)["run_id"] == "one"
    with make("two"):
        assert content(tmp_path)["run_id"] == "two"


def test_the_same_run_cannot_have_two_processes_at_work(make: Callable[..., ClientLock]) -> None:
    with make(), pytest.raises(VaultLockedError), make():
        pass


def test_the_lock_of_a_dead_process_is_taken_over(
    tmp_path: Path, make: Callable[..., ClientLock], dead_process: dict[str, Any]
) -> None:
    document = write(tmp_path, **dead_process)
    lock = make()
    assert lock.status() == {**document, "alive": False}
    with lock:
        assert lock.taken_over == document
        assert content(tmp_path)["run_id"] == "one"
        assert os.listdir(tmp_path) == ["lock.json"]


@pytest.mark.parametrize(
    "change",
    [
        {"host": "otherhost"},
        {"boot": "another boot"},
        {"boot": ""},
        {"pid": None},
        {"pid": "12"},
        {"pid": True},
        {"pid": 0},
        {"pid": -1},
    ],
    ids=repr,
)
def test_a_process_that_cannot_be_seen_is_not_called_dead(
    tmp_path: Path, make: Callable[..., ClientLock], dead_process: dict[str, Any], change: dict[str, Any]
) -> None:
    document = write(tmp_path, **{**dead_process, **change})
    with pytest.raises(VaultLockedError), make():
        pass
    assert content(tmp_path) == document


def test_a_process_number_that_was_used_again_is_another_process(
    tmp_path: Path, make: Callable[..., ClientLock], dead_process: dict[str, Any]
) -> None:
    write(tmp_path, **{**dead_process, "pid": os.getpid(), "process_start": "1"})
    with make() as lock:
        assert lock.taken_over is not None


def test_a_process_that_its_parent_has_not_noticed_to_end_is_dead(dead_process: dict[str, Any]) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    named = {**dead_process, "pid": process.pid, "process_start": processes.process_start(process.pid)}
    assert not processes.is_dead_process(named)
    assert process.stdin is not None
    process.stdin.close()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert processes.is_dead_process(named)
    process.wait()
    assert processes.is_dead_process(named)


def test_a_live_process_that_proc_hides_is_not_dead(
    tmp_path: Path,
    make: Callable[..., ClientLock],
    dead_process: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lock = make()
    monkeypatch.setattr(processes, "_stat", lambda pid: None)
    write(tmp_path, **{**dead_process, "pid": os.getpid()})
    with pytest.raises(VaultLockedError), lock:
        pass

    def refuse(_pid: int, _signal: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "kill", refuse)
    with pytest.raises(VaultLockedError), lock:
        pass
    monkeypatch.undo()
    write(tmp_path, **{**dead_process, "pid": 2**40})
    assert lock.status() == {**content(tmp_path), "alive": True}
    write(tmp_path, **{**dead_process, "pid": os.getpid(), "process_start": None})
    assert lock.status() == {**content(tmp_path), "alive": True}


def test_a_lock_of_another_host_becomes_stale_and_can_be_broken(
    tmp_path: Path, make: Callable[..., ClientLock], clock: Clock
) -> None:
    document = write(tmp_path)
    clock.now = NOW - 10 + 300
    with pytest.raises(VaultLockedError, match=r"300 s ago\. Wait until that run has ended$"), make():
        pass
    clock.now += 1
    with pytest.raises(VaultLockedError) as caught, make():
        pass
    assert caught.value.message == (
        f"Client {tmp_path.name} is locked by run other (root@other) on otherhost, process 4711, last heard of "
        "301 s ago. The lock is stale: make sure that this run is dead, then break the lock (break_lock: true)"
    )
    with make(break_lock=True) as lock:
        assert lock.taken_over == document
        assert os.listdir(tmp_path) == ["lock.json"]
    assert os.listdir(tmp_path) == []


def test_a_broken_lock_is_noticed_and_the_new_one_left_alone(
    tmp_path: Path, make: Callable[..., ClientLock], clock: Clock
) -> None:
    with make("one") as first:
        clock.now += 5
        with make("two", break_lock=True) as second:
            with pytest.raises(VaultLockedError, match="is locked by run two"):
                first.check()
            with pytest.raises(VaultLockedError, match="is locked by run two"):
                first._renew()
            assert not first.release()
            second.check()
            assert sorted(os.listdir(tmp_path)) == ["lock.json"]
        with pytest.raises(VaultLockedError) as caught:
            first.check()
        assert caught.value.message == (
            f"The lock of client {tmp_path.name}, which this run (one) held, was removed by somebody else: nothing "
            "more is written"
        )
        with pytest.raises(VaultLockedError, match="was removed by somebody else"):
            first._renew()
        with make("three"):
            pass
    assert os.listdir(tmp_path) == []


def test_leaving_does_not_remove_the_lock_of_another(tmp_path: Path, make: Callable[..., ClientLock]) -> None:
    with make():
        document = write(tmp_path)
    assert content(tmp_path) == document


def changing(lock: ClientLock, monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """Have the lock changed once between the look at it and what follows."""
    look = lock._on_disk

    def late() -> bytes | None:
        monkeypatch.setattr(lock, "_on_disk", look)
        found = look()
        change()
        return found

    monkeypatch.setattr(lock, "_on_disk", late)


def test_a_lock_that_changes_while_it_is_broken_stays(
    tmp_path: Path, make: Callable[..., ClientLock], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    lock = make(break_lock=True)
    # The old run has given its lock back, and a third one has taken it.
    changing(lock, monkeypatch, lambda: write(tmp_path, run_id="third"))
    with pytest.raises(VaultLockedError, match="is locked by run third"), lock:
        pass
    assert content(tmp_path)["run_id"] == "third"
    assert os.listdir(tmp_path) == ["lock.json"]


def test_a_heartbeat_while_the_lock_is_broken_does_not_save_it(
    tmp_path: Path, make: Callable[..., ClientLock], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    lock = make(break_lock=True)
    changing(lock, monkeypatch, lambda: write(tmp_path, heartbeat=NOW))
    with lock:
        assert lock.taken_over is not None
        assert lock.taken_over["heartbeat"] == NOW


def test_a_lock_that_is_given_back_while_we_look_is_free(
    tmp_path: Path, make: Callable[..., ClientLock], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    lock = make()
    look = lock._on_disk

    def late() -> bytes | None:
        monkeypatch.setattr(lock, "_on_disk", look)
        (tmp_path / "lock.json").unlink()
        return look()

    monkeypatch.setattr(lock, "_on_disk", late)
    with lock:
        assert lock.taken_over is None
        assert content(tmp_path)["run_id"] == "one"


def test_a_lock_that_is_never_quiet_is_given_up(
    make: Callable[..., ClientLock], monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = make()
    monkeypatch.setattr(lock, "_create", lambda: False)
    monkeypatch.setattr(lock, "_on_disk", lambda: None)
    with pytest.raises(VaultLockedError, match="is locked by run unknown"), lock:
        pass


def test_the_heartbeat_is_written_by_a_thread_of_its_own(
    tmp_path: Path, make: Callable[..., ClientLock], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    beaten = threading.Event()
    lock = make(heartbeat=0.001)
    renew = lock._renew

    def count() -> None:
        renew()
        if content(tmp_path)["heartbeat"] == NOW + 77:
            beaten.set()

    monkeypatch.setattr(lock, "_renew", count)
    with lock:
        clock.now = NOW + 77
        assert beaten.wait(20)
        assert content(tmp_path)["since"] == NOW
        lock.check()
    assert os.listdir(tmp_path) == []


def test_the_heartbeat_survives_errors_and_ends_when_the_lock_is_lost(
    tmp_path: Path, make: Callable[..., ClientLock], monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = make(heartbeat=0.001)
    failed, unreadable = threading.Event(), threading.Event()
    renew, look = lock._renew, lock._on_disk
    with lock:

        def fail() -> None:
            failed.set()
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(lock, "_renew", fail)
        assert failed.wait(20)

        def hide() -> bytes | None:
            unreadable.set()
            return b""

        monkeypatch.setattr(lock, "_on_disk", hide)
        assert unreadable.wait(20)
        monkeypatch.setattr(lock, "_on_disk", look)
        monkeypatch.setattr(lock, "_renew", renew)
        assert lock._thread is not None
        assert lock._thread.is_alive()
        lock.check()
        document = write(tmp_path)
        lock._thread.join(20)
        assert not lock._thread.is_alive()
    assert content(tmp_path) == document


def test_the_heartbeat_survives_an_error_at_any_look(
    make: Callable[..., ClientLock], monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = make(heartbeat=0.001)
    look, looks, beaten = lock._on_disk, iter(range(1_000_000)), threading.Event()
    with lock:

        def flicker() -> bytes | None:
            number = next(looks)
            if number > 50:
                beaten.set()
            return b"" if number % 2 else look()

        monkeypatch.setattr(lock, "_on_disk", flicker)
        assert beaten.wait(20)
        monkeypatch.setattr(lock, "_on_disk", look)


@pytest.mark.parametrize("use", ["take", "foresee", "hold", "check", "renew"])
def test_a_lock_that_cannot_be_read_now_is_not_said_to_be_another_runs(
    make: Callable[..., ClientLock], monkeypatch: pytest.MonkeyPatch, use: str
) -> None:
    lock = make()
    if use in ("check", "renew"):
        lock.hold(100.0)

    def fail(_self: DirectoryStorage, path: str, _limit: int | None = None) -> bytes:
        raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT), path)

    calls = {"take": lock.__enter__, "foresee": lock.foresee, "check": lock.check}
    with monkeypatch.context() as patch:
        patch.setattr(DirectoryStorage, "read", fail)
        with pytest.raises(VaultWriteError, match="Cannot read .*lock.json: Connection timed out"):
            calls.get(use, lambda: lock.hold(100.0))()
    assert lock.held == (use in ("check", "renew"))


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe", b"[1]", b"7", b"[" * 100_000], ids=lambda text: text[:3])
def test_a_damaged_lock_is_a_lock(tmp_path: Path, make: Callable[..., ClientLock], damage: bytes) -> None:
    (tmp_path / "lock.json").write_bytes(damage)
    lock = make()
    assert lock.status() == {"alive": True}
    with pytest.raises(
        VaultLockedError, match="by run unknown .unknown. on an unknown host, last heard of 1000000 s ago"
    ):
        lock.__enter__()
    with make(break_lock=True) as lock:
        assert lock.taken_over == {}
        assert os.listdir(tmp_path) == ["lock.json"]


@pytest.mark.parametrize("value", [None, "soon", [], {}, float("inf")], ids=repr)
def test_a_lock_with_strange_values_is_a_lock(tmp_path: Path, make: Callable[..., ClientLock], value: Any) -> None:
    write(tmp_path, heartbeat=value)
    with pytest.raises(VaultLockedError):
        make().__enter__()
    write(tmp_path, lease=value, heartbeat=NOW)
    if value == float("inf"):
        with pytest.raises(VaultLockedError, match="its lock ends in inf s"):
            make().__enter__()


def test_a_renewal_that_hangs_while_the_lock_is_broken_comes_too_late(
    tmp_path: Path, make: Callable[..., ClientLock], monkeypatch: pytest.MonkeyPatch
) -> None:
    second = make("two", break_lock=True)
    with make("one") as first:
        # The first run has seen that the lock is its own. Before it goes on, the lock is broken.
        changing(first, monkeypatch, second.__enter__)
        with pytest.raises(VaultLockedError, match="is locked by run two"):
            first._renew()
        second.check()
        assert second.taken_over is not None
    assert content(tmp_path)["run_id"] == "two"
    second.__exit__(None)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["open", "fsync"])
def test_a_full_vault_is_not_left_with_a_lock(
    tmp_path: Path, make: Callable[..., ClientLock], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def fail(*_arguments: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, name, fail)
    with pytest.raises(VaultWriteError) as caught, make():
        pass
    monkeypatch.undo()
    assert caught.value.message == (
        f"Cannot lock {tmp_path / 'lock.json'}: the vault is full: free space there or let recovery points expire"
    )
    assert os.listdir(tmp_path) == []


def test_a_lock_that_cannot_be_removed_hides_no_error(
    make: Callable[..., ClientLock], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise OSError(30, "Read-only file system")

    with pytest.raises(KeyError, match="the real one"), make():
        monkeypatch.setattr(os, "unlink", fail)
        raise KeyError("the real one")


def test_an_interrupted_process_of_a_run_ends_its_lease(tmp_path: Path, make: Callable[..., ClientLock]) -> None:
    make("one").hold(3600.0, {"vm_stopped": True})
    with pytest.raises(KeyboardInterrupt), make("one"):
        raise KeyboardInterrupt
    assert content(tmp_path)["lease"] == 1.0
    assert content(tmp_path)["debts"] == {"vm_stopped": True}


def test_a_failed_process_of_a_run_leaves_the_lease(tmp_path: Path, make: Callable[..., ClientLock]) -> None:
    make("one").hold(3600.0)
    with pytest.raises(ValueError), make("one"):
        raise ValueError
    assert content(tmp_path)["lease"] == 3600.0
