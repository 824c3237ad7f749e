# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What C(bed-writer) wrote, as it is found in an image: is the file system whole, is everything there that must be?"""

from __future__ import annotations

import hashlib
import os
import re
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from simulator.images import tool

PAGE = 4096
SLOTS = 128  # of a disk, written round and round (bed-writer order)


@dataclass(frozen=True)
class Promised:
    """What the writer said was safe: records C(oldest) to C(newest), and a version of each page."""

    oldest: int
    newest: int
    pages: tuple[int, ...]

    @classmethod
    def of(cls, numbers: list[int]) -> Promised:
        """Read it from the numbers that the writer acknowledged."""
        return cls(numbers[0], numbers[1], tuple(numbers[2:]))


@dataclass(frozen=True)
class Found:
    """What is in the image, all with the right checksums; C(broken) names what has a wrong one."""

    records: frozenset[int]
    pages: tuple[int, ...]
    broken: tuple[str, ...]


def check_file_system(image: Path) -> str:
    """Do what a guest does after a crash: replay the journal. Then nothing at all may be wrong. Returns the output.

    C(-p) repairs only what is sure to be harmless, and gives up at any real inconsistency.
    """
    first = _run("e2fsck", "-f", "-p", str(image))
    assert first.returncode in (0, 1), first.stdout + first.stderr
    second = _run("e2fsck", "-f", "-n", str(image))
    assert second.returncode == 0, second.stdout + second.stderr
    return first.stdout


def _run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LC_ALL": "C"}
    words = [tool(program), *arguments]
    return subprocess.run(words, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def read_content(image: Path, scratch: Path) -> Found:
    """Read the files out of an image, without mounting it."""
    scratch.mkdir()
    done = _run("debugfs", "-R", f"rdump / {scratch}", str(image))
    assert done.returncode == 0, done.stderr
    records: set[int] = set()
    broken: list[str] = []
    for log in sorted(scratch.glob("log-*")):
        _read_log(log, records, broken)
    versions = []
    pages = (scratch / "pages").read_bytes()
    for index in range(len(pages) // PAGE):
        page = pages[index * PAGE : (index + 1) * PAGE]
        number, version = struct.unpack_from("<QQ", page)
        if hashlib.sha1(page[:-20]).digest() != page[-20:] or number != index:
            broken.append(f"page {index}")
        versions.append(version)
    return Found(frozenset(records), tuple(versions), tuple(broken))


def _read_log(log: Path, records: set[int], broken: list[str]) -> None:
    data, position = log.read_bytes(), 0
    header = re.compile(rb"(\d+) (\d+) ([0-9a-f]{40})\n")
    while position < len(data):
        match = header.match(data, position)
        if match is None:
            broken.append(f"{log.name} at {position}")
            return
        number, size = int(match[1]), int(match[2])
        content = data[match.end() : match.end() + size]
        position = match.end() + size + 1
        if hashlib.sha1(content).hexdigest().encode() == match[3]:
            records.add(number)
        else:
            broken.append(f"record {number}")


def check_content(found: Found, before: Promised, after: Promised) -> None:
    """All that was promised before the clone began is there, and nothing that was begun after it ended.

    The one record and the one page that the writer was at may be there in part, in full or not at all.
    """
    required = set(range(after.oldest, before.newest + 1))
    assert required - found.records == set()
    assert max(found.records) <= after.newest + 1
    assert len(found.pages) == len(before.pages)
    for index, version in enumerate(found.pages):
        assert before.pages[index] <= version <= after.pages[index] + 1, f"page {index}"
    allowed = {f"record {number}" for number in range(before.newest + 1, after.newest + 2)}
    assert set(found.broken) - allowed == set()


def ordered_numbers(image: bytes) -> dict[int, int]:
    """Numbers that C(bed-writer order) wrote into a disk and that are in it, with the time of each (microseconds)."""
    found = {}
    for slot in range(min(SLOTS, len(image) // PAGE)):
        page = image[slot * PAGE : (slot + 1) * PAGE]
        number, moment = struct.unpack_from("<QQ", page)
        if number and hashlib.sha1(page[:-20]).digest() == page[-20:]:
            found[number] = moment
    return found
