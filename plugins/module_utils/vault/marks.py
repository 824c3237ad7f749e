# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Marks: what proves that two hosts see one vault, and tells how far their clocks are apart.

A vault that was copied has the id of the other one. So the host that plans a run makes a mark under a name that nobody
has looked for before, which no cache can know, and every proxy has to see it. Clocks are compared through the vault:
each host makes a file there, whose time is that of the vault's server.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from dataclasses import dataclass
from typing import Callable

from ..errors import InvalidInputError, VaultWriteError
from .files import entries, exists, file_entry, make_directory, remove_file, write_json
from .points import Vault
from .storage.failures import vault_errors

_TOKEN = re.compile(r"[0-9a-zA-Z-]{8,64}\Z")
_OLD = 86400.0  # seconds after which a mark is of no run any more


@dataclass(frozen=True)
class Clock:
    """C(ahead): seconds by which the clock of this host is ahead of the vault's, give or take C(error)."""

    ahead: float
    error: float


def checked_mark(token: str) -> str:
    """Return the name of a mark; raise C(InvalidInputError) for what could name another file."""
    if not _TOKEN.match(token):
        raise InvalidInputError("mark: must be 8 to 64 letters, digits and hyphens", option="mark")
    return token


def make_mark(vault: Vault, token: str) -> None:
    """Make a mark that other hosts can look for."""
    make_directory(_folder(vault))
    write_json(_path(vault, token), {"mark": token})


def sees_mark(vault: Vault, token: str) -> bool:
    """Return whether this host sees a mark."""
    return exists(_path(vault, token))


def remove_mark(vault: Vault, token: str) -> None:
    """Remove a mark; a missing one is fine."""
    remove_file(_path(vault, token))


def measure_clock(vault: Vault, token: str, *, clock: Callable[[], float] = time.time) -> Clock:
    """Compare the clock of this host with the vault's. What dead runs left of this is removed by the way."""
    make_directory(_folder(vault))
    path = os.path.join(_folder(vault), f"{token}.{secrets.token_hex(8)}.clock")
    before = clock()
    write_json(path, {})
    after = clock()
    with vault_errors("look at", path):
        modified = file_entry(path).modified
    remove_file(path)
    _tidy(vault, modified)
    # Written somewhere between the two, and some storages tell whole seconds only.
    coarse = 1.0 if modified == int(modified) else 0.0
    middle = (before + after) / 2
    return Clock(middle - (modified + coarse / 2), (after - before + coarse) / 2)


def _tidy(vault: Vault, now: float) -> None:
    with contextlib.suppress(OSError, VaultWriteError):
        for entry in entries(_folder(vault)):
            if entry.modified < now - _OLD:
                remove_file(os.path.join(_folder(vault), entry.name))


def _folder(vault: Vault) -> str:
    return os.path.join(vault.path, "proxies")


def _path(vault: Vault, token: str) -> str:
    return os.path.join(_folder(vault), f"{token}.mark")
