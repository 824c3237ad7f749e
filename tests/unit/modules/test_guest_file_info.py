# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module guest_file_info, with a tree in memory in place of an appliance. The room guest is tested in its own."""

from __future__ import annotations

from typing import Any

import pytest
from unit.guest.fake import FakeGuest
from unit.transfer.builders import Estate, ticking, vm_plan

from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm

SYSTEM = {
    "root": "/dev/sda1",
    "type": "type",
    "distribution": "distro",
    "product": "name",
    "hostname": "hostname",
    "mounts": [{"directory": "/", "device": "/dev/sda1"}],
}


@pytest.fixture
def args(estate: Estate) -> dict[str, Any]:
    backup_vm(estate.vault, estate.request(vm_plan()), clock=ticking())
    return {"vault": estate.vault.path, "client": "web_01"}


@pytest.mark.parametrize("check_mode", [False, True])
def test_what_is_on_the_disks(succeed: Any, args: dict[str, Any], guest: FakeGuest, check_mode: bool) -> None:
    assert succeed("guest_file_info", args, check_mode=check_mode) == {
        "changed": False,
        "point": "20261123T010203Z-0001",
        "filesystems": [
            {"device": "/dev/sda1", "type": "ext4", "label": None, "uuid": "uuid", "size": 1024},
            {"device": "/dev/sda2", "type": "swap", "label": None, "uuid": "uuid", "size": 1024},
        ],
        "operating_systems": [SYSTEM],
        "files": [],
        "truncated": False,
        "notes": [],
    }
    assert guest.calls == [("blockdev_getsize64", b"/dev/sda1"), ("blockdev_getsize64", b"/dev/sda2")]


def test_files(succeed: Any, args: dict[str, Any], guest: FakeGuest) -> None:
    guest.add(b"/etc/motd", b"hello")
    guest.add(b"/etc/zone")
    result = succeed("guest_file_info", {**args, "paths": ["/etc"], "limit": 1})
    assert ([file["path"] for file in result["files"]], result["truncated"]) == (["/etc/motd"], True)
    assert (result["filesystems"], result["operating_systems"]) == ([], [SYSTEM])
    result = succeed("guest_file_info", {**args, "paths": ["/"], "recurse": True, "filesystem": "/dev/vg/lv"})
    assert [file["path"] for file in result["files"]] == ["/etc", "/etc/motd", "/etc/zone"]
    assert (result["filesystems"], result["operating_systems"]) == ([], [])
    assert guest.calls[-1] == ("mount_ro", b"/dev/vg/lv", b"/")


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"client": "nobody"}, "PointNotFoundError", "The vault {vault} has no client 'nobody'"),
        ({"limit": 0}, "InvalidInputError", "limit must be at least 1, not 0"),
        ({"paths": ["etc"]}, "InvalidInputError",
            "'etc' is not a path in a guest: it has to begin with / and must not hold .. or a zero byte"),
        ({"filesystem": "sda1"}, "InvalidInputError", "'sda1' is not the name of a file system in a guest: those are "
            "names like /dev/sda1, /dev/vg/lv or btrfsvol:/dev/sda2/root. The module guest_file_info lists them"),
        ({"time_limit": "soon"}, "InvalidInputError", "time_limit: the string 'soon' is not a duration: a duration is "
            "a whole number of seconds, or a number with a unit s, m, h, d or w, such as 90m, 24h, 1d or 2w"),
        ({"paths": ["/nowhere"]}, "GuestFileError", "Cannot read /nowhere in the guest: lstatns: No such file"),
    ],
)  # fmt: skip
def test_wrong_values(
    fail: Any, args: dict[str, Any], guest: FakeGuest, change: dict[str, Any], kind: str, message: str
) -> None:
    failed = fail("guest_file_info", {**args, **change})
    assert failed["msg"] == message.format(vault=args["vault"])
    assert failed["failure"]["kind"] == kind
