# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which recovery point is meant: by id, the newest, or that of a moment; and what is passed over."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from unit.vault.builders import add_point, noise, write_image

from ansible_collections.ovm.backup.plugins.module_utils._reading import Problems, read_time
from ansible_collections.ovm.backup.plugins.module_utils.errors import (
    CorruptVaultError,
    InvalidInputError,
    OvmBackupError,
    PointNotFoundError,
)
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import MANIFEST_NAME, Point
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Client
from ansible_collections.ovm.backup.plugins.module_utils.vault.selection import PassedOver, select
from ansible_collections.ovm.backup.plugins.module_utils.vault.verification_record import (
    Problem,
    Verification,
    write_verification,
)

DAY = datetime(2026, 11, 23, tzinfo=UTC).timestamp()


@pytest.fixture
def points(client: Client, tmp_path: Path) -> list[Point]:
    """A full of 00:00, an incremental of 01:00, a full of 02:00 and an incremental of 03:00."""
    made: list[Point] = []
    for number in range(4):
        image = write_image(tmp_path / "raw", noise(3000, number))
        base = made[-1] if number % 2 else None
        now = DAY + 3600 * number
        made.append(add_point(client, image, base=base, now=now, created=now))
    return made


def break_manifest(client: Client, point: Point) -> PassedOver:
    path = os.path.join(client.directory, point.id, MANIFEST_NAME)
    Path(path).write_text("{}")
    return PassedOver(point.id, f"{path} is damaged: its content does not have the hash that it gives")


def break_file(client: Client, point: Point, *needing: Point) -> list[PassedOver]:
    path = os.path.join(client.directory, point.id, point.disks[0].file)
    os.truncate(path, 7)
    problem = f"{path} has 7 bytes instead of {point.disks[0].file_size}"
    return [PassedOver(one.id, problem) for one in (*needing, point)]


def find_bad(client: Client, point: Point) -> PassedOver:
    problems = (Problem(point.id, "vm.cfg", 0, "it is not what it was"),)
    write_verification(
        os.path.join(client.directory, point.id), Verification(1.0, False, problems, 1, 1.0, {}, "a run")
    )
    problem = f"recovery point {point.id} was found bad by a verification: it is not what it was"
    return PassedOver(point.id, problem)


def test_the_newest_and_one_by_its_id(client: Client, points: list[Point]) -> None:
    assert select(client).point == points[3]
    for point in points:
        assert select(client, point.id).point == point


@pytest.mark.parametrize(
    ("before", "index"),
    [
        ("2026-11-23T00:00:00Z", 0),
        ("2026-11-23 00:59:59.999", 0),
        ("2026-11-23T02:00+01:00", 1),
        ("2026-11-23T02:59Z", 2),
        ("20261123T030000Z", 3),
        ("2027-01-01", 3),
    ],
)
def test_the_state_at_a_moment(client: Client, points: list[Point], before: str, index: int) -> None:
    assert select(client, before=before).point == points[index]


def test_what_is_bad_is_passed_over_and_named(client: Client, points: list[Point]) -> None:
    found_bad = find_bad(client, points[3])
    assert select(client).passed_over == (found_bad,)
    passed_over = [break_manifest(client, points[3]), *break_file(client, points[2])]
    found = select(client)
    assert (found.point, list(found.passed_over)) == (points[1], passed_over)
    # What was written after the moment was not meant.
    found = select(client, before="2026-11-23T02:30Z")
    assert (found.point, list(found.passed_over)) == (points[1], passed_over[1:])
    assert select(client, before="2026-11-23T01:30Z").passed_over == ()
    # By its id a point is taken whatever is known of it; but without a manifest there is nothing to take.
    assert select(client, points[2].id).point == points[2]
    with pytest.raises(CorruptVaultError, match="does not have the hash"):
        select(client, points[3].id)


def test_nothing_is_in_order(client: Client, points: list[Point]) -> None:
    worst = break_file(client, points[0], points[1])
    break_file(client, points[2], points[3])
    with pytest.raises(CorruptVaultError) as caught:
        select(client, before="2026-11-23T01:30Z")
    assert caught.value.message == (
        f"Client web01 has no recovery point of 2026-11-23 01:30:00 UTC or before that is in order. The newest is "
        f"{points[1].id}: {worst[0].problem}. Name a recovery point by its id to try it all the same"
    )
    with pytest.raises(CorruptVaultError, match=rf"no recovery point that is in order. The newest is {points[3].id}"):
        select(client)


def test_nothing_is_there(client: Client) -> None:
    for before in (None, "2026-11-23"):
        with pytest.raises(PointNotFoundError, match="it has none"):
            select(client, before=before)


@pytest.mark.parametrize(
    ("point", "before", "kind", "message"),
    [
        ("latest", "2026-11-22T23:59:59Z", PointNotFoundError,
            "Client web01 has no recovery point of 2026-11-22 23:59:59 UTC or before; the oldest is "
            "20261123T000000Z-0001 of 2026-11-23 00:00:00 UTC"),
        ("newest", None, PointNotFoundError,
            "Client web01 has no recovery point 'newest'; the newest is 20261123T030000Z-0004"),
        ("20261123T000000Z-0001", "2026-11-23", InvalidInputError,
            "before is for the newest recovery point up to a time: leave it out with point '20261123T000000Z-0001'"),
        ("latest", "yesterday", InvalidInputError,
            "before: must be a time in ISO 8601 form, such as 2026-11-23T01:02:03Z, 2026-11-23T02:02+01:00 or "
            "2026-11-23 (UTC unless it says otherwise), not the string 'yesterday'"),
    ],
)  # fmt: skip
def test_wrong_values(
    client: Client, points: list[Point], point: str, before: str | None, kind: type[OvmBackupError], message: str
) -> None:
    with pytest.raises(kind) as caught:
        select(client, point, before)
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-23", 0),
        ("2026-11-23 01:02", 3720),
        ("2026-11-23T01:02:03.25Z", 3723.25),
        ("2026-11-23 01:02:03+00:00", 3723),
        ("2026-11-23t01:02:03,5 z", 3723.5),
        ("20261123T010203Z", 3723),
        ("2026-11-23T01:02:03-05:30", 23523),
        (" 2026-11-23T01:02+01 ", 120),
    ],
)
def test_a_time(text: str, seconds: float) -> None:
    problems = Problems()
    assert (read_time(text, "before", problems), problems.found) == (DAY + seconds, [])


@pytest.mark.parametrize(
    "text", ["2026-1123", "2026-13-01", "2026-11-23T24:00", "2026-11-23T01", "1763856000", "", "2026-11-23T01:02+99",
             "0000-01-01", "２026-11-23"],
)  # fmt: skip
def test_no_time(text: str) -> None:
    problems = Problems()
    assert read_time(text, "before", problems) is None
    assert [problem.key for problem in problems.found] == ["before"]
