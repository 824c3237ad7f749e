# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Looking things up in a vault: clients by name or pattern, recovery points by time and state."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._reading import Problems, did_you_mean, problem_details, read_time
from ..errors import InvalidInputError, PointNotFoundError
from ..vault.points import Client, Vault
from .patterns import Pattern

GOOD, BAD, NEVER = "good", "bad", "never"
VERIFICATIONS = (GOOD, BAD, NEVER)
TYPES = ("full", "incremental", "differential", "synthetic_full")
_WILD = frozenset("*?[")


@dataclass(frozen=True)
class PointFilter:
    """Which recovery points are wanted; C(None) stands for all. Times are epoch seconds, both included."""

    after: float | None = None
    before: float | None = None
    types: Collection[str] | None = None
    verification: Collection[str] | None = None
    pinned: bool | None = None
    complete: bool | None = None

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> PointFilter:
        """Return the filter that options of these names give; raise one C(InvalidInputError) for all that is wrong."""
        problems = Problems()
        times: dict[str, float | None] = {"after": None, "before": None}
        for name in times:
            if values[name] is not None:
                times[name] = read_time(values[name], name, problems)
        after, before = times["after"], times["before"]
        if after is not None and before is not None and before < after:
            problems.add("before", values["before"], f"must not be earlier than after, which is {values['after']}")
        for name in ("types", "verification"):
            if values[name] is not None and not values[name]:
                problems.add(name, values[name], "must not be an empty list: leave it out for all recovery points")
        if problems.found:
            text = "; ".join(map(str, problems.found))
            raise InvalidInputError(text, option=problems.found[0].key, **problem_details(problems.found))
        return cls(after, before, values["types"], values["verification"], values["pinned"], values["complete"])

    def accepts(self, point: Mapping[str, Any]) -> bool:
        """Return whether a recovery point, in the form of C(describe_point), is wanted."""
        # What people are shown are whole seconds, so that is what they compare with.
        created = math.floor(point["created"])
        return (
            (self.after is None or created >= self.after)
            and (self.before is None or created <= self.before)
            and (self.types is None or point["type"] in self.types)
            and (self.verification is None or verification_state(point) in self.verification)
            and (self.pinned is None or point["pinned"] is self.pinned)
            and (self.complete is None or (point["problem"] is None) is self.complete)
        )


def verification_state(point: Mapping[str, Any]) -> str:
    """Return what the latest verification said of a recovery point, in the form of C(describe_point)."""
    verification = point["verification"]
    if verification is None:
        return NEVER
    return GOOD if verification["ok"] else BAD


def choose_clients(vault: Vault, wanted: Sequence[str] | None) -> list[Client]:
    """Return clients by name, or by patterns as those of content rules; each of them has to stand for one at least.

    A name that is a client's is that client, whatever brackets it holds.
    """
    if wanted is None:
        return vault.clients()
    if not wanted:
        raise InvalidInputError("client must not be an empty list: leave it out for all clients", option="client")
    known = {client.name: client for client in vault.clients()}
    chosen: dict[str, Client] = {}
    for text in wanted:
        if text in known or not _WILD & {*text}:
            chosen[text] = known[text] if text in known else _unknown(vault, text, known)
            continue
        try:
            pattern = Pattern.parse(text)
        except ValueError as error:
            raise InvalidInputError(f"client: {text!r} is no pattern: {error}", option="client", value=text) from error
        found = {name: client for name, client in known.items() if pattern.matches(name)}
        if not found:
            raise PointNotFoundError(f"The vault {vault.path} has no client that {text!r} matches", client=text)
        chosen.update(found)
    return [chosen[name] for name in sorted(chosen)]


def _unknown(vault: Vault, name: str, known: Collection[str]) -> Client:
    """Raise what the vault says of a name that it does not know, with the one that was perhaps meant."""
    try:
        return vault.client(name)
    except PointNotFoundError as error:
        raise PointNotFoundError(f"{error.message}{did_you_mean(name, known)}", **error.details) from error
