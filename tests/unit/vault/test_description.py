# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Recovery points in plain types: for which of them it is asked what holds them, and when that cannot be known."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from unit.vault.builders import add_point, noise, write_image

from ansible_collections.ovm.backup.plugins.module_utils.errors import VaultError
from ansible_collections.ovm.backup.plugins.module_utils.vault import description
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Client


def test_only_what_is_accepted_is_asked_for(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = [add_point(client, write_image(tmp_path / str(number), noise(5000))) for number in range(2)]
    asked: list[str] = []
    monkeypatch.setattr(description, "hold_of", asked.append)
    found = description.describe_points(client, points, lambda one: one["id"] == points[1].id)
    assert [(one["id"], one["held"]) for one in found] == [(points[1].id, None)]
    assert [Path(directory).name for directory in asked] == [points[1].id]


def test_folder_that_was_renamed_by_hand(client: Client, tmp_path: Path) -> None:
    point = add_point(client, write_image(tmp_path / "raw", noise(5000)))
    folder = Path(client.directory).rename(Path(client.directory).with_name("renamed"))
    renamed = Client(str(folder))
    [found] = description.describe_points(renamed, renamed.scan()[0])
    assert (found["client"], found["id"]) == ("renamed", point.id)


def test_what_holds_it_may_be_unknown(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(directory: str) -> str:
        raise VaultError("the storage refuses it")

    monkeypatch.setattr(description, "hold_of", refuse)
    found = description.describe_point(client, add_point(client, write_image(tmp_path / "raw", noise(5000))))
    assert found["held"] == "it is not known whether it is held: the storage refuses it"


def test_whether_it_is_in_order_may_be_unknown(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point = add_point(client, write_image(tmp_path / "raw", noise(3000)))
    path = f"{client.directory}/{point.id}/{point.disks[0].file}"
    look = os.lstat

    def late(name: str) -> os.stat_result:
        if str(name) == path:
            raise OSError(errno.ETIMEDOUT, "Connection timed out", name)
        return look(name)

    monkeypatch.setattr(os, "lstat", late)
    found = description.describe_point(client, point)
    assert found["problem"] == f"it is not known whether it is in order: Cannot look at {path}: Connection timed out"
    assert (found["id"], found["verification"]) == (point.id, None)
