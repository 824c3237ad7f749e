# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Slots: how many VMs may be at work at once in a storage repository, on a server, on a proxy, for all runs of a vault.

A slot is a small file in the vault that names the client and its run. It counts only while that run has the lock of the
client, so what a dead run had is free as soon as its lock is: slots need no lease of their own.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Mapping
from typing import Callable

from ..errors import VaultLockedError
from .files import make_directory, vault_errors, write_file
from .lock import HEARTBEAT_SECONDS
from .points import Vault
from .turns import turns

_PAUSE = 1.0  # seconds between two looks
_MUTEX_LIMIT = 300.0  # seconds: others have it for some reads of small files only
_UNSAFE = re.compile(r"[^\w.-]")


def take_slots(
    vault: Vault,
    client: str,
    run_id: str,
    limits: Mapping[str, int],
    *,
    limit: float,
    renew: Callable[[], object],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> float:
    """Take a slot of each name for a client whose lock the run has, all or none; return the seconds of waiting.

    C(limits) say how many slots each name has. C(renew) is called now and then to keep the lock of the client. Raises
    C(VaultLockedError) when there is no slot within C(limit) seconds.
    """
    began = renewed = clock()
    while True:
        with turns(vault, {"slots": 1}, limit=_MUTEX_LIMIT):
            full = next(filter(None, (_taken_by(vault, name, limits[name], client) for name in sorted(limits))), None)
            if full is None:
                for name in limits:
                    write_file(os.path.join(_folder(vault, name), client), run_id.encode("ascii"))
                return clock() - began
        if clock() - began >= limit:
            name, others = full
            raise VaultLockedError(
                f"There was no place for client {client} in {limit:g} s: {limits[name]} may be at work at once for "
                f"{name}, and these are: {', '.join(others)}",
                path=_folder(vault, name),
            )
        if clock() - renewed >= HEARTBEAT_SECONDS:
            renew()
            renewed = clock()
        sleep(_PAUSE)


def free_slots(vault: Vault, client: str) -> None:
    """Give back all slots of a client. What fails here does no harm: without its lock a slot does not count."""
    with contextlib.suppress(OSError), os.scandir(os.path.join(vault.path, "slots")) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(entry.path, client))


def _is_temporary(name: str) -> bool:
    return name.startswith(".") and name.endswith(".new")


def _folder(vault: Vault, name: str) -> str:
    return os.path.join(vault.path, "slots", _UNSAFE.sub("_", name))


def _taken_by(vault: Vault, name: str, limit: int, client: str) -> tuple[str, list[str]] | None:
    """Return the name and who has its slots if there is none left for the client; remove slots that do not count."""
    folder = _folder(vault, name)
    make_directory(folder)
    with vault_errors("list", folder):
        found = sorted(other for other in os.listdir(folder) if not _is_temporary(other))
    holders = []
    for other in found:
        path = os.path.join(folder, other)
        if other == client or _counts(vault, other, path):
            holders.append(other)
        else:
            with contextlib.suppress(OSError):
                os.unlink(path)
    return None if client in holders or len(holders) < limit else (name, holders)


def _counts(vault: Vault, client: str, path: str) -> bool:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            run_id = file.read()
    except OSError:
        return False
    lock = vault.client_folder(client).lock(owner="", run_id=run_id)
    status = lock.status() if os.path.isdir(lock.directory) else None
    return status is not None and bool(status["alive"]) and status.get("run_id") == run_id
