# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook copy: a second vault that is enough to restore from, with a retention of its own."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from unit.vault.builders import add_point, make_client, noise, restored, write_image
from unit.vault.chains import file_of, flip

from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Client, Vault
from playbooks.bench import Bench, only

DAY = 86400.0


@pytest.fixture
def copy(bench: Bench) -> Vault:
    made = Vault.create(str(bench.directory / "copy"))
    bench.variables = {"ovm_backup_copy_vault": made.path, "ovm_backup_copy_retention": {"keep_last": 2}}
    return made


def make_points(bench: Bench, tmp_path: Path, name: str) -> tuple[Client, list[Point]]:
    """Four fulls of a client, a day between them."""
    client, now = make_client(bench.vault, name=name, vm_id=name), time.time()
    image = write_image(tmp_path / "raw", noise(5000))
    moments = [now - days * DAY for days in (4, 3, 2, 1)]
    return client, [add_point(client, image, now=moment, created=moment, subclient=name) for moment in moments]


def ids(vault: Vault, name: str) -> list[str]:
    return [point.id for point in vault.client_folder(name).scan()[0]]


def test_copy_and_its_own_retention(bench: Bench, copy: Vault, tmp_path: Path) -> None:
    bench.subclients = {"databases": only("db*")}
    (db, db_points), (files, points) = (make_points(bench, tmp_path, name) for name in ("db01", "files01"))
    shown = bench.run("copy", "--check")
    assert shown.shown[0][0].startswith("Copy: 2 clients; 4 missing, ")
    assert copy.client_folders() == []
    flip(file_of(db, db_points[3]), 20)
    done = bench.run("copy", code=2)
    assert done.shown[0][0].startswith("Copy: 2 clients; 3 recovery points copied, ")
    assert done.messages["localhost"].startswith(
        f"Not everything was copied: db01: {db_points[3].id}: {file_of(db, db_points[3])} is damaged at offset 0"
    )
    assert (ids(copy, "db01"), ids(copy, "files01")) == ([db_points[2].id], [one.id for one in points[2:]])
    # Another day: the retention of the copy drops what its policy drops, and the vault keeps all.
    image = write_image(tmp_path / "raw", noise(5000, 7))
    newest = add_point(files, image, created=time.time(), now=time.time(), subclient="files01")
    again = bench.run("copy", client="files01", verify="header")
    assert [line[0].split(",")[0] for line in again.shown] == [
        "Copy: 1 client; 1 recovery point copied", "Retention: 1 client",
    ]  # fmt: skip
    assert ids(copy, "files01") == [points[3].id, newest.id]
    assert len(files.scan()[0]) == 5
    assert restored(copy.client("files01"), newest) == image.read_bytes()
