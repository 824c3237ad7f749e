# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module guest_file_copy, with a tree in memory in place of an appliance. The room guest is tested in its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from unit.guest.fake import LINK, FakeGuest
from unit.transfer.builders import Estate, ticking, vm_plan

from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm

DONE = {
    "changed": True,
    "point": "20261123T010203Z-0001",
    "files_copied": 2,
    "files_kept": 0,
    "directories_made": 2,
    "links_made": 0,
    "bytes_copied": 10,
    "left_out": [{"path": "/etc/out", "reason": "it is a link to /etc/shadow"}],
    "notes": [],
}


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "copies"


@pytest.fixture
def args(estate: Estate, guest: FakeGuest, target: Path) -> dict[str, Any]:
    backup_vm(estate.vault, estate.request(vm_plan()), clock=ticking())
    guest.add(b"/etc/motd", b"hello")
    guest.add(b"/etc/a/b", b"12345")
    guest.add(b"/etc/out", b"/etc/shadow", LINK)
    return {"vault": estate.vault.path, "client": "web_01", "paths": ["/etc"], "destination": str(target)}


def test_copied_once(succeed: Any, args: dict[str, Any], guest: FakeGuest, target: Path) -> None:
    assert succeed("guest_file_copy", args, check_mode=True) == DONE
    assert not target.exists()
    assert succeed("guest_file_copy", args) == DONE
    assert ((target / "etc/motd").read_bytes(), (target / "etc/a/b").read_bytes()) == (b"hello", b"12345")
    kept = {**DONE, "changed": False, "files_copied": 0, "files_kept": 2, "directories_made": 0, "bytes_copied": 0}
    for check_mode in (False, True):
        assert succeed("guest_file_copy", args, check_mode=check_mode) == kept
    guest.add(b"/etc/motd", b"other")
    guest.files[b"/etc/motd"] = (*guest.files[b"/etc/motd"][:2], 5)
    result = succeed("guest_file_copy", {**args, "overwrite": True, "links": True, "filesystem": "/dev/sda1"})
    assert [result[name] for name in ("files_copied", "files_kept", "links_made", "left_out")] == [1, 1, 1, []]
    assert (target / "etc/motd").read_bytes() == b"other"


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"client": "nobody"}, "PointNotFoundError", "The vault {vault} has no client 'nobody'"),
        ({"paths": []}, "InvalidInputError", "paths must not be an empty list: name what is to be copied"),
        ({"paths": ["/../x"]}, "InvalidInputError",
            "'/../x' is not a path in a guest: it has to begin with / and must not hold .. or a zero byte"),
        ({"destination": "/nowhere/at/all"}, "InvalidInputError",
            "/nowhere/at/all does not exist and cannot be made: name a directory in one that exists"),
        ({"max_files": 2}, "GuestFileError",
            "There are more than 2 files to copy: name less, or allow more"),
        ({"max_size": 9}, "GuestFileError", "The files to copy have 10 bytes, and 9 are allowed"),
    ],
)  # fmt: skip
def test_wrong_values(
    fail: Any, args: dict[str, Any], target: Path, change: dict[str, Any], kind: str, message: str, check_mode: bool
) -> None:
    failed = fail("guest_file_copy", {**args, **change}, check_mode=check_mode)
    assert failed["msg"] == message.format(vault=args["vault"])
    assert failed["failure"]["kind"] == kind
    assert not target.exists()


def test_what_is_there_already(fail: Any, args: dict[str, Any], target: Path) -> None:
    (target / "etc").mkdir(parents=True)
    (target / "etc/motd").write_bytes(b"mine")
    failed = fail("guest_file_copy", args)
    assert failed == {
        "msg": f"{target}/etc/motd exists and is not /etc/motd of the guest: allow it to be overwritten, or name "
        "another destination",
        "failure": {"kind": "InvalidInputError", "path": f"{target}/etc/motd"},
    }
    assert sorted(path.name for path in target.rglob("*")) == ["etc", "motd"]
