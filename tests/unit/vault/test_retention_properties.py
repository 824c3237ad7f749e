# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever happened before: what retention leaves can be restored, and nothing goes that somebody relies on."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.vault.builders import add_point, make_client, write_image

from ansible_collections.ovm.backup.plugins.module_utils.vault import expiry
from ansible_collections.ovm.backup.plugins.module_utils.vault.expiry import Expiration
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point
from ansible_collections.ovm.backup.plugins.module_utils.vault.pins import Pin, remove_pin, write_pin
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Client
from ansible_collections.ovm.backup.plugins.module_utils.vault.retention import PointFacts, RetentionPolicy, decide

DAY, START = 86400.0, 1795305600.0  # midnight of 22 November 2026
ZONES = ("UTC", "Europe/Vienna", "America/New_York", "Pacific/Auckland")
SIZE = 3000
RECORDED = "consolidates" in {item.name for item in fields(Point)}  # what a manifest says of a synthetic full
RULES = [rule.name for rule in fields(RetentionPolicy)]
POLICIES = st.dictionaries(st.sampled_from(RULES), st.integers(1, 4), min_size=1, max_size=3).map(
    lambda rules: RetentionPolicy(**rules)
)


# --- decisions alone -------------------------------------------------------------------------------------------------


@st.composite
def clients(draw: Any) -> list[PointFacts]:
    """Return the points of a client: clocks that jump, chains with gaps, damage, pins, synthetic fulls."""
    made: list[PointFacts] = []
    moment = START
    for number in range(draw(st.integers(0, 12))):
        kind = draw(st.sampled_from(["full", "incremental", "incremental", "synthetic_full", "unreadable"]))
        moment += draw(st.integers(-30, 60)) * 3600.0
        values: dict[str, Any] = {"created": moment, "type": kind}
        if kind == "incremental":
            values["bases"] = frozenset(
                draw(st.lists(st.sampled_from([f"P{n}" for n in range(number + 1)]), max_size=2))
            )
        if kind == "synthetic_full" and made:
            values.update(consolidates=made[-1].id, created=made[-1].created)
        if kind == "unreadable":
            values["created"] = None if draw(st.integers(0, 3)) == 0 else moment
        if draw(st.integers(0, 4)) == 0 or values["created"] is None:
            values["problem"] = "damaged"
        if draw(st.integers(0, 5)) == 0:
            values["pin"] = "note"
        made.append(PointFacts(f"P{number}", number, **values))
    return made


def kept(points: list[PointFacts], policy: RetentionPolicy, now: float, zone: str) -> list[PointFacts]:
    return [item.point for item in decide(points, policy, now=now, zone=ZoneInfo(zone)).decisions if item.keep]


@settings(max_examples=300)
@given(clients(), POLICIES, st.integers(-10, 60), st.integers(0, 400), st.sampled_from(ZONES))
def test_decisions(points: list[PointFacts], policy: RetentionPolicy, days: int, later: int, zone: str) -> None:
    now = START + days * DAY
    stay = kept(points, policy, now, zone)
    names = {point.id for point in stay}
    # Chains are whole, the newest good point is there, and what is pinned.
    assert all(point.bases & {item.id for item in points} <= names for point in stay)
    good = [point for point in points if point.problem is None and point.created is not None]
    if good:
        assert max(good, key=lambda point: (point.created, point.sequence)) in stay
        assert good[-1] in stay
    assert {point.id for point in points if point.pin is not None} <= names
    # Once is enough.
    assert kept(stay, policy, now, zone) == stay
    # Nothing that went is missed when time passes: all the same, whether points were removed early or not.
    then = now + later * DAY
    assert kept(stay, policy, then, zone) == kept(points, policy, then, zone)


# --- a real vault ----------------------------------------------------------------------------------------------------


@contextmanager
def site() -> Iterator[Site]:
    """A site of its own for each example; nothing waits for a disk."""
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        made = Site(Path(directory))
        patch.setattr(os, "fsync", lambda _descriptor: None)
        if not RECORDED:
            found = made.consolidated
            patch.setattr(Point, "consolidates", property(lambda point: found.get(point.id)), raising=False)
        yield made


