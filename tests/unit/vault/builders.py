# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images, disk files and recovery points to test with, and independent readers of what was written."""

from __future__ import annotations

import errno
import json
import os
import random
import struct
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import blake3
import pytest

from ansible_collections.ovm.backup.plugins.module_utils.images.local import LocalImage
from ansible_collections.ovm.backup.plugins.module_utils.transfer.disk_backup import DiskResult, backup_disk
from ansible_collections.ovm.backup.plugins.module_utils.transfer.disk_restore import restore_disk
from ansible_collections.ovm.backup.plugins.module_utils.vault.chain import DiskChain, open_chain
from ansible_collections.ovm.backup.plugins.module_utils.vault.disk_writer import (
    DiskFileSummary,
    DiskWriter,
    FrameCompressor,
)
from ansible_collections.ovm.backup.plugins.module_utils.vault.format import Geometry
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point, PointDisk, write_manifest
from ansible_collections.ovm.backup.plugins.module_utils.vault.point_writer import PointWriter
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Client, Vault
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.directory import DirectoryStorage

KIB = 1024
MIB = 1024 * KIB
PAGE = 4096

# The tables of a disk file as the documentation of the format describes them, written down once more.
RECORD = struct.Struct("<IIQQQQQ32s")
RECORD_SEGMENT, RECORD_SEGMENTS, RECORD_OFFSET, RECORD_LENGTH, RECORD_STORED, RECORD_ZERO, RECORD_HASH = range(7)
RECORD_FRAME_HASH = 7
NFS = ".nfs0000000000000001"
EMPTY_STATE = "00" * 256  # of a disk of nothing but zeros


class Stored(NamedTuple):
    """A finished disk file."""

    path: Path
    summary: DiskFileSummary
    result: DiskResult

    @property
    def link(self) -> tuple[str, str]:
        return str(self.path), self.summary.header_hash


class SeekFrame(NamedTuple):
    """An entry of the seek table: where the frame lies, and where what it decompresses to."""

    offset: int
    size: int
    position: int
    length: int


def noise(length: int, seed: int = 0) -> bytes:
    """Return bytes that do not compress, none of them zero."""
    return random.Random(seed).randbytes(length).replace(b"\0", b"\1")


def write_image(path: Path, data: bytes, *, holes: bool = True) -> Path:
    """Write a raw image; pages of zeros become holes unless they are wanted as explicit zeros."""
    with path.open("wb") as file:
        for start in range(0, len(data), PAGE):
            page = data[start : start + PAGE]
            if not holes or page.strip(b"\0"):
                file.seek(start)
                file.write(page)
        file.truncate(len(data))
    return path


def write_sparse(path: Path, size: int, pieces: dict[int, bytes]) -> Path:
    """Write an image of any size that is a hole but for C(pieces), offset to content."""
    with path.open("wb") as file:
        for offset, content in pieces.items():
            file.seek(offset)
            file.write(content)
        file.truncate(size)
    return path


