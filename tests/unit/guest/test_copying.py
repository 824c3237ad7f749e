# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files of a guest into a directory: complete, with their times, and nowhere else, whatever the guest has."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.guest.fake import DEVICE, DIRECTORY, LINK, TIME, FakeGuest

from ansible_collections.ovm.backup.plugins.module_utils.errors import GuestFileError, InvalidInputError, TargetError
from ansible_collections.ovm.backup.plugins.module_utils.guest.copying import (
    CopyPlan,
    CopyRules,
    copy_files,
    plan_copy,
)
from ansible_collections.ovm.backup.plugins.module_utils.guest.libguestfs import Status

MIB = 1024 * 1024
BIG = bytes(MIB) + b"middle" + bytes(MIB)
HARD_NAME = b'it\'s; $(touch x) `y` "z"\n.txt'


@pytest.fixture
def guest() -> FakeGuest:
    made = FakeGuest({b"/etc/motd": b"hello\n", b"/etc/a/" + HARD_NAME: b"name", b"/etc/a/\xff": b"", b"/big": BIG})
    made.add(b"/etc/out", b"/etc/shadow", LINK | 0o777)
    made.add(b"/etc/null", b"", DEVICE | 0o666)
    made.add(b"/etc/a", mode=DIRECTORY | 0o4777, mtime=TIME + 1)
    return made


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "copies"


def copied(guest: FakeGuest, target: Path, *paths: bytes, **rules: Any) -> CopyPlan:
    plan = plan_copy(guest, paths or (b"/etc", b"/big"), str(target), CopyRules(**rules))
    copy_files(guest, plan, str(target))
    return plan


def tree(target: Path) -> dict[bytes, bytes | None]:
    top = os.fsencode(target)
    found: dict[bytes, bytes | None] = {}
    for directory, directories, files in os.walk(top):
        for name in directories + files:
            path = os.path.join(directory, name)
            plain = stat.S_ISREG(os.lstat(path).st_mode)
            found[path[len(top) :]] = Path(os.fsdecode(path)).read_bytes() if plain else None
    return found


COPIES = {
    b"/etc": None,
    b"/etc/a": None,
    b"/etc/a/" + HARD_NAME: b"name",
    b"/etc/a/\xff": b"",
    b"/etc/motd": b"hello\n",
    b"/big": BIG,
}


def test_a_directory_and_a_file(guest: FakeGuest, target: Path) -> None:
    plan = copied(guest, target)
    assert tree(target) == COPIES
    assert plan.left_out == [
        {"path": "/etc/null", "reason": "it is neither a file, a directory nor a link"},
        {"path": "/etc/out", "reason": "it is a link to /etc/shadow"},
    ]
    assert (plan.count("file", "missing"), plan.count("directory", "missing"), plan.size) == (4, 2, len(BIG) + 10)
    modes = {path: stat.S_IMODE(os.stat(os.fsencode(target) + path).st_mode) for path in COPIES}
    assert modes == {path: 0o600 if content is not None else 0o700 for path, content in COPIES.items()}
    assert stat.S_IMODE(target.stat().st_mode) == 0o700
    assert {os.stat(os.fsencode(target) + path).st_mtime_ns for path in COPIES if path != b"/etc/a"} == {TIME}
    assert (target / "etc/a").stat().st_mtime_ns == TIME + 1
    assert (target / "big").stat().st_blocks * 512 < MIB, "runs of zeros are holes"


def test_copied_once(guest: FakeGuest, target: Path) -> None:
    copied(guest, target)
    again = copied(guest, target)
    assert not again.changes
    assert (again.count("file", "current"), again.size, again.space) == (4, 0, 0)
    (target / "etc/motd").unlink()
    assert copied(guest, target).count("file", "missing") == 1
    assert tree(target) == COPIES
    assert (target / "etc").stat().st_mtime_ns == TIME


def test_planning_writes_nothing(guest: FakeGuest, target: Path) -> None:
    assert plan_copy(guest, [b"/etc"], str(target), CopyRules()).changes
    assert not target.exists()


def test_links_on_wish(guest: FakeGuest, target: Path) -> None:
    assert copied(guest, target, b"/etc/out", links=True).count("link", "missing") == 1
    assert os.readlink(target / "etc/out") == "/etc/shadow"
    assert not copied(guest, target, b"/etc/out", links=True).changes
    guest.add(b"/etc/out", b"/tmp", LINK)
    with pytest.raises(InvalidInputError, match="exists and is not /etc/out of the guest: move it away"):
        copied(guest, target, b"/etc/out", links=True, overwrite=True)


def test_a_link_to_a_name_that_is_no_text(guest: FakeGuest, target: Path) -> None:
    guest.add(b"/etc/latin", b"/srv/gr\xfc\xdfe", LINK)
    plan = copied(guest, target, b"/etc/latin")
    assert plan.left_out == [{"path": "/etc/latin", "reason": "it is a link to /srv/gr\\xfc\\xdfe"}]
    copied(guest, target, b"/etc/latin", links=True)
    assert os.readlink(os.fsencode(target / "etc/latin")) == b"/srv/gr\xfc\xdfe"
    assert not copied(guest, target, b"/etc/latin", links=True).changes


@pytest.mark.parametrize("nameless", [True, False])
def test_overwriting(guest: FakeGuest, target: Path, monkeypatch: pytest.MonkeyPatch, nameless: bool) -> None:
    if not nameless:
        opened = os.open

        def refuse(path: Any, flags: int, *args: Any, **options: Any) -> int:
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise OSError(errno.EOPNOTSUPP, "as a network file system says")
            return opened(path, flags, *args, **options)

        monkeypatch.setattr(os, "open", refuse)
    copied(guest, target, b"/etc/motd")
    guest.add(b"/etc/motd", b"changed")
    with pytest.raises(InvalidInputError, match="allow it to be overwritten, or name another destination"):
        copied(guest, target, b"/etc/motd")
    assert copied(guest, target, b"/etc/motd", overwrite=True).count("file", "different") == 1
    assert tree(target) == {b"/etc": None, b"/etc/motd": b"changed"}


