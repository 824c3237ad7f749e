# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What the modules of a restore share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .manager.clone_records import Purpose


def purpose_option() -> dict[str, Any]:
    """Return the option that says what a virtual disk is for."""
    text = {"type": "str"}
    return {
        "type": "dict",
        "options": {
            "slot": {"type": "int", "required": True},
            "point": text,
            "vm_id": text,
            "previous": text,
            "was_running": {"type": "bool", "default": False},
            "done": {"type": "bool", "default": False},
        },
    }


def read_purpose(given: Mapping[str, Any] | None) -> Purpose | None:
    """Return what the option says."""
    return Purpose(**given) if given is not None else None
