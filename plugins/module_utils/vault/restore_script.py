# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restore disks out of the vault in which this script lies, with nothing but Python and the program zstd.

    python3 restore.py                             list the clients
    python3 restore.py CLIENT                      list its recovery points
    python3 restore.py CLIENT POINT                list the disks of one; POINT is an id or "latest"
    python3 restore.py CLIENT POINT DIRECTORY      write them there as raw images; --slot for some of them only

It needs none of the software that made the vault. What belongs to what is in the point.json files; a recovery point
that is no full is laid over those that it builds on. Nothing is overwritten, and an image has its name when it is
complete. Zeros take no space.

Checked are sizes, tables and the checksum of every frame of data (zstd's own). The BLAKE3 hashes of manifests and of
whole disks are checked only if Python finds the module blake3; the script says whether they are.
"""

from __future__ import annotations

import argparse
import array
import contextlib
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

blake3: Any = None
with contextlib.suppress(ImportError):
    import blake3

VERSION = 1  # an older script in a vault gives way to a newer one
POINT_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-([0-9]{4,})\Z")
RECORD = struct.Struct("<IIQQQQQ32s")  # segment, segments, offset, length, stored, zero, first_hash, frame_hash
ENTRY, FOOTER = struct.Struct("<II"), struct.Struct("<IBI")
MAGIC_HEADER, MAGIC_SEEKABLE = 0x184D2A52, 0x8F92EAB1
PER_PIECE = 4096  # records that are read at once
CONTEXT = "ovm.backup 2026 element of a disk's content hash"


class RestoreError(Exception):
    """What an administrator is told."""


def bits(mask: int) -> list[int]:
    return [bit for bit in range(mask.bit_length()) if mask >> bit & 1]


def read_json(path: str, form: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    except (OSError, ValueError) as error:
        raise RestoreError(f"Cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if not isinstance(document, dict) or (document.get("format"), document.get("version")) != (form, 1):
        raise RestoreError(f"{path} is damaged, or has a format that this script does not know")
    return document


def part(name: Any) -> str:
    """Return the name of a file or folder; nothing may lead elsewhere."""
    if not isinstance(name, str) or name in ("", ".", "..") or "/" in name or "\0" in name:
        raise RestoreError(f"{name!r} is not the name of a file or folder in the vault")
    return name


class Client:
    def __init__(self, vault: str, name: str) -> None:
        self.name = name
        self.directory = os.path.join(vault, "clients", part(name))
        if not os.path.isdir(self.directory):
            raise RestoreError(f"There is no client {name!r} in {vault}; without arguments this script lists them")

    def points(self) -> list[str]:
        """Return the ids of the recovery points, oldest first. What has no manifest was never finished."""
        found = [(int(match[1]), match[0]) for match in map(POINT_ID.match, os.listdir(self.directory)) if match]
        return [name for _number, name in sorted(found) if os.path.exists(self.path(name, "point.json"))]

    def path(self, point: str, name: str) -> str:
        return os.path.join(self.directory, point, name)

    def point(self, name: str) -> dict[str, Any]:
        known = self.points()
        if not known:
            raise RestoreError(f"Client {self.name} has no recovery point")
        if name == "latest":
            name = known[-1]
        if name not in known:
            raise RestoreError(f"Client {self.name} has no recovery point {name!r}; the newest is {known[-1]}")
        path = self.path(name, "point.json")
        document = read_json(path, "ovm.backup recovery point")
        claimed = document.pop("blake3", None)
        if blake3 is not None:
            text = json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
            if blake3.blake3(text.encode("utf-8", "backslashreplace")).hexdigest() != claimed:
                raise RestoreError(f"{path} is damaged: its content does not have the hash that it gives")
        if document.get("id") != name:
            raise RestoreError(f"{path} is damaged: it belongs to recovery point {document.get('id')}")
        return document

    def chain(self, point: dict[str, Any], disk: dict[str, Any]) -> list[DiskFile]:
        """Return the files that make up a disk, newest first; the last one is a full."""
        files = []
        while True:
            files.append(DiskFile(self.path(point["id"], part(disk["file"])), disk))
            if len({(file.size, file.block, file.segment) for file in files}) > 1:
                raise files[-1].damaged(f"it is of a disk of another size than {files[0].path}")
            if disk["base"] is None:
                return files
            base = self.point(disk["base"])
            found = [one for one in base["disks"] if one["disk_id"] == disk["disk_id"]]
            if not found or base["sequence"] >= point["sequence"]:
                raise RestoreError(f"{base['id']} is damaged: {point['id']} builds on its disk {disk['disk_id']}")
            point, disk = base, found[0]


class DiskFile:
    """A disk file, open and with its header checked."""

    def __init__(self, path: str, disk: dict[str, Any]) -> None:
        self.path = path
        try:
            self.descriptor = os.open(path, os.O_RDONLY)
            found = os.fstat(self.descriptor).st_size
        except OSError as error:
            raise RestoreError(f"Cannot read {path}: {error.strerror}") from error
        if found != disk["file_size"]:
            raise self.damaged(f"it has {found} bytes instead of {disk['file_size']}")
        try:
            self._read_header(found, disk)
        except (struct.error, ValueError, KeyError, TypeError) as error:
            raise self.damaged(f"it does not end as a disk file does ({error})") from error

    def _read_header(self, found: int, disk: dict[str, Any]) -> None:
        entries, descriptor, magic = FOOTER.unpack(os.pread(self.descriptor, FOOTER.size, found - FOOTER.size))
        table = found - FOOTER.size - entries * ENTRY.size
        if (descriptor, magic) != (0, MAGIC_SEEKABLE) or table < 0:
            raise ValueError("no seek table")
        length, _zero = ENTRY.unpack(os.pread(self.descriptor, ENTRY.size, found - FOOTER.size - ENTRY.size))
        end = table - ENTRY.size
        if ENTRY.unpack(self.read(end - length, ENTRY.size)) != (MAGIC_HEADER, length - ENTRY.size):
            raise ValueError("no header")
        text = self.read(end - length + ENTRY.size, length - ENTRY.size)
        header = json.loads(text.decode("utf-8"))
        if (header["format"], header["version"], header["hash"]) != ("ovm.backup disk", 1, "blake3"):
            raise ValueError("another format")
        if blake3 is not None and blake3.blake3(text).hexdigest() != disk["header_hash"]:
            raise ValueError("its header has another hash than the manifest says")
        self.full = header["kind"] == "full"
        self.size, self.block, self.segment = (
            int(header[name]) for name in ("disk_size", "block_size", "segment_size")
        )
        self.count, self.records_at = int(header["records"]), int(header["records_offset"])
        self.hashes = header["hashes"]
        if min(self.size, self.block, self.segment) <= 0 or self.segment % self.block or self.segment > 64 << 20:
            raise ValueError("sizes that do not fit each other")
        if self.full != (disk["base"] is None) or self.size != disk["size"] or self.segment // self.block > 64:
            raise ValueError("it is not of the disk that the manifest names")
        if self.count < 0 or self.records_at + self.count * RECORD.size > found:
            raise ValueError("its records lie beyond its end")
        self.segments = -(-self.size // self.segment)

    def read(self, offset: int, length: int) -> bytes:
        data = os.pread(self.descriptor, length, offset) if min(offset, length) >= 0 else b""
        if len(data) != length:
            raise self.damaged(f"{length} bytes at offset {offset} cannot be read")
        return data

    def damaged(self, why: str) -> RestoreError:
        return RestoreError(f"{self.path} is damaged: {why}")

    def lengths(self, segment: int) -> list[int]:
        """Return the lengths of the blocks of a segment; the last block of the disk may be short."""
        whole = min(self.segment, self.size - segment * self.segment)
        return [min(self.block, whole - start) for start in range(0, whole, self.block)]

    def rows(self) -> Iterator[tuple[Any, ...]]:
        for start in range(0, self.count, PER_PIECE):
            size = min(PER_PIECE, self.count - start) * RECORD.size
            yield from RECORD.iter_unpack(self.read(self.records_at + start * RECORD.size, size))

    def wanted(self, claimed: array.array[int]) -> array.array[int]:
        """Return which blocks of each record no newer file has, and mark what this file has as claimed."""
        every, data_end, expected, hashes = (1 << self.segment // self.block) - 1, self.records_at - ENTRY.size, 0, 0
        found = array.array("Q")
        for segment, segments, offset, length, stored, zero, first_hash, _hash in self.rows():
            end, whole = segment + segments, every
            if end == self.segments and segments == 1:
                whole = (1 << len(self.lengths(segment))) - 1
            if (
                not expected <= segment < end <= self.segments
                or first_hash != hashes
                or offset + length > data_end
                or (stored | whole) != whole
                or (zero | every) != every
                or (stored and not 0 < length <= 2 * self.segment + 1024)
                or (segments > 1 and (stored or zero != every))
                or (self.full and (segment != expected or (stored | zero) & whole != whole))
            ):
                raise self.damaged(f"its record number {len(found)} does not fit the disk")
            expected, hashes = end, hashes + len(bits(stored & ~zero))
            found.append(stored & ~zero & ~claimed[segment])
            if segments == 1:
                claimed[segment] |= stored | zero
            else:
                claimed[segment:end] = array.array("Q", [every]) * segments
        if (self.full and expected != self.segments) or hashes != self.hashes:
            raise self.damaged("its records do not cover the disk")
        return found


class Copy:
    """What is wanted of a disk file on its way into an image, through one zstd process that takes all the frames."""

    def __init__(self, file: DiskFile, needs: array.array[int], target: int) -> None:
        self.file, self.needs, self.target = file, needs, target
        self.failures: list[Exception] = []
        self.sum = 0  # what the blocks add to the state of the disk

    def rows(self) -> Iterator[tuple[int, int, int, int, int]]:
        """Yield segment, offset, length and stored blocks of the records of which something is wanted, and what."""
        return ((row[0], row[2], row[3], row[4], need) for row, need in zip(self.file.rows(), self.needs) if need)

    def feed(self, pipe: Any) -> None:
        try:
            for _segment, offset, length, _stored, _need in self.rows():
                frame = self.file.read(offset, length)
                if frame[:4] != b"\x28\xb5\x2f\xfd" or not frame[4] & 4:
                    raise self.file.damaged(f"there is no frame with a checksum at offset {offset}")
                pipe.write(frame)
        except BrokenPipeError:
            pass  # why zstd has ended is found out by whoever reads its output
        except Exception as error:  # it has to reach the other thread, whatever it is
            self.failures.append(error)
        finally:
            with contextlib.suppress(OSError):
                pipe.close()

    def run(self) -> int:
        pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        with subprocess.Popen(["zstd", "-dcq"], **pipes) as zstd:  # pylint: disable=ansible-bad-function
            feeder, at = threading.Thread(target=self.feed, args=(zstd.stdin,), daemon=True), 0
            feeder.start()
            output: Any = zstd.stdout
            errors: Any = zstd.stderr
            try:
                for segment, offset, _length, stored, need in self.rows():
                    lengths, at = self.file.lengths(segment), offset
                    size = sum(lengths[block] for block in bits(stored))
                    data = output.read(size)
                    if len(data) != size:
                        break
                    self.write(segment, stored, need, lengths, memoryview(data))
                else:
                    if not output.read(1) and not zstd.wait() and not self.failures:
                        return self.sum
                zstd.kill()
                feeder.join()
                why = " ".join(errors.read().decode("utf-8", "replace").split()) or "a frame has another length"
                raise (
                    self.failures[0]
                    if self.failures
                    else self.file.damaged(
                        f"zstd cannot decompress the frame at offset {at} or one soon after it: {why}"
                    )
                )
            finally:
                zstd.kill()

    def write(self, segment: int, stored: int, need: int, lengths: list[int], data: memoryview) -> None:
        place, first = 0, segment * (self.file.segment // self.file.block)
        for block in bits(stored):
            content, place = data[place : place + lengths[block]], place + lengths[block]
            if not need >> block & 1:
                continue
            if blake3 is not None:
                value = (first + block).to_bytes(8, "little") + blake3.blake3(content).digest()
                self.sum += int.from_bytes(blake3.blake3(value, derive_key_context=CONTEXT).digest(256), "little")
            if os.pwrite(self.target, content, (first + block) * self.file.block) != len(content):
                raise RestoreError("The image cannot be written as a whole: is the file system full?")


class Image:
    """A disk and the image that it is to become. Nothing is written before C(write)."""

    def __init__(self, client: Client, point: dict[str, Any], disk: dict[str, Any], directory: str) -> None:
        self.disk = disk
        self.files = client.chain(point, disk)
        self.path = os.path.join(directory, disk["file"][: -len(".zst")])
        self.unfinished = f"{self.path}.restoring"
        for path in (self.path, self.unfinished):
            if os.path.lexists(path):
                raise RestoreError(f"{path} exists: move it away or name another directory, nothing is overwritten")
        claimed = array.array("Q", bytes(8 * self.files[0].segments))
        self.needs = [file.wanted(claimed) for file in self.files]
        self.data = sum(bin(need).count("1") for needs in self.needs for need in needs) * self.files[0].block

    def write(self) -> None:
        target = os.open(self.unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.ftruncate(target, self.disk["size"])
            total = 0
            for file, needs in zip(self.files, self.needs):
                if any(needs):
                    total += Copy(file, needs, target).run()
            sizes = struct.pack("<QQ", self.disk["size"], self.files[0].block)
            state = sizes + (total % 2**2048).to_bytes(256, "little")
            if blake3 is not None and blake3.blake3(state).hexdigest() != self.disk["content_hash"]:
                raise RestoreError(f"{self.path} is not the disk that was backed up: it has another hash")
            os.fsync(target)
            if os.path.lexists(self.path):
                raise RestoreError(f"{self.path} has appeared meanwhile: it is not overwritten")
            os.rename(self.unfinished, self.path)
        except BaseException:
            os.unlink(self.unfinished)
            raise
        finally:
            os.close(target)


def restore(client: Client, point: dict[str, Any], disks: list[dict[str, Any]], directory: str) -> None:
    if shutil.which("zstd") is None:
        raise RestoreError("The program zstd is not in the PATH: install the package zstd")
    if not os.path.isdir(directory):
        raise RestoreError(f"{directory} is not a directory: make it first")
    images = [Image(client, point, disk, directory) for disk in disks]
    needed, there = sum(image.data for image in images), os.statvfs(directory)
    if needed > there.f_bavail * there.f_frsize:
        raise RestoreError(f"{directory} has no room for {needed} bytes: {there.f_bavail * there.f_frsize} are free")
    say(f"BLAKE3 hashes are {'' if blake3 else 'not '}checked{'' if blake3 else ': there is no Python module blake3'}")
    for image in images:
        image.write()
        say(f"{image.path}: {image.disk['size']} bytes, {image.data} of them data, out of {len(image.files)} files")


def say(*columns: Any) -> None:
    text = "  ".join(map(str, columns))
    sys.stdout.write("".join(char if char.isprintable() else "?" for char in text) + "\n")


def show(vault: str, client: Client | None, point: dict[str, Any] | None) -> None:
    if client is None:
        for name in sorted(os.listdir(os.path.join(vault, "clients"))):
            points = Client(vault, name).points()
            say(name, f"{len(points)} recovery points", *(f"newest {name}" for name in points[-1:]))
    elif point is None:
        for name in client.points():
            found = client.point(name)
            created = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(found["created"]))
            say(name, created, found["type"], found["consistency"], found["vm_name"])
    else:
        for disk in point["disks"]:
            say(f"slot {disk['slot']}", disk["name"], f"{disk['size']} bytes", disk["type"], disk["file"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("client", "point", "directory"):
        parser.add_argument(name, nargs="?")
    parser.add_argument("--vault", default=os.path.dirname(os.path.abspath(__file__)), help="default: where this is")
    parser.add_argument("--slot", type=int, action="append", help="restore the disk in this slot; may be repeated")
    given = parser.parse_args()
    # Names in the vault are UTF-8, whatever the locale says.
    if sys.getfilesystemencoding().lower() not in ("utf-8", "utf8"):
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.argv])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        if read_json(os.path.join(given.vault, "vault.json"), "ovm.backup vault").get("encryption"):
            raise RestoreError(f"{given.vault} is encrypted: decrypt it first, with decrypt.py that lies beside this")
        client = Client(given.vault, given.client) if given.client is not None else None
        point = client.point(given.point) if client is not None and given.point is not None else None
        if client is None or point is None or given.directory is None:
            show(given.vault, client, point)
            return
        slots = {disk["slot"]: disk for disk in point["disks"]}
        missing = [slot for slot in given.slot or () if slot not in slots]
        if missing:
            raise RestoreError(f"{point['id']} has no disk in slot {missing[0]}; it has {', '.join(map(str, slots))}")
        restore(client, point, [slots[slot] for slot in given.slot or slots], given.directory)
    except KeyboardInterrupt:
        raise SystemExit("restore.py: ended by a signal, nothing is left behind") from None
    except (RestoreError, OSError) as error:
        raise SystemExit(f"restore.py: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SystemExit(f"restore.py: a manifest is damaged ({type(error).__name__}: {error})") from error


if __name__ == "__main__":
    main()