# --- what a guest, or somebody on the proxy, may try -----------------------------------------------------------------


def test_a_link_in_the_destination_is_not_followed(guest: FakeGuest, target: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    target.mkdir()
    (target / "etc").symlink_to(outside)
    with pytest.raises(InvalidInputError, match="etc exists and is no directory, as /etc in the guest is: move it"):
        copied(guest, target)
    (target / "etc").unlink()
    plan = plan_copy(guest, [b"/etc"], str(target), CopyRules())
    (target / "etc").mkdir()
    (target / "etc/a").symlink_to(outside)  # put there between the plan and the copy
    with pytest.raises(TargetError, match="Cannot create .*/etc: File exists"):
        copy_files(guest, plan, str(target))
    plan.items = [item for item in plan.items if item.source.kind == "file"]
    with pytest.raises(TargetError, match="a directory on the way is a link or a file"):
        copy_files(guest, plan, str(target))
    assert os.listdir(outside) == []


def test_a_link_in_place_of_a_file_is_not_written_through(guest: FakeGuest, target: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"kept")
    plan = plan_copy(guest, [b"/big"], str(target), CopyRules())
    target.mkdir()
    (target / "big").symlink_to(other)
    with pytest.raises(TargetError, match="Cannot write .*/big: File exists"):
        copy_files(guest, plan, str(target))
    with pytest.raises(InvalidInputError, match="big exists and is no file, as /big in the guest is: move it away"):
        copied(guest, target, b"/big", overwrite=True)
    assert (other.read_bytes(), os.listdir(target)) == (b"kept", ["big"])


@pytest.mark.parametrize("names", [[b"..", b"..", b"out"], [b"../../out"], [b"/out"], [b"."]])
def test_a_name_that_leads_elsewhere_is_refused(names: list[bytes], target: Path, tmp_path: Path) -> None:
    class Hostile(FakeGuest):
        """An appliance that a guest has got hold of."""

        def directory(self, path: bytes) -> Iterator[tuple[bytes, Status]]:
            name = names[min(path.count(b".."), len(names) - 1)]
            yield name, self.status(b"/etc/motd" if name.endswith(b"out") else b"/etc")

        def content(self, _path: bytes) -> Any:
            return super().content(b"/etc/motd")

    with pytest.raises(GuestFileError, match="which no file can have: its file system is damaged, or made to do harm"):
        copied(Hostile({b"/etc/motd": b"harm"}), target, b"/etc")
    assert list(tmp_path.rglob("out")) == []


def test_a_link_on_the_way_in_the_guest(guest: FakeGuest, target: Path) -> None:
    guest.add(b"/var", b"/etc", LINK)
    with pytest.raises(GuestFileError, match="/var in the guest is not a directory but on the way to /var/motd"):
        copied(guest, target, b"/var/motd")


@pytest.mark.parametrize(("claimed", "gives"), [(3, "more"), (100, "6")])
def test_a_file_that_is_not_as_long_as_it_claims(guest: FakeGuest, target: Path, claimed: int, gives: str) -> None:
    guest.claims[b"/etc/motd"] = claimed
    with pytest.raises(GuestFileError, match=f"has {claimed} bytes but gives {gives}: its file system is damaged"):
        copied(guest, target, b"/etc/motd")
    assert tree(target) == {b"/etc": None}


def test_times_that_no_file_system_can_hold(guest: FakeGuest, target: Path) -> None:
    for name, mtime in ((b"/early", -(1 << 62)), (b"/late", 1 << 70)):
        guest.add(name, b"x", mtime=mtime)
        copied(guest, target, name)
        assert not copied(guest, target, name).changes
    assert (target / "early").stat().st_mtime_ns == 0


def test_limits(guest: FakeGuest, target: Path) -> None:
    with pytest.raises(GuestFileError, match="There are more than 3 files to copy: name less, or allow more"):
        copied(guest, target, max_files=3)
    with pytest.raises(GuestFileError, match=f"The files to copy have {len(BIG) + 10} bytes, and 100 are allowed"):
        copied(guest, target, max_size=100)
    guest.claims[b"/big"] = 1 << 60
    with pytest.raises(TargetError, match=f"{(1 << 60)} bytes are needed, [0-9]+ are free there"):
        copied(guest, target, b"/big")
    assert not target.exists()


def test_a_deep_tree(guest: FakeGuest, target: Path) -> None:
    deep = b"/d" + b"/d" * 1200  # deeper than a program may call itself
    guest.add(deep + b"/end", b"x")
    plan = plan_copy(guest, [b"/d"], str(target), CopyRules())
    assert plan.count("directory", "missing") == 1201


def test_a_destination_that_cannot_be(guest: FakeGuest, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InvalidInputError, match="does not exist and cannot be made: name a directory in one that"):
        copied(guest, tmp_path / "no" / "where")
    with pytest.raises(TargetError, match="Cannot open .*/file: a directory on the way is a link or a file"):
        copied(guest, tmp_path / "file")


def test_progress(guest: FakeGuest, target: Path) -> None:
    told: list[tuple[str, int, int]] = []
    plan = plan_copy(guest, [b"/etc/motd", b"/big"], str(target), CopyRules())
    copy_files(guest, plan, str(target), lambda *told_now: told.append(told_now))
    total = len(BIG) + 6
    assert told == [("files", 6, total), ("files", total, total)]
