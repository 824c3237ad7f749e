# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook retention: what a subclient keeps, in the time zone that it names."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from unit.vault.builders import add_point, make_client, noise, write_image

from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Client
from playbooks.bench import Bench, only

DAY = 86400.0
KEEP = {"keep_daily": 2}


@pytest.fixture
def clients(bench: Bench, tmp_path: Path) -> dict[str, tuple[Client, list[Point]]]:
    """Four fulls each of a client of every subclient, a day between them."""
    bench.subclients = {
        "databases": only("db*", retention=KEEP),
        "files": only("files*", retention=KEEP),
        "rest": only("*"),
    }
    image, now, made = write_image(tmp_path / "raw", noise(5000)), time.time(), {}
    for name in bench.subclients:
        client = make_client(bench.vault, name=f"{name}01", vm_id=name)
        moments = [now - days * DAY for days in (4, 3, 2, 1)]
        points = [add_point(client, image, now=moment, created=moment, subclient=name) for moment in moments]
        made[name] = (client, points)
    return made


def left(clients: dict[str, tuple[Client, list[Point]]]) -> dict[str, int]:
    return {name: len(client.scan()[0]) for name, (client, _points) in clients.items()}


def test_retention(bench: Bench, clients: dict[str, tuple[Client, list[Point]]]) -> None:
    points = clients["databases"][1]
    shown = bench.run("retention", "--check", "--diff", subclient="databases")
    assert left(clients) == {"databases": 4, "files": 4, "rest": 4}
    [summary] = shown.shown
    assert summary[0].startswith("Retention: 1 client, 2 recovery points would be removed, ")
    assert [line.split()[:2] for line in summary if "Z-0" in line] == [
        ["remove", points[0].id], ["remove", points[1].id], ["keep", points[2].id], ["keep", points[3].id],
    ]  # fmt: skip
    for point in points[:2]:
        assert f'-        "{point.id}"' in shown.output
    done = bench.run("retention", subclient="databases", client="databases01")
    assert done.changed == {"localhost": 1}
    assert left(clients) == {"databases": 2, "files": 4, "rest": 4}


def test_nothing_to_do_and_wrong_input(bench: Bench, clients: dict[str, tuple[Client, list[Point]]]) -> None:
    files = bench.directory / "subclients"
    files.mkdir()
    (files / "filed.yml").write_text(json.dumps(only("filed*")), encoding="utf-8")
    bench.hosts = {
        "without": {"subclient": "rest", "client": ""},
        "in-a-file": {"subclient": "filed", "client": "", "ovm_backup_subclients_path": str(files)},
        "unknown": {"subclient": "daly", "client": ""},
        "foreign": {"subclient": "files", "client": "databases01"},
    }
    outcome = bench.run("retention", code=2, ovm_backup_proxy="all")
    assert outcome.failed == {"unknown", "foreign"}
    for name in ("rest", "filed"):
        assert f"Subclient {name} has no retention: everything is kept." in outcome.output
    assert outcome.messages == {
        "unknown": "There is no subclient 'daly'. Defined are: databases, files, rest.",
        "foreign": "The newest recovery point of client databases01 was not made by subclient 'files'",
    }
    assert left(clients) == {"databases": 4, "files": 4, "rest": 4}
