# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module served_point, with a real nbdkit."""

from __future__ import annotations

import errno
import json
import os
import platform
import select
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from unit.guest.conftest import DATA, needs_nbdkit
from unit.transfer.builders import Estate, disk, ticking, vm_plan
from unit.vault.builders import MIB

from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm
from ansible_collections.ovm.backup.plugins.module_utils.vault.processes import boot_id, this_process
from ansible_collections.ovm.backup.plugins.modules import served_point

pytestmark = needs_nbdkit
POINT = "20261123T010203Z-0001"


@pytest.fixture
def directory(succeed: Any, args: dict[str, Any]) -> Iterator[Path]:
    """Where it is served; the path of a socket has to be short."""
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        args["directory"] = f"{made}/served"
        yield Path(made, "served")
        succeed("served_point", {**args, "state": "absent"})
        assert os.listdir(made) == []


@pytest.fixture
def args(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(served_point, "time", SimpleNamespace(time=lambda: 1000.0))
    estate.write(2, DATA)
    backup_vm(estate.vault, estate.request(vm_plan(disk(0), disk(2, "data"))), clock=ticking())
    return {"vault": estate.vault.path, "client": "web_01"}


def process_of(directory: Path) -> int:
    return int(json.loads((directory / "served.json").read_text(encoding="utf-8"))["pid"])


def test_served_once(succeed: Any, args: dict[str, Any], directory: Path, tmp_path: Path) -> None:
    expected = {
        "changed": True,
        "served": {
            "client": "web_01",
            "point": POINT,
            "directory": str(directory),
            "socket": f"{directory}/socket",
            "ends": 1000.0 + 8 * 3600,
            "disks": [
                {"slot": 0, "name": "system", "size": 2 * MIB, "uri": f"nbd+unix:///0?socket={directory}/socket"},
                {"slot": 2, "name": "data", "size": len(DATA), "uri": f"nbd+unix:///2?socket={directory}/socket"},
            ],
        },
    }
    assert succeed("served_point", args, check_mode=True) == expected
    assert not directory.exists()
    assert succeed("served_point", args) == expected
    assert directory.stat().st_mode & 0o777 == 0o700
    uri = expected["served"]["disks"][1]["uri"]  # type: ignore[index]
    subprocess.run(["nbdcopy", uri, str(tmp_path / "copy")], check=True)
    assert (tmp_path / "copy").read_bytes() == DATA
    process = process_of(directory)
    for check_mode in (True, False):
        same = {**args, "time_limit": "1m", "point": POINT}
        assert succeed("served_point", same, check_mode=check_mode) == {**expected, "changed": False}
    assert process_of(directory) == process
    ended = {**args, "state": "absent"}
    assert succeed("served_point", ended, check_mode=True) == {"changed": True, "served": None}
    assert process_of(directory) == process
    descriptor = os.pidfd_open(process)
    assert succeed("served_point", ended) == {"changed": True, "served": None}
    assert select.select([descriptor], [], [], 0)[0] == [descriptor], "it goes on"
    os.close(descriptor)
    assert not directory.exists()
    for check_mode in (True, False):
        assert succeed("served_point", ended, check_mode=check_mode) == {"changed": False, "served": None}


def test_it_ends_by_itself_and_is_not_taken_for_served(succeed: Any, args: dict[str, Any], directory: Path) -> None:
    succeed("served_point", {**args, "time_limit": "1"})
    process = os.pidfd_open(process_of(directory))
    assert select.select([process], [], [], 60)[0] == [process]
    os.close(process)
    assert not directory.exists()
    succeed("served_point", args)
    killed = process_of(directory)
    process = os.pidfd_open(killed)
    os.kill(killed, signal.SIGKILL)  # what it leaves behind is cleared away
    select.select([process], [], [], 60)
    os.close(process)
    assert directory.exists()
    assert succeed("served_point", args)["changed"]
    assert process_of(directory) != killed


def test_an_old_kernel(succeed: Any, args: dict[str, Any], directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    succeed("served_point", args)
    process = process_of(directory)

    def unknown(_pid: int) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", unknown)
    assert succeed("served_point", {**args, "state": "absent"})["changed"]
    assert not directory.exists()
    assert not Path(f"/proc/{process}").exists() or "Z" in Path(f"/proc/{process}/stat").read_text(encoding="utf-8")


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with it."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


def left_behind(directory: Path, pid: int, **changes: Any) -> None:
    """Write down that a process serves there, as a host has left it that lost its power."""
    about = {"client": "web_01", "point": POINT, "disks": [], "host": platform.node(), **this_process(), **changes}
    directory.mkdir()
    (directory / "served.json").write_text(json.dumps({**about, "pid": pid}), encoding="utf-8")


@pytest.mark.parametrize("state", ["present", "absent"])
def test_a_process_of_another_boot_is_not_ended(
    succeed: Any, args: dict[str, Any], directory: Path, stranger: subprocess.Popen[bytes], state: str
) -> None:
    # It has the number that the one before the boot had.
    left_behind(directory, stranger.pid, boot=f"before/{boot_id().partition('/')[2]}", process_start="1")
    assert succeed("served_point", {**args, "state": state})["changed"]
    assert stranger.poll() is None
    assert directory.exists() == (state == "present")


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize("state", ["present", "absent"])
@pytest.mark.parametrize("where", [{"host": "proxy2"}, {"boot": "other/pid:[2]", "host": "proxy2"}, {"boot": None}])
def test_what_another_host_or_container_serves_is_left_alone(
    fail: Any,
    args: dict[str, Any],
    directory: Path,
    stranger: subprocess.Popen[bytes],
    where: dict[str, Any],
    state: str,
    check_mode: bool,
) -> None:
    boot = f"{boot_id().partition('/')[0]}/pid:[1]"
    left_behind(directory, stranger.pid, **{"boot": boot, "process_start": "1", **where})
    failed = fail("served_point", {**args, "state": state}, check_mode=check_mode)
    assert "another host or container" in failed["msg"]
    assert stranger.poll() is None
    shutil.rmtree(directory)


@pytest.mark.parametrize("check_mode", [False, True])
def test_something_else_is_served(
    succeed: Any, fail: Any, args: dict[str, Any], directory: Path, check_mode: bool
) -> None:
    succeed("served_point", args)
    failed = fail("served_point", {**args, "slots": [2]}, check_mode=check_mode)
    assert failed["msg"] == (
        f"{directory} serves recovery point {POINT} of client web_01, slots 0, 2: end that first, or name another "
        "directory"
    )


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize("state", ["present", "absent"])
def test_a_directory_of_somebody_else(
    fail: Any, args: dict[str, Any], tmp_path: Path, state: str, check_mode: bool
) -> None:
    (tmp_path / "file").write_text("kept", encoding="utf-8")
    failed = fail("served_point", {**args, "directory": str(tmp_path), "state": state}, check_mode=check_mode)
    assert failed["msg"] == (
        f"{tmp_path} exists and no recovery point is served there: name a directory that does not exist"
    )
    assert (tmp_path / "file").read_text(encoding="utf-8") == "kept"


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"client": "nobody"}, "The vault {vault} has no client 'nobody'"),
        ({"client": None}, "state is present but all of the following are missing: client"),
        ({"slots": [1]}, "Recovery point " + POINT + " of client web_01 has no disk in slot 1; it has 0, 2"),
        ({"time_limit": 0}, "time_limit must be at least 1 second"),
        ({"directory": "/nowhere/at/all"},
            "/nowhere/at/all cannot be made: /nowhere/at does not exist. Name a directory in one that does"),
        ({"directory": "/tmp/" + 100 * "x"},
            "The path of /tmp/" + 100 * "x" + " is too long for a socket in it: use one of at most 100 bytes"),
    ],
)  # fmt: skip
def test_wrong_values(
    fail: Any, args: dict[str, Any], directory: Path, change: dict[str, Any], message: str, check_mode: bool
) -> None:
    values = {name: value for name, value in {**args, **change}.items() if value is not None}
    failed = fail("served_point", values, check_mode=check_mode)
    assert failed["msg"] == message.format(vault=args["vault"])
    assert not directory.exists()


def test_a_missing_file(fail: Any, args: dict[str, Any], directory: Path, estate: Estate) -> None:
    path = Path(estate.client.directory, POINT, "0-system.img.zst")
    path.rename(path.with_suffix(".kept"))
    failed = fail("served_point", {**args, "point": POINT})
    assert failed["msg"] == f"{path} is missing from the vault"
    path.with_suffix(".kept").rename(path)
