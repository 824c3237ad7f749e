# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What became of the recovery points of several clients, as text that an administrator reads."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from .summary import format_bytes
from .text import left, number_of, one_line, width


def retention_summary(clients: Sequence[Mapping[str, Any]], *, zone: datetime.tzinfo, dry_run: bool) -> list[str]:
    """Return the lines for clients in the form of C(Expiry.as_dict), one paragraph for each."""
    expired = sum(len(client["expired"]) for client in clients)
    would = "would be " if dry_run else ""
    freed = format_bytes(sum(client["freed"] for client in clients))
    removed = f"{number_of(expired, 'recovery point')} {would}removed, {freed}"
    lines = [f"Retention: {number_of(len(clients), 'client')}, {removed}"]
    for client in clients:
        lines += ["", *_client_lines(client, zone, would)]
    return [one_line(text) for text in lines]


def _client_lines(client: Mapping[str, Any], zone: datetime.tzinfo, would: str) -> list[str]:
    counts = f"{len(client['kept'])} kept, {len(client['expired'])} {would}removed, {format_bytes(client['freed'])}"
    lines = [f"{client['client']} (VM {client['vm_name']}): {counts}"]
    lines += [f"  Skipped: {client['skipped']}"] if client["skipped"] else []
    lines += [f"  Failed: {client['failed']}"] if client["failed"] else []
    lines += [f"  Warning: {warning}" for warning in client["warnings"]]
    rows = [("keep", point) for point in client["kept"]] + [("remove", point) for point in client["expired"]]
    rows.sort(key=lambda row: str(row[1]["id"]).rpartition("-")[2].zfill(20))
    types = max((width(str(point["type"] or "-")) for _what, point in rows), default=0)
    for what, point in rows:
        cells = [
            left(what, 6),
            str(point["id"]),
            left(str(point["type"] or "-"), types),
            _local(point["created"], zone),
        ]
        lines.append(f"  {'  '.join(cells)}  {', '.join(point['reasons'])}")
    return lines


def _local(moment: float | None, zone: datetime.tzinfo) -> str:
    """Return a moment as a clock in the zone shows it; in the repeated hour the zone's short name tells which."""
    if moment is None:
        return left("-", 16)
    return datetime.datetime.fromtimestamp(moment, zone).strftime("%Y-%m-%d %H:%M %Z")