class Site:
    """A client with one disk, the content of each of its points, and a clock."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.client: Client = make_client(directory / "vault")
        self.consolidated: dict[str, str] = {}
        self.random = random.Random(1)
        self.now = START
        self.disk = self.random.randbytes(SIZE)
        self.contents: dict[str, bytes] = {}
        self.pinned: set[str] = set()

    def points(self) -> list[Point]:
        return self.client.scan()[0]

    def act(self, action: str, number: int, policy: RetentionPolicy, zone: str) -> None:
        self.now += 3600 * (1 + number % 50)
        points = self.points()
        if action == "prune":
            self.prune(policy, zone)
        elif action in ("pin", "unpin") and points:
            chosen = points[number % len(points)].id
            folder = os.path.join(self.client.directory, chosen)
            if action == "pin":
                write_pin(folder, Pin("keep", self.now, None))
                self.pinned.add(chosen)
            else:
                remove_pin(folder)
                self.pinned.discard(chosen)
        elif action == "synthetic":
            if points and points[-1].type != "full":
                self.synthetic(points[-1])
        elif action in ("full", "incremental", "differential"):
            self.back_up(action, number, points)

    def back_up(self, action: str, number: int, points: list[Point]) -> None:
        start = number * 61 % SIZE
        self.disk = (self.disk[:start] + self.random.randbytes(400) + self.disk[start + 400 :])[:SIZE]
        fulls = [point for point in points if point.type == "full"]
        base = {"incremental": points, "differential": fulls}.get(action, [])[-1:]
        self.store(self.disk, base[0] if base else None, created=self.now)

    def synthetic(self, newest: Point) -> None:
        """Publish what a synthetic full is: a full of the same content and age, that needs nothing."""
        changes: dict[str, Any] = {"created": newest.created}
        if RECORDED:
            changes["consolidates"] = newest.id
        self.consolidated[self.store(self.contents[newest.id], None, **changes)] = newest.id

    def store(self, content: bytes, base: Point | None, **changes: Any) -> str:
        image = write_image(self.directory / "raw", content)
        point = add_point(self.client, image, base=base, now=self.now, **changes)
        self.contents[point.id] = content
        return point.id

    def prune(self, policy: RetentionPolicy, zone: str) -> None:
        before = self.points()
        expiration = Expiration(policy, self.now, ZoneInfo(zone), "a test", "20261123T010203Z-0a1b2c3d-4e5f60")
        foreseen = expiration.run(self.client, dry_run=True)
        assert self.points() == before
        done = expiration.run(self.client)
        assert done == foreseen
        assert (done.skipped, done.failed, done.warnings) == (None, None, ())
        left = self.points()
        assert [point.id for point in left] == [item.point.id for item in done.kept]
        # Every remaining point gives what was backed up; the newest and the pinned ones are there.
        for point in left:
            assert self.restored(point) == self.contents[point.id]
        assert before[-1:] == left[-1:]
        assert self.pinned <= {point.id for point in left}
        again = expiration.run(self.client)
        assert (again.expired, self.points()) == ((), left)
        assert sorted(os.listdir(self.client.directory)) == sorted(["client.json", *(point.id for point in left)])

    def restored(self, point: Point) -> bytes:
        found = bytearray(SIZE)
        with self.client.open_disk(point, point.disks[0]) as chain:
            assert chain.content_hash() == point.disks[0].content_hash
            size = chain.geometry.block_size
            for resolved in chain.segments():
                start = resolved.segment * chain.geometry.segment_size
                for block, data in chain.read_blocks(resolved).items():
                    found[start + block * size : start + block * size + len(data)] = data
        return bytes(found)


ACTIONS = ("full", "incremental", "incremental", "incremental", "differential", "synthetic", "pin", "unpin", "prune")


@settings(max_examples=60)
@given(st.data())
def test_every_remaining_point_restores(data: Any) -> None:
    step = st.tuples(st.sampled_from(ACTIONS), st.integers(0, 200), POLICIES, st.sampled_from(ZONES))
    steps = data.draw(st.lists(step, min_size=4, max_size=20))
    with site() as made:
        for action, number, policy, zone in [*steps, ("prune", 1, RetentionPolicy(keep_last=2), "UTC")]:
            made.act(action, number, policy, zone)


def test_synthetic_full_lets_its_chain_go() -> None:
    policy = RetentionPolicy(keep_last=2)
    with site() as made:
        for action in ("full", "incremental", "incremental", "synthetic", "incremental", "prune"):
            made.act(action, 7, policy, "UTC")
        assert [point.sequence for point in made.points()] == [4, 5]
        facts = {fact.sequence: fact for fact in expiry._facts(made.client)}
        assert facts[4].consolidates == next(name for name in made.contents if name.endswith("-0003"))
