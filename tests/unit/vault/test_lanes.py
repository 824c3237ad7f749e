# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Arithmetic with whole columns, compared with the same done number by number."""

from __future__ import annotations

import operator
import random
import struct
from array import array

import pytest

from ansible_collections.ovm.backup.plugins.module_utils.vault.lanes import Lanes, lanes

CASES = [(count, seed) for count in (1, 2, 3, 17, 512) for seed in range(4)]
SPECIAL = (0, 1, 2, 0xFFFF, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 62) - 1)


def pack(numbers: list[int]) -> int:
    return int.from_bytes(struct.pack(f"<{len(numbers)}Q", *numbers), "little")


def unpack(column: int, count: int) -> list[int]:
    return list(struct.unpack(f"<{count}Q", column.to_bytes(8 * count, "little")))


def draw(count: int, seed: int, bits: int = 62) -> list[int]:
    rng = random.Random(seed)
    return [rng.choice([rng.getrandbits(bits), *(one & ((1 << bits) - 1) for one in SPECIAL)]) for _one in range(count)]


@pytest.mark.parametrize(("count", "seed"), CASES)
def test_each_operation_is_that_of_its_numbers(count: int, seed: int) -> None:
    line, numbers, others = lanes(count), draw(count, seed), draw(count, seed + 100)
    column, other = pack(numbers), pack(others)
    assert unpack(line.fill(77), count) == [77] * count
    assert line.last(column) == numbers[-1]
    assert unpack(line.replace_last(column, 5), count) == [*numbers[:-1], 5]
    assert unpack(line.shifted(column, 9), count) == [9, *numbers[:-1]]
    low, high = line.halves(column)
    assert unpack(low, count) == [number & 0xFFFFFFFF for number in numbers]
    assert unpack(high, count) == [number >> 32 for number in numbers]
    assert line.at_least(column, other) == all(map(operator.ge, numbers, others))
    assert line.at_least(column, column)
    assert line.at_least(column, pack([max(number - 1, 0) for number in numbers]))
    for place in (0, count // 2, count - 1):
        assert not line.at_least(column, pack([number + (index == place) for index, number in enumerate(numbers)]))


@pytest.mark.parametrize(("count", "seed"), CASES)
def test_masks_of_64_bits(count: int, seed: int) -> None:
    line, numbers = lanes(count), [*draw(count - 1, seed, 64), (1 << 64) - 1]
    column = pack(numbers)
    assert unpack(line.bit_counts(column), count) == [bin(number).count("1") for number in numbers]
    assert unpack(line.not_zero(column), count) == [(number != 0) << 63 for number in numbers]
    assert line.not_zero(0) == 0


def test_a_column_of_a_table() -> None:
    rows = struct.pack("<IIQQ", 1, 2, 3, 4) + struct.pack("<IIQQ", 5, 6, 7, 8)
    line = Lanes(2)
    items = array("Q", rows)
    assert [unpack(half, 2) for half in line.halves(line.column(items, 0))] == [[1, 5], [2, 6]]
    assert [unpack(line.column(items, number), 2) for number in (1, 2)] == [[3, 7], [4, 8]]
