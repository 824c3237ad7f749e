# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which clones are reference clones, as the recovery points of a client say."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unit.vault.builders import add_disk, describe, make_client, noise, write_image

from ansible_collections.ovm.backup.plugins.module_utils.planning.kept_clones import (
    read_references,
    reference_clones,
)
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Client, Vault


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return make_client(tmp_path / "vault", "web01", "vm-web")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return write_image(tmp_path / "image", noise(4096))


def point(client: Client, image: Path, clone_id: str | None, *, base: Point | None = None, **changes: Any) -> Point:
    """Publish a point that was read from a clone, or from the VM itself."""
    writer = client.new_point(now=1000.0)
    disk = add_disk(client, writer, image, base)
    facts = {"clone_id": clone_id, "repository_id": "r1", "path": "/VirtualDisks/1.img", "identity": None}
    made = describe(writer, client, (replace(disk, image=facts),), **changes)
    writer.publish(made)
    return made


def damage(client: Client, point_id: str) -> None:
    (Path(client.directory) / point_id / "point.json").write_text("{}")


def test_client_without_points(client: Client) -> None:
    assert client.newest_readable() is None
    assert reference_clones(client) == {}


def test_newest_point_counts(client: Client, image: Path) -> None:
    full = point(client, image, "c1")
    assert reference_clones(client) == {"c1": full}
    second = point(client, image, "c2", base=full)
    assert reference_clones(client) == {"c2": second}
    point(client, image, None, base=second)  # read from the VM itself
    assert reference_clones(client) == {}


def test_differential_leaves_the_clone_of_its_full(client: Client, image: Path) -> None:
    full = point(client, image, "c1")
    point(client, image, "c2", base=full)
    differential = point(client, image, "c3", base=full, type="differential")
    assert reference_clones(client) == {"c1": full, "c3": differential}
    after = point(client, image, "c4", base=differential)
    assert reference_clones(client) == {"c4": after}


def test_clone_that_was_not_to_be_kept(client: Client, image: Path) -> None:
    full = point(client, image, "c1", clone={"keep": True, "reason": "", "obsolete": True})
    assert reference_clones(client) == {"c1": full}
    point(client, image, "c2", base=full, type="differential", clone={"keep": False, "reason": "", "obsolete": False})
    assert reference_clones(client) == {"c1": full}
    point(client, image, "c4", base=full, clone={"keep": False, "reason": "no extent maps", "obsolete": True})
    assert reference_clones(client) == {}


def test_point_that_names_no_image(client: Client, image: Path) -> None:
    writer = client.new_point(now=1000.0)
    writer.publish(describe(writer, client, (add_disk(client, writer, image),)))
    assert reference_clones(client) == {}


def test_damaged_and_removed_points_do_not_count(client: Client, image: Path) -> None:
    full = point(client, image, "c1")
    second, third = point(client, image, "c2", base=full), point(client, image, "c3", base=full)
    (Path(client.directory) / "20991231T000000Z-9999").mkdir()  # never published
    damage(client, third.id)
    assert reference_clones(client) == {"c2": second}
    shutil.rmtree(Path(client.directory) / second.id)
    assert reference_clones(client) == {"c1": full}


def test_differential_with_a_damaged_full(client: Client, image: Path) -> None:
    full = point(client, image, "c1")
    differential = point(client, image, "c3", base=full, type="differential")
    damage(client, full.id)
    assert reference_clones(client) == {"c3": differential}


def test_references_of_some_vms(client: Client, image: Path, tmp_path: Path) -> None:
    full = point(client, image, "c1")
    other = make_client(tmp_path / "vault", "db01", "vm-db")
    vault = Vault.open(str(tmp_path / "vault"))
    point(other, image, "c2")
    found = read_references(vault, ["vm-web", "vm-unknown"])
    assert (found.by_vm, found.unreadable) == ({"vm-web": {"c1": full}}, None)
    assert (found.point_of("vm-web", "c1"), found.point_of("vm-web", "c2")) == (full, None)
    assert found.point_of("vm-db", "c2") is None
    assert read_references(vault, []).by_vm == {}
    (Path(other.directory) / "client.json").write_text("no JSON")
    found = read_references(vault, ["vm-web", "vm-db"])
    assert (found.by_vm, found.unreadable) == ({"vm-web": {"c1": full}}, "db01")
