# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Pins: a small file beside a point's manifest keeps retention away from it.

A pin takes no lock of the client, since a backup holds that for hours. Instead, whoever pins writes the pin and then
looks whether the point still exists, and whoever removes a point takes its manifest out of sight and then looks for a
pin (C(removal.expire_point)). Whatever the order of these four steps, at least one of the two sees the other: the pin
is honoured, or it is refused with an error.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import Any

from ..errors import CorruptVaultError, PointNotFoundError, VaultWriteError
from .files import read_json, remove_file, write_json
from .manifest import check_published

PIN_NAME = "pin.json"


@dataclass(frozen=True)
class Pin:
    """Why a point is kept, since when, and who said so. C(problem): the pin is there but cannot be read."""

    note: str
    pinned_at: float | None
    by: str | None
    problem: str | None = None


def read_pin(directory: str) -> Pin | None:
    """Return the pin of a point, or nothing. A pin that cannot be read is a pin all the same."""
    path = os.path.join(directory, PIN_NAME)
    problem = f"{path} is damaged: it is not a pin"
    try:
        document = read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        document, problem = None, f"Cannot read {path}: {error.strerror}"
    except CorruptVaultError as error:
        document, problem = None, error.message
    if not isinstance(document, dict) or not isinstance(document.get("note"), str):
        return Pin(problem, None, None, problem)
    return Pin(document["note"], document.get("pinned_at"), document.get("by"))


def describe_pin(pin: Pin | None) -> dict[str, Any]:
    """Return a pin, or that there is none, in plain types."""
    return {"pinned": pin is not None, "pin_note": None if pin is None else pin.note}


def write_pin(directory: str, pin: Pin) -> None:
    """Pin a point; raise C(PointNotFoundError) when it does not exist, or is removed at this very moment."""
    check_published(directory)
    try:
        write_json(os.path.join(directory, PIN_NAME), {"note": pin.note, "pinned_at": pin.pinned_at, "by": pin.by})
    except VaultWriteError:
        check_published(directory)  # that the folder went away is no failure to write
        raise
    try:
        check_published(directory)
    except PointNotFoundError:
        with contextlib.suppress(VaultWriteError):
            remove_pin(directory)
        raise


def remove_pin(directory: str) -> None:
    """Let retention decide on a point again; without a pin nothing happens."""
    remove_file(os.path.join(directory, PIN_NAME))
