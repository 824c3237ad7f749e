# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What a copy of recovery points came to: for people who read it, and as the failure that it may be."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import VaultError
from .copy_plan import NOT_CHOSEN
from .copy_result import COPIED, DUE, FAILED, GONE, ClientCopy, PointCopy, total_lag
from .summary import format_bytes, format_seconds
from .text import left, number_of, one_line, width

_WORDS = {DUE: "to copy", COPIED: "copied", GONE: "removed meanwhile", FAILED: "failed"}


def copy_summary(done: Sequence[ClientCopy]) -> list[str]:
    """Return the lines, one paragraph for each client, with the real names of the VMs."""
    lag = total_lag(done)
    copied = [one for client in done for one in client.copied]
    parts = [number_of(len(done), "client")]
    if copied:
        parts.append(
            f"{number_of(len(copied), 'recovery point')} copied, {format_bytes(sum(one.sent for one in copied))}"
        )
    parts.append(f"{lag['points']} missing, {format_bytes(lag['bytes'])}" if lag["points"] else "nothing missing")
    lines = [f"Copy: {'; '.join(parts)}"]
    for client in done:
        lines += ["", *_client_lines(client)]
    return [one_line(line) for line in lines]


def complaint(done: Sequence[ClientCopy]) -> VaultError | None:
    """Return the failure that a copy comes to, which names everything that is wrong; nothing if all is well."""
    found = [f"{client.client}: {error}" for client in done for error in client.errors]
    return VaultError(one_line(f"Not everything was copied: {'; '.join(found)}")) if found else None


def _client_lines(client: ClientCopy) -> list[str]:
    lag = client.lag()
    states = [f"{client.there} there"]
    states += [f"{lag['points']} missing ({format_bytes(lag['bytes'])})"] if lag["points"] else []
    states += [f"{format_seconds(lag['seconds'])} behind"] if lag["seconds"] else []
    not_chosen = sum(one.kind == NOT_CHOSEN for one in client.left_out)
    states += [f"{not_chosen} not chosen"] if not_chosen else []
    lines = [f"{client.client} (VM {client.vm_name}): {', '.join(states)}"]
    lines += [f"  Failed: {client.failed}"] if client.failed is not None else []
    lines += [f"  Note: {note}" for note in client.notes]
    lines += [f"  Left out: {one.id}: {one.reason}" for one in client.left_out if one.kind != NOT_CHOSEN]
    words = max((width(_WORDS[one.status]) for one in client.points), default=0)
    types = max((width(one.due.point.type) for one in client.points), default=0)
    return lines + [f"  {_point_line(one, words, types)}" for one in client.points]


def _point_line(one: PointCopy, words: int, types: int) -> str:
    point = one.due.point
    cells = [left(_WORDS[one.status], words), point.id, left(point.type, types), format_bytes(point.stored)]
    reused = f" ({format_bytes(one.reused)} of it by an interrupted copy)" if one.reused else ""
    return f"{'  '.join(cells)}{reused}  {one.error or one.due.why}"
