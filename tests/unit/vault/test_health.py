# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state of many recovery points: nothing is looked at twice, and it is said of each what is said of it alone."""

from __future__ import annotations

import builtins
import os
from collections import Counter
from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from unit.vault.builders import add_point, noise, write_image

from ansible_collections.ovm.backup.plugins.module_utils.planning.vault_reader import read_coverage_state
from ansible_collections.ovm.backup.plugins.module_utils.reporting.history import read_client
from ansible_collections.ovm.backup.plugins.module_utils.vault.description import describe_points
from ansible_collections.ovm.backup.plugins.module_utils.vault.expiry import Expiration
from ansible_collections.ovm.backup.plugins.module_utils.vault.health import Health
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import MANIFEST_NAME, Point
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Client, Vault
from ansible_collections.ovm.backup.plugins.module_utils.vault.retention import RetentionPolicy
from ansible_collections.ovm.backup.plugins.module_utils.vault.verification_record import (
    VERIFICATION_NAME,
    Problem,
    Verification,
    write_verification,
)

RUN = "20261123T010203Z-0a1b2c3d-4e5f60"


@pytest.fixture
def points(client: Client, tmp_path: Path) -> list[Point]:
    """A full and seven incrementals, all of them verified."""
    made: list[Point] = []
    for number in range(8):
        image = write_image(tmp_path / "raw", noise(3000, number))
        made.append(add_point(client, image, base=made[-1] if made else None, now=1000.0 + number))
    for point in made:
        found_good(client, point)
    return made


def found_good(client: Client, point: Point, *problems: Problem) -> None:
    verification = Verification(9000.0, not problems, problems, 1, 1.0, {}, RUN)
    write_verification(os.path.join(client.directory, point.id), verification)


def counted(monkeypatch: pytest.MonkeyPatch, look: Callable[[], Any]) -> tuple[Any, Counter[str]]:
    """Return what looking gave, and how often which file was looked at, by the name of its folder and its own."""
    seen: Counter[str] = Counter()

    def counting(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *arguments: Any, **options: Any) -> Any:
            seen["/".join(str(path).split("/")[-2:])] += 1
            return function(path, *arguments, **options)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "lstat", counting(os.lstat))
        patch.setattr(builtins, "open", counting(open))
        result = look()
    return result, seen


def expire(client: Client) -> Any:
    policy = RetentionPolicy(keep_last=1)
    return Expiration(policy, 6000.0, UTC, "a test", RUN).review(client)


def describe(client: Client) -> Any:
    return describe_points(client, client.scan()[0])


def cover(client: Client) -> Any:
    return read_coverage_state(Vault.open(os.path.dirname(os.path.dirname(client.directory))))


@pytest.mark.parametrize("look", [expire, describe, cover, read_client])
def test_every_file_is_looked_at_once(
    client: Client, points: list[Point], look: Callable[[Client], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _result, seen = counted(monkeypatch, lambda: look(client))
    files = [f"{point.id}/{point.disks[0].file}" for point in points]
    assert {file: seen[file] for file in files} == dict.fromkeys(files, 1)
    for name in (MANIFEST_NAME, VERIFICATION_NAME):
        assert [seen[f"{point.id}/{name}"] for point in points] == [1] * len(points)


def disk_file(client: Client, point: Point) -> Path:
    return Path(client.directory) / point.id / point.disks[0].file


@pytest.mark.parametrize("damage", ["file", "size", "manifest", "verification", "other verification"])
def test_the_same_is_said_of_each_point_alone(client: Client, points: list[Point], damage: str) -> None:
    bad = points[3]
    path = disk_file(client, bad)
    expected = f"{path}: No such file or directory"
    if damage == "file":
        path.unlink()
    elif damage == "size":
        path.write_bytes(b"")
        expected = f"{path} has 0 bytes instead of {bad.disks[0].file_size}"
    elif damage == "manifest":
        manifest = path.parent / MANIFEST_NAME
        manifest.write_text("{}")
        expected = f"{manifest} is damaged"
    else:
        # With a point that needs the file, which may not be the one that holds it.
        holder = bad if damage == "verification" else points[5]
        found_good(client, holder, Problem(bad.id, path.name, 7, "it is bad"))
        expected = f"recovery point {holder.id} was found bad by a verification: it is bad"
    first = 5 if damage == "other verification" else 3
    for order in (points, points[::-1]):
        client.scan()
        health = Health(client)
        found = {point.id: health.problem_of(point) for point in order if damage != "manifest" or point is not bad}
        alone = {point.id: Client(client.directory).problem_of(point) for point in points if point.id in found}
        assert found == alone
        for number, point in enumerate(points):
            if point.id in found:
                text = found[point.id]
                assert text is None if number < first else str(text).startswith(expected), number


def test_the_nearest_cause_comes_first(client: Client, points: list[Point]) -> None:
    """What cannot be put together before what has another size, and that before what was found bad."""
    found_good(client, points[4], Problem(points[4].id, points[4].disks[0].file, 0, "it is bad"))
    for number in (1, 2):
        disk_file(client, points[number]).write_bytes(b"")
    client.scan()
    health = Health(client)
    assert str(health.problem_of(points[7])).startswith(f"{disk_file(client, points[2])} has 0 bytes")
    assert str(health.problem_of(points[1])).startswith(f"{disk_file(client, points[1])} has 0 bytes")
    (Path(client.directory) / points[0].id / MANIFEST_NAME).unlink()
    assert "has no recovery point" in str(Client(client.directory).problem_of(points[7]))
