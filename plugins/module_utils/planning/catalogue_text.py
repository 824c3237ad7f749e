# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The recovery points of clients as text: a table for each client, the newest on top."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..vault.manifest import sequence_of
from ..vault.summary import format_bytes, utc_time
from ..vault.text import number_of, one_line, table
from .catalogue import NEVER, verification_state

_NUMBERS = {"size", "stored"}
_UNKNOWN = dict.fromkeys(("created", "type", "size", "stored", "consistency", "verification"), "-")


def catalogue_summary(catalogue: Mapping[str, Any], *, all_points: bool) -> list[str]:
    """Return the lines for what was found in a vault.

    That is C(clients) and C(recovery_points) in the forms of C(describe_client) and C(describe_point), and those that
    are C(damaged), whose manifest cannot be read. C(all_points) says that no recovery point was left out.
    """
    clients, points, damaged = (catalogue[kind] for kind in ("clients", "recovery_points", "damaged"))
    found: dict[str, list[tuple[int, dict[str, str]]]] = {client["client"]: [] for client in clients}
    for point in points:
        found[point["client"]].append((point["sequence"], _row(point)))
    for bad in damaged:
        row = {"id": bad["id"], **_UNKNOWN, "note": f"cannot be read: {bad['problem']}"}
        found[bad["client"]].append((sequence_of(bad["id"]), row))
    lines: list[str] = []
    for client in clients:
        # A clock may have gone back: the number says which of them is newer.
        numbered = sorted(found[client["client"]], key=lambda one: one[0], reverse=True)
        rows = [{title: one_line(cell) for title, cell in row.items()} for _sequence, row in numbered]
        lines.append(f"Client {client['client']}, VM {client.get('vm_name') or client['vm_id']}:")
        nothing = "no recovery points" if all_points else "no recovery points of the kind that is asked for"
        lines += [f"  {line}" for line in table(rows, _NUMBERS) or [nothing]]
        lines.append("")
    counted = f"{number_of(len(points), 'recovery point')} of {number_of(len(clients), 'client')}"
    total = f"{counted}, {format_bytes(sum(map(_stored, points)))} stored"
    if damaged:
        total += f"; {len(damaged)} more cannot be read"
    return [one_line(line) for line in [*lines, total]]


def _row(point: Mapping[str, Any]) -> dict[str, str]:
    return {
        "id": point["id"],
        "created": utc_time(point["created"]),
        "type": point["type"],
        "size": format_bytes(sum(disk["size"] for disk in point["disks"])),
        "stored": format_bytes(_stored(point)),
        "consistency": point["consistency"].replace("_", " "),
        "verification": _verification(point),
        "note": _note(point),
    }


def _stored(point: Mapping[str, Any]) -> int:
    return sum(disk["file_size"] for disk in point["disks"])


def _verification(point: Mapping[str, Any]) -> str:
    state = verification_state(point)
    return state if state == NEVER else f"{state}, {utc_time(point['verification']['verified_at'])}"


def _note(point: Mapping[str, Any]) -> str:
    notes = [f"cannot be restored: {point['problem']}"] if point["problem"] is not None else []
    if point["pinned"]:
        notes.append(f"pinned: {point['pin_note']}" if point["pin_note"] else "pinned")
    if point["held"] is not None:
        notes.append(point["held"])
    return "; ".join(notes)
