# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verifying points: damage of each kind in each file of a chain, files read once, results that last."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from unit.vault.builders import EMPTY_STATE, header, replace_header, skippables
from unit.vault.chains import DAMAGES, FILE, RUN, SIZE, break_manifest, file_of, flip, forge, make_chain

from ansible_collections.ovm.backup.plugins.module_utils.errors import VaultError
from ansible_collections.ovm.backup.plugins.module_utils.vault import verification
from ansible_collections.ovm.backup.plugins.module_utils.vault.chain import DiskChain
from ansible_collections.ovm.backup.plugins.module_utils.vault.disk_check import check_disk_file
from ansible_collections.ovm.backup.plugins.module_utils.vault.format import digest
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point
from ansible_collections.ovm.backup.plugins.module_utils.vault.point_making import versions
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Client
from ansible_collections.ovm.backup.plugins.module_utils.vault.verification import Verifier
from ansible_collections.ovm.backup.plugins.module_utils.vault.verification_record import (
    Problem,
    Verification,
    read_verification,
    write_verification,
)

pytestmark = pytest.mark.usefixtures("no_sync")
Chain = tuple[Client, list[Point]]


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    return make_chain(tmp_path)


def ticking(start: float = 5000.0) -> Callable[[], float]:
    now = start - 0.5

    def clock() -> float:
        nonlocal now
        now += 0.5
        return now

    return clock


def verify_all(client: Client, points: list[Point], **options: Any) -> list[Verification]:
    """Verify points in one run, all of which are still there."""
    verifier = Verifier(RUN, clock=ticking(), workers=1, **options)
    found = [verifier.verify(client, point) for point in points]
    assert None not in found
    return [one for one in found if one is not None]


def test_a_problem_for_people() -> None:
    assert str(Problem("p", FILE, 7, "another hash")) == f"{FILE}: another hash"
    assert str(Problem("p", FILE, 7, f"/vault/{FILE} is damaged")) == f"/vault/{FILE} is damaged"
    assert str(Problem(None, None, None, "a problem")) == "a problem"


# --- what is good ----------------------------------------------------------------------------------------------------


def test_a_good_chain(chain: Chain) -> None:
    client, points = chain
    found = verify_all(client, points)
    assert found == [
        Verification(5000.5 + number, True, (), point.stored, 0.5, versions(), RUN)
        for number, point in zip((0, 1, 2), points, strict=True)
    ]


def test_a_point_without_disks(tmp_path: Path) -> None:
    client, points = make_chain(tmp_path, 1)
    nothing = Point(**{**points[0].__dict__, "disks": (), "configuration": {}})
    assert verify_all(client, [nothing])[0].ok


def test_the_result_lasts(chain: Chain) -> None:
    client, points = chain
    folder = os.path.join(client.directory, points[0].id)
    assert read_verification(folder) is None
    (found,) = verify_all(client, points[:1])
    write_verification(folder, found)
    assert read_verification(folder) == found
    assert json.loads(Path(folder, "verification.json").read_text(encoding="utf-8")) == {
        "verified_at": 5000.5,
        "ok": True,
        "problems": [],
        "bytes_read": points[0].stored,
        "duration": 0.5,
        "versions": versions(),
        "run_id": RUN,
    }
    bad = Verification(6000.0, False, (Problem(points[0].id, FILE, 3, "a problem"),), 7, 1.0, versions(), RUN)
    write_verification(folder, bad)
    assert read_verification(folder) == bad
    assert client.scan() == (points, [])


@pytest.mark.parametrize(
    "change",
    [
        {"ok": False},  # without a problem
        {"problems": [{"message": "x"}]},  # but good
        {"ok": None},
        {"problems": None},
        {"problems": [7]},
        {"ok": False, "problems": [{"message": 7}]},
        {"ok": False, "problems": [{"message": "x", "file": []}]},
        {"ok": False, "problems": [{"message": "x", "offset": "y"}]},
        {"verified_at": "yesterday"},
        {"verified_at": None},
        {"verified_at": float("nan")},
        {"verified_at": 1e300},
        {"bytes_read": float("inf")},
        {"versions": 7},
    ],
)
def test_a_result_that_cannot_be_read_counts_as_none(chain: Chain, change: dict[str, Any]) -> None:
    client, points = chain
    folder = os.path.join(client.directory, points[0].id)
    path = Path(folder, "verification.json")
    good = verify_all(client, points[:1])[0].as_dict()
    path.write_text(json.dumps({**good, **change}), encoding="utf-8")
    assert read_verification(folder) is None
    for text in ("", "[]", "null", "{}"):
        path.write_text(text, encoding="utf-8")
        assert read_verification(folder) is None