def fail_to_read(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let the storage not answer for files whose path ends with a name."""
    read = DirectoryStorage.read

    def late(storage: DirectoryStorage, path: str, limit: int | None = None) -> bytes:
        if path.endswith(f"/{name}"):
            raise TimeoutError(errno.ETIMEDOUT, "Connection timed out", path)
        return read(storage, path, limit)

    monkeypatch.setattr(DirectoryStorage, "read", late)


def unlink_on_nfs(path: str) -> None:
    """Do what C(os.unlink) does on NFS while this host reads all disk files.

    They get another name, which cannot be removed before they are closed. A file named C(kept) is not ours to remove.
    """
    folder, name = os.path.split(path)
    if name.startswith(".nfs"):
        raise OSError(errno.EBUSY, "Device or resource busy", path)
    if name == "kept":
        raise OSError(errno.EPERM, "Operation not permitted", path)
    if name.endswith(".zst"):
        os.rename(path, os.path.join(folder, NFS))
    else:
        os.remove(path)


def content_hash(data: bytes, block_size: int) -> str:
    """Return the content hash as the documentation defines it."""
    sizes = len(data).to_bytes(8, "little") + block_size.to_bytes(8, "little")
    return str(blake3.blake3(sizes + bytes.fromhex(content_state(data, block_size))).hexdigest())


def content_state(data: bytes, block_size: int) -> str:
    """Return the state of a disk as the documentation defines it."""
    state = 0
    for number, start in enumerate(range(0, len(data), block_size)):
        block = data[start : start + block_size]
        if block.strip(b"\0"):
            name = number.to_bytes(8, "little") + blake3.blake3(block).digest()
            context = "ovm.backup 2026 element of a disk's content hash"
            state += int.from_bytes(blake3.blake3(name, derive_key_context=context).digest(256), "little")
    return (state % 2**2048).to_bytes(256, "little").hex()


def store(
    image: Path, path: Path, *, base: DiskChain | None = None, block_size: int = 64 * KIB, segment_size: int = MIB
) -> Stored:
    """Back an image up into a disk file: a full, or an incremental when there is a base."""
    with LocalImage(str(image)) as source:
        geometry = Geometry(source.size, block_size, segment_size)
        compressor = FrameCompressor()
        writer = DiskWriter(str(path), geometry, "full" if base is None else "incremental", compressor)
        try:
            result = backup_disk(source, writer, geometry, compressor, base=base, workers=2)
            return Stored(path, writer.finish(result.content_state), result)
        finally:
            writer.abort()


def store_chain(
    directory: Path, images: list[bytes], *, block_size: int = 512, segment_size: int = 2048
) -> list[Stored]:
    """Back up the states of a disk one after the other: a full, then incrementals. Oldest first."""
    files: list[Stored] = []
    for number, data in enumerate(images):
        image = write_image(directory / f"{number}.raw", data)
        target = directory / f"{number}.img.zst"
        if not files:
            files.append(store(image, target, block_size=block_size, segment_size=segment_size))
            continue
        with open_files(files) as base:
            files.append(store(image, target, base=base, block_size=block_size, segment_size=segment_size))
    return files


def open_files(files: list[Stored]) -> DiskChain:
    """Open a chain that is given oldest first."""
    return open_chain([item.link for item in reversed(files)])


def without_digests(path: Path) -> str:
    """Make a disk file what was written before there were digests of the hashes; return the hash of its header."""
    data = path.read_bytes()
    frames = seek_table(data)
    *kept, digests, old = frames
    document = {key: value for key, value in header(path).items() if not key.startswith("digests_")}
    text = json.dumps(document, sort_keys=True, separators=(",", ":")).encode("utf-8")
    sizes = [(frame.size, frame.length) for frame in kept] + [(len(text) + 8, 0)]
    table = b"".join(struct.pack("<II", *one) for one in sizes) + struct.pack("<IBI", len(sizes), 0, 0x8F92EAB1)
    parts = [data[: digests.offset], struct.pack("<II", 0x184D2A52, len(text)), text]
    path.write_bytes(b"".join([*parts, struct.pack("<II", 0x184D2A5E, len(table)), table]))
    assert old.offset == digests.offset + digests.size, "the header follows the digests"
    return blake3.blake3(text).hexdigest()


def seek_table(data: bytes) -> list[SeekFrame]:
    """Parse the seek table by the public description of the Zstandard seekable format, version 0.1.1."""
    frames, flags, magic = struct.unpack("<IBI", data[-9:])
    assert magic == 0x8F92EAB1
    assert flags & 0b01111100 == 0, "reserved bits"
    entry = struct.Struct("<III" if flags & 0x80 else "<II")
    content = frames * entry.size + 9
    start = len(data) - content - 8
    assert struct.unpack_from("<II", data, start) == (0x184D2A5E, content)
    found = []
    offset = position = 0
    for number in range(frames):
        size, length = entry.unpack_from(data, start + 8 + number * entry.size)[:2]
        found.append(SeekFrame(offset, size, position, length))
        offset += size
        position += length
    assert offset == start, "the frames fill the file up to the seek table"
    return found


def skippables(data: bytes) -> dict[int, list[bytes]]:
    """Return the contents of the skippable frames by their magic number."""
    found: dict[int, list[bytes]] = {}
    for frame in seek_table(data):
        magic, size = struct.unpack_from("<II", data, frame.offset)
        if magic & 0xFFFFFFF0 == 0x184D2A50:
            assert size == frame.size - 8
            assert frame.length == 0
            found.setdefault(magic, []).append(data[frame.offset + 8 : frame.offset + frame.size])
    return found


def records(path: Path) -> list[tuple[int, ...]]:
    """Return the segment records of a disk file."""
    (table,) = skippables(path.read_bytes())[0x184D2A50]
    return list(RECORD.iter_unpack(table))


def frames(path: Path) -> dict[int, bytes]:
    """Return the compressed frame of each segment that has one of its own."""
    data = path.read_bytes()
    return {
        row[RECORD_SEGMENT]: data[row[RECORD_OFFSET] : row[RECORD_OFFSET] + row[RECORD_LENGTH]]
        for row in records(path)
        if row[RECORD_STORED]
    }


def unpacked(path: Path) -> bytes:
    """Return what plain zstd makes of a disk file."""
    return subprocess.run(["zstd", "-dcq", str(path)], check=True, capture_output=True).stdout


def header(path: Path) -> dict[str, Any]:
    """Return the header of a disk file."""
    (text,) = skippables(path.read_bytes())[0x184D2A52]
    found: dict[str, Any] = json.loads(text)
    return found


def replace_header(data: bytes, **changes: Any) -> bytes:
    """Return a disk file with another header, as a forger would make it: everything else fits. None takes a key out."""
    frames = seek_table(data)
    at = frames[-1]
    document = json.loads(data[at.offset + 8 : at.offset + at.size])
    document.update(changes)
    document = {key: value for key, value in document.items() if value is not ...}
    return with_header(data, json.dumps(document).encode())


def with_header(data: bytes, text: bytes) -> bytes:
    """Return a disk file whose header frame holds C(text)."""
    frames = seek_table(data)
    entries = b"".join(struct.pack("<II", frame.size, frame.length) for frame in frames[:-1])
    entries += struct.pack("<II", 8 + len(text), 0)
    table = entries + struct.pack("<IBI", len(frames), 0, 0x8F92EAB1)
    head = data[: frames[-1].offset] + struct.pack("<II", 0x184D2A52, len(text)) + text
    return head + struct.pack("<II", 0x184D2A5E, len(table)) + table


def replace_records(data: bytes, rows: list[tuple[int, ...]]) -> bytes:
    """Return a disk file with other records of the same number, and the hash of them in the header."""
    table = b"".join(RECORD.pack(*row) for row in rows)
    start = json.loads(skippables(data)[0x184D2A52][0])["records_offset"]
    changed = data[:start] + table + data[start + len(table) :]
    return replace_header(changed, records_hash=blake3.blake3(table).hexdigest())


def stored_tree(directory: str | os.PathLike[str]) -> list[str]:
    """Return every file and folder below a directory."""
    top = Path(directory)
    return sorted(str(path.relative_to(top)) for path in top.rglob("*"))


def make_client(path: Path, name: str = "web01", vm_id: str = "0004fb0000060000aa") -> Client:
    """Return a registered client in a new or existing vault."""
    vault = Vault.open(str(path)) if (path / "vault.json").exists() else Vault.create(str(path), clock=lambda: 1.0)
    client = vault.prepare_client(name)
    vault.register(client, vm_id=vm_id, vm_name=name, now=1.0)
    return client


def describe(writer: PointWriter, client: Client, disks: tuple[PointDisk, ...], **changes: Any) -> Point:
    """Return the manifest of a point."""
    values: dict[str, Any] = {
        "id": writer.id,
        "client": client.name,
        "sequence": writer.sequence,
        "parent": None,
        "type": disks[0].type if disks else "full",
        "requested_type": "incremental",
        "reason": "first backup of this VM",
        "method": "cold",
        "consistency": "powered_off",
        "vm_id": "0004fb0000060000aa",
        "vm_name": "web 01 \u00e4",
        "created": 1000.0,
        "completed": 1001.5,
        "run_id": "20260101T000000Z-000000",
        "job_id": None,
        "subclient": "all",
        "manager": {"id": "0004fb0000010000bb", "version": "3.4.6"},
        "disks": disks,
        "skipped_disks": ({"slot": 5, "reason": "physical disk"},),
        "configuration": {},
        "durations": {"transfer": 1.5},
        "versions": {"collection": "1.0.0"},
        "warnings": ("a warning",),
    }
    return Point(**{**values, **changes})


def add_point(client: Client, image: Path, *, base: Point | None = None, now: float = 1000.0, **changes: Any) -> Point:
    """Back an image up as a point with one disk, by the steps that a backup takes; nothing is left of a failed one."""
    writer = client.new_point(now=now)
    try:
        disk = add_disk(client, writer, image, base)
        entry = writer.add_file("vm.cfg", b"vcpus = 2\n")
        point = describe(writer, client, (disk,), configuration={"vm_cfg": entry}, **changes)
        writer.publish(point)
    except BaseException:
        writer.discard()
        raise
    return point


def read_from_images(client: Client, point: Point, images: dict[int, dict[str, Any]]) -> Point:
    """Let a published point say which images its disks were read from, by slot."""
    told = replace(point, disks=tuple(replace(disk, image=images.get(disk.slot)) for disk in point.disks))
    write_manifest(os.path.join(client.directory, point.id), told)
    return told


def add_disk(client: Client, writer: PointWriter, image: Path, base: Point | None = None) -> PointDisk:
    """Transfer one disk into a point in the making."""
    chain = client.open_disk(base, base.disks[0]) if base is not None else None
    kind = "full" if chain is None else "incremental"
    with LocalImage(str(image)) as source:
        geometry = Geometry(source.size, 512, 2048)
        name, file = writer.disk_writer(0, "system", geometry, kind)
        try:
            result = backup_disk(source, file, geometry, FrameCompressor(), base=chain, workers=1)
            summary = file.finish(result.content_state)
        finally:
            file.abort()
            if chain is not None:
                chain.close()
    return PointDisk(
        slot=0,
        disk_id="0004fb00001200001.img",
        name="system",
        size=geometry.size,
        type=kind,
        reason="first backup of this VM",
        base=base.id if base is not None else None,
        file=name,
        file_size=summary.size,
        header_hash=summary.header_hash,
        content_hash=result.content_hash,
        repository="repository one",
        statistics={"read": result.read, "changed": result.changed, "stored": summary.size},
    )


def restored(client: Client, point: Point, number: int = 0) -> bytes:
    """Return a disk as of a point, every block checked, and the whole as well."""
    with tempfile.TemporaryDirectory() as name, client.open_disk(point, point.disks[number]) as chain:
        target = Path(name, "restored")
        restore_disk(chain, str(target), content_hash=point.disks[number].content_hash, workers=1)
        return target.read_bytes()
