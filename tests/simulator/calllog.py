# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The log of API requests that tests read to assert what a client did (ovm-rest-api 17.13)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

WRITING = frozenset(("POST", "PUT", "DELETE", "PATCH"))


@dataclass
class Entry:
    """One request. ``writing``: it meant to write; ``wrote``: it was let through and a job or change came of it."""

    method: str
    path: str  # below the base URI, still percent-encoded
    query: str
    time: float
    status: int = 0
    writing: bool = False
    wrote: bool = False
    refused: bool = False  # by the read-only switch
    fault: str | None = None
    error_code: str | None = None
    user_agent: str = ""


class CallLog:
    """All requests since the start or the last :meth:`clear`."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []

    def begin(self, entry: Entry) -> None:
        """A request has come in."""
        self._entries.append(entry)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()

    def as_list(self) -> list[dict[str, Any]]:
        """All entries, oldest first."""
        return [asdict(entry) for entry in self._entries]

    def summary(self) -> dict[str, int]:
        """Counts that most tests want."""
        entries = self._entries
        return {
            "requests": len(entries),
            "writing": sum(entry.writing for entry in entries),
            "wrote": sum(entry.wrote for entry in entries),
            "refused": sum(entry.refused for entry in entries),
        }
