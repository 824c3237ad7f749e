# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Backups of every type and synthetic fulls in any order: every point restores, also without what it does not need."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from unit.transfer.builders import ticking
from unit.vault.builders import add_point, frames, make_client, records, restored, unpacked, write_image
from unit.vault.histories import sizes, writes

from ansible_collections.ovm.backup.plugins.module_utils.vault import restore_script
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Client, Vault
from ansible_collections.ovm.backup.plugins.module_utils.vault.synthetic_full import (
    SyntheticRequest,
    make_synthetic_full,
)


@settings(max_examples=30)
@given(st.data())
def test_every_point_restores_whatever_was_done(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name, mock.patch("os.fsync"):
        client = make_client(Path(name, "vault"))
        vault = Vault.open(str(Path(name, "vault")))
        disk_now = bytes(data.draw(sizes))
        states: dict[str, bytes] = {}
        points: list[Point] = []
        for number in range(data.draw(st.integers(2, 8))):
            step = data.draw(st.sampled_from(["full", "newest", "newest", "any", "resize", "synthetic", "synthetic"]))
            if step == "synthetic" and points:
                outcome = make_synthetic_full(
                    vault, SyntheticRequest("web01", "a test"), clock=ticking(2000.0 + number), workers=1
                )
                assert outcome.created == (points[-1].disks[0].base is not None)
                if outcome.created:
                    check_consolidation(client, outcome.point, points[-1])
                    points.append(outcome.point)
                else:
                    assert outcome.point == points[-1]
            else:
                base = None
                if step == "resize":
                    size = data.draw(sizes)
                    disk_now = (disk_now + bytes(size))[:size]
                disk_now = data.draw(writes(disk_now))
                if points and step in ("newest", "any", "synthetic"):
                    base = points[-1] if step == "newest" else data.draw(st.sampled_from(points))
                    base = base if base.disks[0].size == len(disk_now) else None
                image = write_image(Path(name, "image"), disk_now, holes=data.draw(st.booleans()))
                parent = points[-1].id if points else None
                points.append(add_point(client, image, base=base, now=1000.0 + number, parent=parent))
            states[points[-1].id] = disk_now
        assert client.scan() == (points, [])
        check_restores(client, points, states)
        independent = [number for number, point in enumerate(points) if point.is_full]
        first = data.draw(st.sampled_from(independent))
        for point in points[:first]:
            shutil.rmtree(Path(client.directory, point.id))
        left = [point for point in points[first:] if client.problem_of(point) is None]
        assert points[first] in left
        check_restores(client, left, states)


def file_of(client: Client, point: Point) -> Path:
    return Path(client.directory, point.id, point.disks[0].file)


def restored_by_script(client: Client, point: Point) -> bytes:
    """Return the disk that the script gives which vaults carry."""
    folder = restore_script.Client(str(Path(client.directory).parents[1]), client.name)
    manifest = folder.point(point.id)
    with tempfile.TemporaryDirectory() as name:
        image = restore_script.Image(folder, manifest, manifest["disks"][0], name)
        image.write()
        return Path(image.path).read_bytes()


def check_restores(client: Client, points: list[Point], states: dict[str, bytes]) -> None:
    for point in points:
        assert restored(client, point) == states[point.id]
        assert restored_by_script(client, point) == states[point.id]
        if point.type == "synthetic_full":
            assert unpacked(file_of(client, point)) == states[point.id]


def check_consolidation(client: Client, made: Point, newest: Point) -> None:
    """Frames that were copied are those of the chain, bit by bit, and what could be copied was."""
    statistics, found = made.disks[0].statistics, frames(file_of(client, made))
    assert statistics["frames_copied"] + statistics["frames_repacked"] == len(found)
    chain = [Path(path) for path, _hash, _size in client.disk_files(newest, newest.disks[0])]
    assert (
        sum(any(frames(path).get(segment) == frame for path in chain) for segment, frame in found.items())
        >= (statistics["frames_copied"])
    )
    whole = {segment for segment in frames(chain[-1]) if not any(segment in claimed(path) for path in chain[:-1])}
    assert statistics["frames_copied"] >= len(whole)
    assert {segment: found[segment] for segment in whole} == {
        segment: frame for segment, frame in frames(chain[-1]).items() if segment in whole
    }
    assert (made.consolidates, made.parent, made.created) == (newest.id, newest.id, newest.created)
    assert made.disks[0].content_hash == newest.disks[0].content_hash
    assert made.is_full


def claimed(path: Path) -> set[int]:
    """Return the segments of which a file says something."""
    return {segment for row in records(path) for segment in range(row[0], row[0] + row[1])}
