# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Paths, file systems and lists of files of a guest."""

from __future__ import annotations

import pytest
from unit.guest.fake import DEVICE, LINK, TIME, FakeGuest

from ansible_collections.ovm.backup.plugins.module_utils.errors import GuestFileError, InvalidInputError
from ansible_collections.ovm.backup.plugins.module_utils.guest.files import guest_paths, list_files
from ansible_collections.ovm.backup.plugins.module_utils.guest.filesystems import (
    find_file_systems,
    find_systems,
    mount_one,
    mount_system,
)


@pytest.fixture
def guest() -> FakeGuest:
    made = FakeGuest({b"/etc/motd": b"hello\n", b"/etc/a/\xff": b"", b"/srv": b""})
    made.add(b"/etc/link", b"\xfe/x", LINK | 0o777)
    made.add(b"/etc/null", b"", DEVICE | 0o666)
    return made


def paths(guest: FakeGuest, *wanted: bytes, recurse: bool = False, limit: int = 100) -> tuple[list[str], bool]:
    files, more = list_files(guest, wanted, recurse=recurse, limit=limit)
    return [file["path"] for file in files], more


def test_paths() -> None:
    assert guest_paths(["/", "//etc/./x//", "/a b/it's", "/etc/x", "/\udcff"]) == [
        b"/",
        b"/etc/x",
        b"/a b/it's",
        b"/\xff",
    ]
    for bad in ("", "etc", "/a/../b", "/..", "C:\\Users", "/a\0b"):
        with pytest.raises(InvalidInputError, match="is not a path in a guest: it has to begin with / and must not"):
            guest_paths(["/good", bad])


def test_list(guest: FakeGuest) -> None:
    files, more = list_files(guest, [b"/etc", b"/srv"], recurse=False, limit=100)
    common = {"uid": 0, "gid": 0, "mtime": TIME / 1e9, "link": None}
    assert files == [
        {"path": "/etc/a", "type": "directory", "size": 0, "mode": "0755", **common},
        {"path": "/etc/link", "type": "link", "size": 3, "mode": "0777", **common, "link": "\\xfe/x"},
        {"path": "/etc/motd", "type": "file", "size": 6, "mode": "0644", **common},
        {"path": "/etc/null", "type": "other", "size": 0, "mode": "0666", **common},
        {"path": "/srv", "type": "file", "size": 0, "mode": "0644", **common},
    ]
    assert not more


def test_recursion_and_limit(guest: FakeGuest) -> None:
    whole = ["/etc", "/etc/a", "/etc/a/\\xff", "/etc/link", "/etc/motd", "/etc/null", "/srv"]
    assert paths(guest, b"/", recurse=True) == (whole, False)
    assert paths(guest, b"/", recurse=True, limit=7) == (whole, False)
    assert paths(guest, b"/", recurse=True, limit=3) == (whole[:3], True)
    with pytest.raises(GuestFileError, match="Cannot read /no in the guest"):
        paths(guest, b"/no")


def test_file_systems(guest: FakeGuest) -> None:
    assert [found.as_dict() for found in find_file_systems(guest)] == [
        {"device": "/dev/sda1", "type": "ext4", "label": None, "uuid": "uuid", "size": 1024},
        {"device": "/dev/sda2", "type": "swap", "label": None, "uuid": "uuid", "size": 1024},
    ]


def test_a_system_is_mounted_from_its_root_on(guest: FakeGuest) -> None:
    guest.systems = {b"/dev/sda1": {b"/srv/a": b"/dev/sdb1", b"/": b"/dev/sda1", b"/srv": b"/dev/vg/srv"}}
    guest.broken = {b"/dev/vg/srv"}
    systems = find_systems(guest)
    assert systems[0].as_dict() == {
        "root": "/dev/sda1",
        "type": "type",
        "distribution": "distro",
        "product": "name",
        "hostname": "hostname",
        "mounts": [
            {"directory": "/", "device": "/dev/sda1"},
            {"directory": "/srv", "device": "/dev/vg/srv"},
            {"directory": "/srv/a", "device": "/dev/sdb1"},
        ],
    }
    notes = mount_system(guest, systems)
    assert notes == ["/dev/vg/srv is not mounted at /srv: mount_ro: /dev/vg/srv: wrong fs type"]
    assert guest.calls == [
        ("mount_ro", b"/dev/sda1", b"/"),
        ("mount_ro", b"/dev/vg/srv", b"/srv"),
        ("mount_ro", b"/dev/sdb1", b"/srv/a"),
    ]
    guest.broken = {b"/dev/sda1"}
    with pytest.raises(GuestFileError):
        mount_system(guest, systems)


def test_without_a_system(guest: FakeGuest) -> None:
    assert mount_system(guest, []) == [
        "There is no operating system that is known: the only file system, /dev/sda1, is taken"
    ]
    assert guest.calls[-1] == ("mount_ro", b"/dev/sda1", b"/")
    guest.filesystems[b"/dev/sdb1"] = b"ntfs"
    with pytest.raises(GuestFileError, match="no operating system that is known, and the file systems /dev/sda1, "):
        mount_system(guest, [])
    guest.filesystems = {b"/dev/sda": b"unknown"}
    with pytest.raises(GuestFileError, match="The guest has no operating system that is known, and no file system"):
        mount_system(guest, [])


def test_several_systems(guest: FakeGuest) -> None:
    guest.systems[b"/dev/sdb1"] = {}
    systems = find_systems(guest)
    assert systems[1].mounts == {"/": "/dev/sdb1"}
    with pytest.raises(GuestFileError, match="has several operating systems, and the file systems /dev/sda1: name"):
        mount_system(guest, systems)


def test_names_of_file_systems(guest: FakeGuest) -> None:
    mount_one(guest, "btrfsvol:/dev/sda2/root")
    assert guest.calls == [("mount_ro", b"btrfsvol:/dev/sda2/root", b"/")]
    for name in ("sda1", "/etc/passwd", "/dev/sda1\0", "LABEL=root"):
        with pytest.raises(InvalidInputError, match="is not the name of a file system in a guest"):
            mount_one(guest, name)
