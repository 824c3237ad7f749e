# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The marks of our objects: written, read back, and not read into what is not one."""

from __future__ import annotations

import pytest

from ansible_collections.ovm.backup.plugins.module_utils.manager.clone_records import Mark, clone_name, read_mark

MARK = Mark("clone", "m1", "v1", "run-1", own_id="c1", disks=((0, "a.img", "b.img", "m1"), (3, "c.img", "d.img", "m2")))


def test_mark_is_read_back() -> None:
    assert read_mark(MARK.description(), "clone") == MARK
    assert read_mark(MARK.description(), "definition") is None
    definition = Mark("definition", "m1", "v1", "run-1", job_id="1448899976258")
    assert read_mark(definition.description(), "definition") == definition


def test_text_around_the_mark_does_no_harm() -> None:
    assert read_mark(f"Notiz: {MARK.description()} (nicht löschen)", "clone") == MARK


def test_list_of_disks_is_left_out_if_it_does_not_fit() -> None:
    disks = tuple((slot, f"{slot:032x}.img", f"{slot + 1:032x}.img", f"{slot:032x}") for slot in range(107))
    big = Mark("clone", "m1", "v1", "run-1", own_id="c1", disks=disks)
    assert len(big.description()) <= 4000
    assert read_mark(big.description(), "clone") == Mark("clone", "m1", "v1", "run-1", own_id="c1")


@pytest.mark.parametrize(
    "description",
    [
        None,
        5,
        "",
        "ovm.backup/1",
        "ovm.backup/1 {",
        "ovm.backup/1 []",
        'ovm.backup/1 {"kind":"clone"}',
        'ovm.backup/1 {"kind":"clone","manager":"","vm":"v","run":"r"}',
        'ovm.backup/1 {"kind":"clone","manager":"m","vm":5,"run":"r"}',
        'ovm.backup/2 {"kind":"clone","manager":"m","vm":"v","run":"r"}',
        "app01.ovm-backup.run-1",
    ],
)
def test_what_is_no_mark(description: object) -> None:
    assert read_mark(description, "clone") is None


def test_names_keep_the_run_id() -> None:
    assert clone_name("app01", "run-1") == "app01.ovm-backup.run-1"
    long = clone_name("x" * 300, "run-1")
    assert len(long) == 255 and long.endswith(".ovm-backup.run-1")