# --- the cost --------------------------------------------------------------------------------------------------------


def test_every_file_is_read_once_however_many_points_need_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client, points = make_chain(tmp_path, 12)
    places = {os.path.realpath(file_of(client, point)): header(file_of(client, point)) for point in points}
    data = dict.fromkeys(places, 0)
    pread = os.pread

    def counted(descriptor: int, length: int, offset: int) -> bytes:
        path = os.path.realpath(f"/proc/self/fd/{descriptor}")
        end = places[path]["records_offset"] - 8
        data[path] += max(0, min(offset + length, end) - offset)
        return pread(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", counted)
    steps: list[tuple[str, int, int]] = []
    found = verify_all(client, points, progress=lambda *step: steps.append(step))
    assert all(one.ok for one in found)
    # The data of each file once; only the tables are read again for the points that build on it.
    assert data == {path: parts["records_offset"] - 8 for path, parts in places.items()}
    assert [one.bytes_read for one in found] == [point.stored for point in points]
    assert [done for _name, done, _total in steps] == sorted({done for _name, done, _total in steps})
    assert list(dict.fromkeys(name for name, _done, _total in steps)) == [
        f"web01/{point.id}/{FILE}" for point in points
    ]


def test_progress_covers_the_run(chain: Chain) -> None:
    client, points = chain
    steps: list[tuple[str, int, int]] = []
    verifier = Verifier(RUN, progress=lambda *step: steps.append(step), workers=1)
    for point in points:
        verifier.expect(client, point)
    for point in reversed(points):
        verifier.verify(client, point)
    total = sum(point.stored for point in points)
    assert {step[2] for step in steps} == {total}
    assert steps[-1][1] == total


def test_the_manifests_of_a_chain_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client, _points = make_chain(tmp_path, 12)
    points, _damaged = client.scan()
    asked: list[str] = []
    read = Client.point

    def counted(self: Client, point_id: str = "latest") -> Point:
        asked.append(point_id)
        return read(self, point_id)

    monkeypatch.setattr(Client, "point", counted)
    verify_all(client, points)
    assert asked == []


# --- what is bad -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
@pytest.mark.parametrize("which", [0, 1, 2])
def test_damage_of_each_kind_in_each_file(chain: Chain, which: int, damage: Callable[[Path], tuple[int, int]]) -> None:
    client, points = chain
    path = file_of(client, points[which])
    flipped, named = damage(path)
    flip(path, flipped)
    found = verify_all(client, points)
    assert [one.ok for one in found] == [number < which for number in range(3)]
    # All that build on the file name the same place.
    for one in found[which:]:
        (problem,) = one.problems
        assert (problem.point, problem.file, problem.offset) == (points[which].id, FILE, named)
        assert str(path) in problem.message
    flip(path, flipped)
    assert all(one.ok for one in verify_all(client, points))


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_file_that_is_missing_or_has_another_size(chain: Chain, which: int) -> None:
    client, points = chain
    path = file_of(client, points[which])
    data = path.read_bytes()
    for content, offset, what in (
        (data[:-5], len(data) - 5, f"{path} has {len(data) - 5} bytes instead of {len(data)}"),
        (data + b"more", len(data), f"{path} has {len(data) + 4} bytes instead of {len(data)}"),
        (None, None, f"{path} is missing from the vault"),
    ):
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
        found = verify_all(client, points)
        wanted = (Problem(points[which].id, FILE, offset, what),)
        assert [one.problems for one in found] == [() if number < which else wanted for number in range(3)]


def test_a_file_in_the_place_of_another(chain: Chain) -> None:
    client, points = chain
    first, second = file_of(client, points[1]), file_of(client, points[2])
    data = second.read_bytes()
    shutil.copy(first, second)
    assert len(data) == second.stat().st_size
    (found,) = verify_all(client, points[2:])
    assert "does not have the hash that the manifest gives" in found.problems[0].message


@pytest.mark.parametrize("changes", [{"content_hash": "0" * 64}, {"size": SIZE - 1}])
def test_a_manifest_that_promises_another_disk(chain: Chain, changes: dict[str, Any]) -> None:
    client, points = chain
    forge(client, points[1], **changes)
    path = file_of(client, points[1])
    wanted = Problem(points[1].id, FILE, 0, f"{path} and its bases give another disk than the manifest says")
    found = verify_all(client, [client.point(point.id) for point in points])
    # The content of the last one is as its own manifest says.
    assert [one.problems for one in found] == [(), (wanted,), ()]


def test_a_header_that_tells_another_state(chain: Chain) -> None:
    """An increment would go on from it; only an error in the software could write it."""
    client, points = chain
    path = file_of(client, points[1])
    data = replace_header(path.read_bytes(), content_state=EMPTY_STATE)
    path.write_bytes(data)
    (text,) = skippables(data)[0x184D2A52]
    forge(client, points[1], header_hash=digest(text), file_size=len(data))
    found = verify_all(client, [client.point(point.id) for point in points])
    wanted = Problem(points[1].id, FILE, 0, f"{path} and its bases give another disk than its header says")
    assert [one.problems for one in found] == [(), (wanted,), ()]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_of_each_file_only_what_it_changes_is_looked_at(
    chain: Chain, order: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, points = chain
    looked: list[tuple[int, bool]] = []
    state = DiskChain.table_state

    def spy(self: DiskChain, below: str | None = None) -> str:
        looked.append((len(self.files), below is None))
        return state(self, below)

    monkeypatch.setattr(DiskChain, "table_state", spy)
    assert all(found.ok for found in verify_all(client, [points[number] for number in order]))
    assert looked == [(1, True), (2, False), (3, False)]


@pytest.mark.parametrize("how", ["changed", "missing"])
def test_the_configuration(chain: Chain, how: str) -> None:
    client, points = chain
    path = Path(client.directory, points[1].id, "vm.cfg")
    if how == "changed":
        path.write_bytes(b"vcpus = 3\n")
        message = f"{path} is damaged: its content has another hash"
    else:
        path.unlink()
        message = f"Cannot read {path}: No such file or directory"
    found = verify_all(client, points)
    wanted = Problem(points[1].id, "vm.cfg", 0, message)
    assert [one.problems for one in found] == [(), (wanted,), ()]


def test_a_base_whose_manifest_is_damaged_or_missing(chain: Chain) -> None:
    client, points = chain
    path = break_manifest(client, points[0])
    label = "disk system (slot 0) cannot be put together: "
    damaged = f"{label}{path} is damaged: its content does not have the hash that it gives"
    wanted = (Problem(points[0].id, "point.json", 0, damaged),)
    assert [one.problems for one in verify_all(client, points[1:])] == [wanted, wanted]
    path.unlink()
    missing = f"{label}Client web01 has no recovery point '{points[0].id}'; the newest is {points[2].id}"
    wanted = (Problem(None, None, None, missing),)
    assert [one.problems for one in verify_all(client, points[1:])] == [wanted, wanted]


def test_several_problems_are_all_named(chain: Chain) -> None:
    client, points = chain
    Path(client.directory, points[2].id, "vm.cfg").unlink()
    for point in points[:2]:
        flip(file_of(client, point), 20)
    (found,) = verify_all(client, points[2:])
    assert [(problem.point, problem.file) for problem in found.problems] == [
        (points[1].id, FILE),
        (points[0].id, FILE),
        (points[2].id, "vm.cfg"),
    ]


# --- what is neither -------------------------------------------------------------------------------------------------


def test_a_point_that_is_removed_while_it_is_verified(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    client, points = chain
    folder = Path(client.directory, points[2].id)

    def removed(path: str, *arguments: Any, **options: Any) -> Any:
        (folder / "point.json").unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        return check_disk_file(path, *arguments, **options)

    monkeypatch.setattr(verification, "check_disk_file", removed)
    assert Verifier(RUN, workers=1).verify(client, points[2]) is None
    assert not folder.exists()


def test_a_removal_that_a_network_file_system_has_not_told_of(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its client may answer for a while from what it has seen of the directory."""
    client, points = chain
    manifest = Path(client.directory, points[2].id, "point.json")
    cached, look = os.lstat(manifest), os.lstat

    def seen(path: Any, **options: Any) -> os.stat_result:
        return cached if str(path) == str(manifest) else look(path, **options)

    shutil.rmtree(manifest.parent)
    monkeypatch.setattr(os, "lstat", seen)
    assert Verifier(RUN, workers=1).verify(client, points[2]) is None


def test_what_says_nothing_of_the_data_is_no_damage(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    client, points = chain
    opened = os.open

    def refuse(path: Any, *arguments: Any, **options: Any) -> int:
        if str(path).endswith(".zst"):
            raise PermissionError(13, "Permission denied", path)
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(VaultError, match="Permission denied"):
        Verifier(RUN, workers=1).verify(client, points[2])
