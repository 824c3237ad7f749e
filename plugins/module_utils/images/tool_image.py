# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Disk images on a server without Python: read by coreutils (8.4 or later) and filefrag of e2fsprogs (1.41 or later).

A path is the first line of a script's input, so no shell ever interprets it. Nothing is compared on the server.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

from ..errors import ServerToolError, SourceError
from .channel import READ_AHEAD, Output
from .connection import Connection
from .dom0 import nanoseconds
from .filefrag import parse_filefrag
from .server_image import ServerImage, image_name
from .spans import split_spans
from .ssh_errors import failure, last_lines
from .types import DiskImage, ExtentMap, MapUnavailable, Piece, Pieces, Span

UNIT = 1024 * 1024  # of dd: its bs= is what it holds in memory
GAP = 2 * UNIT  # what is read along with its neighbours, because one more dd costs as much
BATCH_BYTES = 512 * UNIT
BATCH_RUNS = 512
_OUTPUT = 64 * UNIT  # of a script that is not dd: a map of half a million extents
_REFUSED = 40  # exit status of scripts when a program on the server failed

_START = "LC_ALL=C TZ=UTC0 PATH=$PATH:/sbin:/usr/sbin; export LC_ALL TZ PATH; IFS= read -r path || exit 41; "
_CHECK = (
    "LC_ALL=C PATH=$PATH:/sbin:/usr/sbin; export PATH LC_ALL; for tool in dd df filefrag head stat tail; do "
    f"command -v $tool >/dev/null || {{ echo $tool; exit {_REFUSED}; }}; done"
)
_STATE = (
    f'{_START}kind=other; test -f "$path" && kind=regular; echo $kind; '
    f'stat -L -c "%i %s %d" "$path" && stat -L -c "%y" "$path" && stat -L -c "%z" "$path" && '
    f'df -P -T "$path" | tail -n 1 || exit {_REFUSED}; '
    'device=$(df -P "$path" | tail -n 1 | cut -d " " -f 1); blkid -c /dev/null -o value -s UUID "$device" || '
    'mounted.ocfs2 -d "$device"; exit 0'
)
_MAP = f'{_START}stat -L -c "%b %B" "$path" && filefrag -v -s "$path" || exit {_REFUSED}'
_SPACE = f'{_START}df -P -B 1 "$path" | tail -n 1 || exit {_REFUSED}'
_FILE = f'{_START}IFS= read -r limit; head -c "$limit" "$path" || exit {_REFUSED}'
_READ = (
    f'{_START}while read -r skip count; do dd if="$path" bs={UNIT} skip="$skip" count="$count" || exit {_REFUSED}; done'
)
_UUID = re.compile(r"\b(?:[0-9A-Fa-f]{32}|[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})\b")
_BLOCKS = re.compile(r"(\d+) (\d+)")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\.(\d{9}) \+0000")


