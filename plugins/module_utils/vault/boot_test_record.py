# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The result of the latest boot test of a recovery point, with its screenshot and log, kept beside the manifest.

The record is written last and names the other two files with their hashes: a file that is not the record's own, because
somebody changed it or a writer was interrupted, is not shown with it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import CorruptVaultError
from . import format as fmt
from .files import file_entry, read_file, read_json, remove_file, write_file, write_json
from .manifest import check_published
from .shape import is_count, is_number, is_text, is_time, optional

RECORD_NAME, SCREENSHOT_NAME, LOG_NAME = "boot_test.json", "boot_test.png", "boot_test.log"
# Larger ones are none of ours: a page that shows them must not become huge.
_LARGEST_FILE = 8 * 1024 * 1024


@dataclass(frozen=True)
class BootTest:
    """The result of starting a recovery point. Times are seconds since the epoch, C(duration) seconds.

    C(verdict) says in words what decided. C(machine) is what it was started on: C(accelerator), C(chipset),
    C(firmware), C(disk_bus), C(nic_model), C(memory) in MiB, C(cpus). C(screenshot) and C(log) are the BLAKE3 hashes of
    the two files, null if there is none.
    """

    tested_at: float
    ok: bool
    verdict: str
    duration: float
    machine: dict[str, Any]
    versions: dict[str, str]
    screenshot: str | None = None
    log: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)


def write_boot_test(directory: str, result: BootTest, *, screenshot: bytes | None, log: bytes | None) -> BootTest:
    """Store a result in the folder of its recovery point, in place of the one before; return it as it is stored.

    Raises C(PointNotFoundError) when the point has been removed meanwhile.
    """
    check_published(directory)
    hashes: dict[str, str | None] = {}
    for key, name, data in (("screenshot", SCREENSHOT_NAME, screenshot), ("log", LOG_NAME, log)):
        path = os.path.join(directory, name)
        if data is None:
            remove_file(path)
        else:
            write_file(path, data)
        hashes[key] = None if data is None else fmt.digest(data)
    stored = BootTest(**{**result.as_dict(), **hashes})
    write_json(os.path.join(directory, RECORD_NAME), stored.as_dict())
    return stored


def read_boot_test(directory: str) -> BootTest | None:
    """Return the stored result, or nothing: one that cannot be read proves nothing."""
    try:
        return _parse(read_json(os.path.join(directory, RECORD_NAME)))
    except (OSError, CorruptVaultError, KeyError, TypeError, ValueError):
        return None


def read_screenshot(directory: str, result: BootTest) -> bytes | None:
    """Return the screenshot of a result, or nothing if there is none or it is another one."""
    path = os.path.join(directory, SCREENSHOT_NAME)
    try:
        if result.screenshot is None or file_entry(path).size > _LARGEST_FILE:
            return None
        data = read_file(path)
    except OSError:
        return None
    return data if fmt.digest(data) == result.screenshot else None


def _parse(document: Mapping[str, Any]) -> BootTest:
    found = BootTest(
        tested_at=document["tested_at"],
        ok=document["ok"],
        verdict=document["verdict"],
        duration=document["duration"],
        machine=dict(document["machine"]),
        versions=dict(document["versions"]),
        screenshot=document["screenshot"],
        log=document["log"],
    )
    machine = found.machine
    fits = (
        is_time(found.tested_at)
        and isinstance(found.ok, bool)
        and is_text(found.verdict)
        and is_number(found.duration)
        and optional(is_text)(found.screenshot)
        and optional(is_text)(found.log)
        and all(is_text(machine[key]) for key in ("accelerator", "chipset", "firmware", "disk_bus", "nic_model"))
        and all(is_count(machine[key]) for key in ("memory", "cpus"))
    )
    if not fits:
        raise ValueError("a value is wrong")
    return found
