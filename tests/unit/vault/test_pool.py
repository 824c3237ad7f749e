# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pool: results in order, few at a time, and the first error ends it."""

from __future__ import annotations

import threading

import pytest

from ansible_collections.ovm.backup.plugins.module_utils.vault.pool import OrderedPool


def test_results_come_in_the_order_of_the_work() -> None:
    found: list[int] = []
    gates = [threading.Event() for _number in range(4)]

    def work(number: int) -> int:
        # The last one is done first.
        assert gates[number].wait(20)
        if number:
            gates[number - 1].set()
        return number

    gates[3].set()
    with OrderedPool(found.append, workers=4) as pool:
        for number in range(4):
            pool.submit(work, number)
        pool.put(4)
    assert found == [0, 1, 2, 3, 4]


def test_results_without_work_keep_their_place() -> None:
    found: list[str] = []
    gate = threading.Event()
    with OrderedPool(found.append, workers=1) as pool:
        pool.put("first")
        assert found == ["first"]
        pool.submit(lambda: gate.wait(20) and "second")
        pool.put("third")
        assert found == ["first"]
        gate.set()
    assert found == ["first", "second", "third"]


def test_few_pieces_of_work_exist_at_once() -> None:
    started: list[int] = []
    consumed: list[int] = []
    most = 0

    def work(number: int) -> int:
        started.append(number)
        return number

    with OrderedPool(consumed.append, workers=2) as pool:
        for number in range(100):
            pool.submit(work, number)
            most = max(most, number + 1 - len(consumed))
    assert consumed == list(range(100))
    assert sorted(started) == consumed
    assert most == 5


def test_the_first_error_ends_the_pool() -> None:
    consumed: list[int] = []
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        if number == 3:
            raise KeyError(number)
        return number

    with pytest.raises(KeyError, match="3"), OrderedPool(consumed.append, workers=1) as pool:
        for number in range(1000):
            pool.submit(work, number)
    assert consumed == [0, 1, 2]
    assert len(begun) < 12
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ovm-backup")]


def test_an_error_of_the_last_work_is_seen() -> None:
    consumed: list[int] = []
    with pytest.raises(ZeroDivisionError), OrderedPool(consumed.append, workers=2) as pool:
        pool.submit(lambda: 1)
        pool.submit(lambda: 1 // 0)
    assert consumed == [1]


@pytest.mark.parametrize("where", ["consumer", "producer"])
def test_an_interruption_cancels_what_has_not_begun(where: str) -> None:
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        return number

    def consume(number: int) -> None:
        if where == "consumer" and number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), OrderedPool(consume, workers=1) as pool:
        for number in range(1000):
            if where == "producer" and number == 2:
                raise KeyboardInterrupt
            pool.submit(work, number)
    assert len(begun) < 12
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ovm-backup")]


def test_the_number_of_workers_is_sensible() -> None:
    with OrderedPool(lambda _result: None) as pool:
        assert 1 <= pool._workers <= 4