class Tools:
    """The scripts that stand for the program where there is no Python."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.peer = connection.peer
        self._check()

    def output(self, script: str, path: str, what: str, extra: bytes = b"") -> bytes:
        """Return what a script prints; raise C(SourceError) if it fails. C(what) completes "Cannot ..."."""
        process = self.start(script, path, extra)
        parts: list[bytes] = []
        size = 0
        while True:
            parts.append(process.read(READ_AHEAD))
            size += len(parts[-1])
            if not parts[-1]:
                break
            if size > _OUTPUT:
                self.connection.forget(process)
                raise SourceError(f"Cannot {what}: more than {_OUTPUT} bytes came", path=path, server=self.peer.server)
        self.finish(process, path, what)
        return b"".join(parts)

    def start(self, script: str, path: str, extra: bytes = b"") -> Output:
        """Start a script that reads the path, and what else it is given."""
        if "\n" in path or not path.startswith("/"):
            raise SourceError(
                f"{path!r} on server {self.peer.server} cannot be read without Python there: the path must be absolute "
                "and in one line",
                path=path,
                server=self.peer.server,
            )
        return self.connection.run(script, os.fsencode(path) + b"\n" + extra)

    def finish(self, process: Output, path: str, what: str) -> None:
        """End a script, and raise what it failed of."""
        try:
            status = process.status(self.peer.settings.stall_timeout)
            if status == _REFUSED:
                said = re.sub(r"^\w+: |; \d+\+\d+ records (?:in|out)", "", last_lines(process.said))
                raise SourceError(f"Cannot {what}: {said or 'no reason was given'}", path=path, server=self.peer.server)
            if status != 0:
                raise failure(process.said, status, *self.peer)
        finally:
            self.connection.forget(process)

    def state(self, path: str, what: str) -> Mapping[str, Any]:
        """Return what C(dom0_program.state) does."""
        lines = self.output(_STATE, path, what).decode("utf-8", "replace").splitlines()
        try:
            inode, size, device = (int(word) for word in lines[1].split())
            uuid = _UUID.search(" ".join(lines[5:]))
            return {
                "regular": lines[0] == "regular",
                "inode": inode,
                "size": size,
                "device": device,
                "mtime": _time(lines[2]),
                "ctime": _time(lines[3]),
                "file_system": lines[4].split()[1],
                "uuid": uuid[0].lower().replace("-", "") if uuid else "",
            }
        except (ValueError, IndexError) as error:
            raise self._strange("stat and df", lines) from error

    def extent_map(self, path: str) -> ExtentMap:
        """Return the extent map; raise C(MapUnavailable)."""
        try:
            text = self.output(_MAP, path, "have the extent map")
        except SourceError as error:
            raise MapUnavailable(error.message) from error
        blocks, _end, table = text.decode("utf-8", "replace").partition("\n")
        found = _BLOCKS.fullmatch(blocks)
        if not found:
            raise MapUnavailable("stat does not tell how many bytes the file takes")
        # filefrag of a file that it gets no extents of can end well, with an empty table.
        return dataclasses.replace(parse_filefrag(table), allocated=int(found[1]) * int(found[2]))

    def read_file(self, path: str, limit: int) -> bytes:
        """Return the first C(limit) bytes of a file, and one more if it has more."""
        what = f"read {image_name(path, self.peer.server)}"
        return self.output(_FILE, path, what, b"%d\n" % (limit + 1))

    def free_space(self, path: str) -> tuple[int, int]:
        """Return the free bytes of the file system that holds the path, and its size."""
        what = f"look at {image_name(path, self.peer.server)}"
        line = self.output(_SPACE, path, what).decode("utf-8", "replace")
        try:
            _device, size, _used, free = line.split()[:4]
            return int(free), int(size)
        except ValueError as error:
            raise self._strange("df", [line]) from error

    def _check(self) -> None:
        self.connection.share().read(1)
        process = self.connection.run(_CHECK)
        missing = process.read(READ_AHEAD).decode("utf-8", "replace").strip()
        try:
            status = process.status()
            if status == _REFUSED:
                raise ServerToolError(
                    f"Server {self.peer.server} ({self.peer.address}) has neither Python nor {missing}: it cannot be "
                    "read over ssh. Install python, or read the storage repository on a path of the proxy",
                    server=self.peer.server,
                    address=self.peer.address,
                )
            if status != 0:
                raise failure(process.said, status, *self.peer)
        finally:
            self.connection.forget(process)

    def _strange(self, tools: str, lines: list[str]) -> ServerToolError:
        return ServerToolError(
            f"{tools} on server {self.peer.server} ({self.peer.address}) printed what is not known: "
            f"{' / '.join(lines)[:200]!r}",
            server=self.peer.server,
            address=self.peer.address,
        )


class ToolImage(ServerImage):
    """A raw disk image on a server without Python; a context manager."""

    def __init__(self, tools: Tools, path: str, server: str) -> None:
        self._tools = tools
        super().__init__(path, server, tools.state(path, f"open the image {image_name(path, server)}"))
        self.check_disk()

    def __enter__(self) -> ToolImage:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def state(self) -> Mapping[str, Any]:
        return self._tools.state(self.path, f"look at the image {self.name}")

    def extent_map(self) -> ExtentMap:
        return self._tools.extent_map(self.path)

    def free_space(self) -> tuple[int, int]:
        """Return the free bytes of the file system that holds the image, and its size."""
        return self._tools.free_space(self.path)

    def read(self, spans: Iterable[Span], *, step: int) -> Pieces:
        """Yield the bytes of all spans in order, cut at the multiples of C(step)."""
        for runs, cells in _batches(split_spans(spans, step)):
            yield from self._read(runs, cells)

    def read_differing(self, reference: DiskImage, spans: Iterable[Span], *, step: int, block: int) -> Pieces:
        """Yield the bytes of all spans: there is nothing on the server that could compare."""
        return self.read(spans, step=step)

    def _read(self, runs: list[Span], cells: list[Span]) -> Iterator[Piece]:
        lines = "".join(f"{start // UNIT} {(end - start) // UNIT}\n" for start, end in runs)
        process = self._tools.start(_READ, self.path, lines.encode("ascii"))
        finished = False
        try:
            position, end, number = runs[0].start, runs[0].end, 0
            for cell in cells:
                while cell.start >= end:
                    self._skip(process, position, min(end, self.size))
                    number += 1
                    position, end = runs[number]
                self._skip(process, position, cell.start)
                yield Piece(cell.start, self._exactly(process, cell.start, cell.end))
                position = cell.end
            self._skip(process, position, min(end, self.size))
            finished = True
            self._tools.finish(process, self.path, f"read the image {self.name}")
        finally:
            if not finished:
                self._tools.connection.forget(process)

    def _skip(self, process: Output, start: int, end: int) -> None:
        while start < end:
            start += len(self._exactly(process, start, min(end, start + UNIT)))

    def _exactly(self, process: Output, start: int, end: int) -> bytes:
        parts = []
        position = start
        while position < end:
            part = process.read(min(UNIT, end - position))
            if not part:
                status = process.status()
                if status == 0:
                    raise self.ends_early(position)
                if status == _REFUSED:
                    raise self.error(f"Cannot read the image {self.name}: {last_lines(process.said)}", offset=position)
                raise process.broken()
            parts.append(part)
            position += len(part)
        self.bytes_read += end - start
        return b"".join(parts)


def _batches(cells: Iterable[Span]) -> Iterator[tuple[list[Span], list[Span]]]:
    """Yield runs of whole units to be read by one script, with the cells that lie in them."""
    runs: list[Span] = []
    inside: list[Span] = []
    for cell in cells:
        start, end = cell.start // UNIT * UNIT, -(-cell.end // UNIT) * UNIT
        near = runs and start <= runs[-1].end + GAP
        if runs and (len(runs) >= BATCH_RUNS or end - runs[0].start > BATCH_BYTES) and start >= runs[-1].end:
            yield runs, inside
            runs, inside, near = [], [], False
        if near:
            runs[-1] = Span(runs[-1].start, max(end, runs[-1].end))
        else:
            runs.append(Span(start, end))
        inside.append(cell)
    if runs:
        yield runs, inside


def _time(text: str) -> int:
    found = _TIME.fullmatch(text.strip())
    if not found:
        raise ValueError(text)
    whole = datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc)
    return nanoseconds(int(whole.timestamp()) + 1e-9 * int(found[2]))
