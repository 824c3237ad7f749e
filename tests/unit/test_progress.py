# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How far a module is: the status file, its rate, and what the module leaves behind."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.ovm.backup.plugins.module_utils._progress import Rate, StatusFile, parse_status, status_file

STATUS = {"vm": "db 01", "phase": "transfer sys", "done": 1, "total": 2, "rate": None}


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "progress.json"


def made(path: Path, clock: Clock) -> StatusFile:
    return StatusFile(str(path), vm="db\u202e 01\ud800", run_id="run", clock=clock)


# --- the rate --------------------------------------------------------------------------------------------------------


def test_rate_is_that_of_the_last_half_minute() -> None:
    rate = Rate()
    assert rate.add(0.0, 0) is None
    assert rate.add(10.0, 1000) == 100.0
    assert rate.add(30.0, 3000) == 100.0
    assert rate.add(60.0, 3000) == 0.0  # nothing came in the last half minute, whatever came before
    assert rate.add(61.0, 3310) == 10.0


@pytest.mark.parametrize(("now", "done"), [(5.0, 2000), (11.0, 10)])
def test_rate_begins_again(now: float, done: int) -> None:
    rate = Rate()
    rate.add(0.0, 0)
    rate.add(10.0, 1000)
    assert rate.add(now, done) is None
    assert rate.add(now + 2, done + 20) == 10.0


# --- the file --------------------------------------------------------------------------------------------------------


def test_status_is_written_at_most_once_in_a_second(path: Path, clock: Clock) -> None:
    status = made(path, clock)
    report = status.phase("transfer")
    assert report is not None
    assert not path.parent.exists()
    clock.now = 1004.0
    report("sys", 10, 100)
    first = json.loads(path.read_text(encoding="ascii"))
    assert first == {
        "run_id": "run",
        "vm": "db\u202e 01\ud800",
        "phase": "transfer sys",
        "done": 10,
        "total": 100,
        "rate": None,
        "started": 1000.0,
        "updated": 1004.0,
    }
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    clock.now = 1004.9
    report("sys", 20, 100)
    report("data", 5, 50)
    assert json.loads(path.read_text(encoding="ascii")) == first
    clock.now = 1006.9
    report("data", 25, 50)
    second = json.loads(path.read_text(encoding="ascii"))
    assert second == {**first, "phase": "transfer data", "done": 25, "total": 50, "rate": 10.0, "updated": 1006.9}
    assert parse_status(path.read_text(encoding="ascii")) == second
    clock.now = 900.0  # set back
    report("data", 26, 50)
    assert json.loads(path.read_text(encoding="ascii"))["updated"] == 900.0
    assert os.listdir(path.parent) == ["progress.json"]
    status.remove()
    assert not path.parent.exists()
    report("data", 50, 50)
    assert not path.parent.exists()


def test_nobody_wants_to_know() -> None:
    with status_file(None, vm="db01") as status:
        assert status.phase("transfer") is None


def test_file_goes_with_the_module(path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), status_file(str(path), vm="db01") as status:
        report = status.phase("restore")
        assert report is not None
        report("sys", 1, 2)
        assert path.exists()
        raise KeyboardInterrupt
    assert not path.parent.exists()


def test_directory_of_somebody_else_is_left_alone(path: Path, clock: Clock) -> None:
    path.parent.mkdir()
    target = path.parent.parent / "secret"
    target.write_text("kept", encoding="ascii")
    (path.parent / "progress.json.new").symlink_to(target)
    status = made(path, clock)
    report = status.phase("transfer")
    assert report is not None
    report("sys", 1, 2)
    status.remove()
    assert os.listdir(path.parent) == ["progress.json.new"]
    assert target.read_text(encoding="ascii") == "kept"


@pytest.mark.parametrize("name", ["missing/made/progress.json", "a\0b/progress.json", "file/made/progress.json"])
def test_trouble_with_the_file_is_none_of_the_module(tmp_path: Path, clock: Clock, name: str) -> None:
    (tmp_path / "file").touch()
    status = made(tmp_path / name, clock)
    report = status.phase("transfer")
    assert report is not None
    report("sys", 1, 2)
    status.remove()
    assert os.listdir(tmp_path) == ["file"]


def test_directory_that_vanishes(path: Path, clock: Clock) -> None:
    status = made(path, clock)
    report = status.phase("transfer")
    assert report is not None
    report("sys", 1, 2)
    path.unlink()
    path.parent.rmdir()
    clock.now += 2
    report("sys", 2, 2)
    status.remove()
    assert not path.parent.exists()


# --- what was read ---------------------------------------------------------------------------------------------------


def test_status_is_found_between_other_lines() -> None:
    assert parse_status(f"Welcome!\r\n{json.dumps(STATUS)}\r\n{{}}\r\nbye") == STATUS


@pytest.mark.parametrize(
    "change",
    [
        {"vm": 1},
        {"phase": None},
        {"done": -1},
        {"done": True},
        {"total": 1.5},
        {"total": "2"},
        {"rate": "fast"},
        {"rate": float("inf")},
        {"rate": float("nan")},
        {"rate": -1},
    ],
)
def test_implausible_status(change: dict[str, Any]) -> None:
    assert parse_status(json.dumps({**STATUS, **change})) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", json.dumps(STATUS)[:-1], "[" * 100_000])
def test_no_status(text: str) -> None:
    assert parse_status(text) is None
