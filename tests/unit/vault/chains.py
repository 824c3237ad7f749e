# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A client with a chain of recovery points, and damage of every kind to each of its files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from unit.vault.builders import RECORD_OFFSET, add_point, header, make_client, noise, records, seek_table, write_image

from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point, write_manifest
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Client

SIZE = 30 * 2048 + 700
RUN = "20261123T010203Z-0a1b2c3d-4e5f60"
FILE = "0-system.img.zst"


def make_chain(directory: Path, length: int = 3, name: str = "web01") -> tuple[Client, list[Point]]:
    """Return a client with a full and incrementals on it; each changes something else, nothing is overwritten twice."""
    client = make_client(directory / "vault", name)
    data = bytearray(noise(4 * 2048) + bytes(20 * 2048) + noise(SIZE - 24 * 2048, 1))
    points: list[Point] = []
    for number in range(length):
        if number:
            start = number * 1024
            data[start : start + 512] = noise(512, number + 10)
        image = write_image(directory / f"{name}.raw", bytes(data))
        base = points[-1] if points else None
        points.append(add_point(client, image, base=base, now=1000.0 + number, created=1000.0 + number))
    return client, points


def file_of(client: Client, point: Point) -> Path:
    return Path(client.directory, point.id, point.disks[0].file)


def flip(path: Path, offset: int) -> None:
    """Change one byte of a file."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x10
    path.write_bytes(data)


# Damage to a disk file: what is flipped, and the place that a verification has to name.
DAMAGES: dict[str, Callable[[Path], tuple[int, int]]] = {
    "frame": lambda path: (records(path)[0][RECORD_OFFSET] + 20, records(path)[0][RECORD_OFFSET]),
    "records": lambda path: (header(path)["records_offset"] + 3, header(path)["records_offset"]),
    "hashes": lambda path: (header(path)["hashes_offset"] + 3, header(path)["hashes_offset"]),
    "digests": lambda path: (header(path)["digests_offset"] + 3, header(path)["digests_offset"]),
    "head of the digests": lambda path: (header(path)["digests_offset"] - 8, header(path)["digests_offset"] - 8),
    "header": lambda path: (_tail(path, 1) + 12, _tail(path, 1)),
    "head of the hashes": lambda path: (header(path)["hashes_offset"] - 8, header(path)["hashes_offset"] - 8),
    "seek table": lambda path: (_tail(path, 0) + 8, _tail(path, 0) + 8),
    "last byte": lambda path: (path.stat().st_size - 1, path.stat().st_size - 9),
}


def _tail(path: Path, back: int) -> int:
    """Return where the seek table begins, or the frame before it."""
    frames = seek_table(path.read_bytes())
    return frames[-1].offset + (0 if back else frames[-1].size)


def forge(client: Client, point: Point, **changes: object) -> None:
    """Publish a manifest that says something else of the disk, as an error in the software would."""
    disk = replace(point.disks[0], **changes)  # type: ignore[arg-type]
    write_manifest(os.path.join(client.directory, point.id), replace(point, disks=(disk,)))


def break_manifest(client: Client, point: Point) -> Path:
    """Change a manifest so that its hash does not fit."""
    path = Path(client.directory, point.id, "point.json")
    document = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**document, "reason": "another"}), encoding="utf-8")
    return path
