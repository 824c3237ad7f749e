# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the benchmark says about its targets."""

from __future__ import annotations

import pytest

from bench import table
from bench.targets import Target, against, judge, peak_memory, targets

NUMBERS = {
    "full": {
        "ovm": {"wall": 10.0, "cpu": 12.0, "busy": 19.0, "rss": 60 << 20, "stored": 100},
        "zstd1+blake3": {"wall": 9.0, "cpu": 10.0, "busy": 9.9, "rss": 15 << 20, "stored": 100},
        "restic": {"wall": 50.0, "cpu": 90.0, "busy": 95.0, "rss": 900 << 20, "stored": 90},
        "restic-stdin": {"wall": 25.0, "cpu": 80.0, "busy": 40.0, "rss": 100 << 20, "stored": 90},
    }
}


def test_a_target_is_measured_against_the_best_way_to_use_another_tool() -> None:
    assert against("full", ("restic", "restic-stdin"))(NUMBERS) == 0.4


def test_only_our_own_memory_counts() -> None:
    assert peak_memory(NUMBERS) == 60


@pytest.mark.parametrize(("limit", "word"), [(0.4, "pass"), (0.39, "FAIL")])
def test_a_target_holds_up_to_its_limit(limit: float, word: str) -> None:
    [verdict] = judge(NUMBERS, [Target("full", "wall", limit, against("full", ("restic-stdin",)))], {})
    assert (verdict.word, verdict.measured) == (word, 0.4)


def test_what_was_not_measured_is_neither_passed_nor_failed() -> None:
    wanted = [Target("full", "wall / borg", 0.5, against("full", ("borg",)))]
    [verdict] = judge(NUMBERS, wanted, {"borg": "borg cannot be installed"})
    assert verdict.as_dict() == {
        "operation": "full",
        "target": "wall / borg",
        "limit": 0.5,
        "measured": None,
        "verdict": "not measured",
        "reason": "borg cannot be installed",
    }
    assert table.targets([verdict]) == [
        "",
        "target             wanted  measured       verdict",
        "-----------------  ------  --------  ------------",
        "full: wall / borg  <= 0.5         -  not measured",
        "not measured: borg cannot be installed",
    ]


def test_every_target_can_be_judged_before_anything_was_measured() -> None:
    assert {verdict.word for verdict in judge({}, targets(), {})} == {"not measured"}


def test_tools_are_named_with_their_versions_or_why_they_are_missing() -> None:
    versions = {"zstd1+blake3-all": "python zstandard 0.25.0", "borg": "borg 1.4.5"}
    assert table.tools(versions, {"borg": "it\nfailed", "benji": "no such package"}) == [
        "zstd1+blake3-all  python zstandard 0.25.0",
        "borg              MISSING: it failed",
        "benji             MISSING: no such package",
    ]


def test_tools_are_compared_with_ours() -> None:
    assert table.operations(NUMBERS, 2) == [
        "",
        "full          wall s  CPU s  busy  RSS MiB  read MB  stored MB  wall / ovm",
        "------------  ------  -----  ----  -------  -------  ---------  ----------",
        "ovm            10.00  12.00   95%       60        -        0.0        1.00",
        "zstd1+blake3    9.00  10.00   55%       15        -        0.0        0.90",
        "restic         50.00  90.00   95%      900        -        0.0        5.00",
        "restic-stdin   25.00  80.00   80%      100        -        0.0        2.50",
    ]


def test_disks_of_several_sizes_are_the_lines_of_one_table() -> None:
    numbers = {
        f"{kind}_{size}": {"ovm": {"wall": wall * factor, "cpu": wall / 2, "read": wall * 1_000_000}}
        for size, factor in (("1gib", 1), ("64gib", 4))
        for kind, wall in (("changed", 3.0), ("full", 5.0), ("unchanged", 1.0))
    }
    assert table.operations(numbers, 2) == []
    assert table.growth(numbers) == [
        "",
        "disk   full: wall s  CPU s  unchanged: wall s  CPU s  1 % changed: wall s  CPU s  read MB",
        "-----  ------------  -----  -----------------  -----  -------------------  -----  -------",
        "1gib           5.00   2.50               1.00   0.50                 3.00   1.50      3.0",
        "64gib         20.00   2.50               4.00   0.50                12.00   1.50      3.0",
    ]
    assert table.growth(NUMBERS) == []


def test_orchestration_is_told_by_the_number_of_vms() -> None:
    ours, alone = {"cpu": 6.5, "calls": 24.5, "wall": 48.5}, {"cpu": 2.4, "calls": 0, "wall": 5.2}
    assert table.orchestration({"orchestration_10_vms": {"ovm": ours, "ansible-core alone": alone}}) == [
        "",
        "VMs                     CPU s per VM  calls per VM  wall s in all",
        "----------------------  ------------  ------------  -------------",
        "10                              6.50          24.5           48.5",
        "10, ansible-core alone          2.40             -            5.2",
    ]
