# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which of many records is the first that does not fit. Each rule for itself is in test_corruption."""

from __future__ import annotations

import random

import pytest

from ansible_collections.ovm.backup.plugins.module_utils.vault import format as fmt
from ansible_collections.ovm.backup.plugins.module_utils.vault.record_check import RecordCheck, RecordMisfit

COUNT, END = 700, 1 << 20
EVERY = (1 << 16) - 1


def rows(count: int = COUNT) -> tuple[list[list[object]], int]:
    """Return records of all kinds, one after the other, and the hashes that they own together."""
    rng, found, segment, hashes = random.Random(1), [], 0, 0
    for number in range(count):
        if number % 5 == 4:
            run = rng.randrange(1, 9)
            found.append([segment, run, 0, 0, 0, EVERY, hashes, fmt.NO_HASH])
            segment += run
            continue
        stored = EVERY if number % 5 else rng.randrange(1, EVERY)
        zero = rng.getrandbits(16) & ~stored if number % 5 == 0 else 0
        found.append([segment, 1, number, 100, stored, zero, hashes, b"x" * 32])
        segment, hashes = segment + 1 + number % 2, hashes + bin(stored & ~zero).count("1")
    return found, hashes


def verdict(records: list[list[object]], per_piece: int) -> int:
    check = RecordCheck(fmt.Geometry(1 << 40), False, END)
    packed = [fmt.RECORD.pack(*record) for record in records]
    for start in range(0, len(packed), per_piece):
        check.add(b"".join(packed[start : start + per_piece]))
    return check.end()


@pytest.mark.parametrize("per_piece", [1, 7, 512, COUNT])
def test_good_records(per_piece: int) -> None:
    records, hashes = rows()
    assert verdict(records, per_piece) == hashes


@pytest.mark.parametrize("per_piece", [1, 7, 512, COUNT])
@pytest.mark.parametrize("bad", [0, 3, 511, 512, COUNT - 1])
@pytest.mark.parametrize(
    ("field", "value"), [(1, 0), (2, END + 1), (2, 1 << 63), (4, 1 << 16), (5, 1 << 40), (6, (1 << 64) - 1)]
)
def test_the_first_bad_record_is_named(per_piece: int, bad: int, field: int, value: int) -> None:
    records, _hashes = rows()
    for number in (bad, *range(bad + 1, COUNT, 90)):
        records[number][field] = value
    with pytest.raises(RecordMisfit) as caught:
        verdict(records, per_piece)
    assert caught.value.index == bad


def test_a_full_has_to_reach_the_end_of_the_disk() -> None:
    check = RecordCheck(fmt.Geometry(3 << 20), True, END)
    check.add(fmt.RECORD.pack(0, 2, 0, 0, 0, EVERY, 0, fmt.NO_HASH))
    with pytest.raises(RecordMisfit) as caught:
        check.end()
    assert caught.value.index == 1
    check.add(fmt.RECORD.pack(2, 1, 0, 0, 0, EVERY, 0, fmt.NO_HASH))
    assert check.end() == 0
