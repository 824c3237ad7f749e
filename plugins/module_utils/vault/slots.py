# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Slots: how many VMs may be at work at once in a storage repository, on a server, on a proxy, for all runs of a vault.

A slot is a small file in the vault that names the client and its run. It counts only while that run has the lock of the
client, so what a dead run had is free as soon as its lock is: slots need no lease of their own.

Who has to wait leaves a ticket, which counts as long as a slot would. It reserves a place for each name that was ever
full for it, against all who came later, so that nobody waits for ever; what it has not been refused is left to others.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Mapping
from typing import Any, Callable

from ..errors import CorruptVaultError, VaultLockedError, VaultWriteError
from .files import is_damage, is_folder, make_directory, names, read_json, remove_file, write_json
from .lock import HEARTBEAT_SECONDS
from .points import Vault
from .text import safe_name
from .turns import turns

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 15.0  # seconds between two looks
ENDED = 0.001  # seconds: a lease that is over at once
_MUTEX_LIMIT = 300.0  # seconds: others have it for some reads of small files only
_SLOT, _TICKET = ".slot", ".ticket"
_WAITING = "waiting"
_UNKNOWN = "one that cannot be read"


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
    now: Callable[[], float] = time.time,
) -> float:
    """Take a slot of each name for a client whose lock the run has, all or none; return the seconds of waiting.

    C(limits) say how many slots each name has. C(renew) is called now and then to keep the lock of the client. Raises
    C(VaultLockedError) when there is no slot within C(limit) seconds. C(now) is the time that others know, too.
    """
    began = renewed = clock()
    pause = _FIRST_PAUSE
    ticket: dict[str, Any] = {"client": client, "run": run_id, "time": now(), "names": {}}
    try:
        while True:
            full = _full(vault, ticket, limits)
            if not full or full.keys() - ticket["names"].keys():
                with turns(vault, {"slots": 1}, limit=_MUTEX_LIMIT):
                    full = _full(vault, ticket, limits, tidy=True)
                    if not full:
                        for name in limits:
                            _write(_folder(vault, name), _SLOT, {"client": client, "run": run_id})
                        return clock() - began
                    ticket["names"].update({name: limits[name] for name in full})
                    _write(_folder(vault, _WAITING), _TICKET, ticket)
            left = limit - (clock() - began)
            if left <= 0:
                name = min(full)
                raise VaultLockedError(
                    f"There was no place for client {client} in {limit:g} s: {limits[name]} may be at work at once for "
                    f"{name}, and these are: {', '.join(full[name])}",
                    path=_folder(vault, name),
                )
            if clock() - renewed >= HEARTBEAT_SECONDS:
                renew()
                renewed = clock()
            sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)
    finally:
        if ticket["names"]:
            _unlink(os.path.join(_folder(vault, _WAITING), _file_name(client, _TICKET)))


def let_go(vault: Vault, client: str, *, owner: str, run_id: str, owes: bool = False) -> bool:
    """Give the lock of a client back if the run has it, and its slots; return whether there was something to give back.

    While the run C(owes) something, the lock stays with its debts, but its lease ends now: the next run settles them.
    """
    lock = vault.client_folder(client).lock(owner=owner, run_id=run_id)
    if owes:
        lock.hold(ENDED)
        return False
    if lock.held:
        free_slots(vault, client)
    return lock.release()


def free_slots(vault: Vault, client: str) -> None:
    """Give back all slots of a client. What fails here does no harm: without its lock a slot does not count."""
    folder = os.path.join(vault.path, "slots")
    with contextlib.suppress(OSError, VaultWriteError):
        for name in names(folder):
            for ending in (_SLOT, _TICKET):
                _unlink(os.path.join(folder, name, _file_name(client, ending)))


def _full(
    vault: Vault, ticket: Mapping[str, Any], limits: Mapping[str, int], *, tidy: bool = False
) -> dict[str, list[str]]:
    """Return the names that have no place for whose ticket it is, each with those who are in the way.

    C(tidy) removes what does not count; whoever writes has to be kept away then.
    """
    waiting = _read(vault, _WAITING, _TICKET, tidy)
    order = (ticket["time"], ticket["client"])
    earlier = [one for one in waiting if (one["time"], one["client"]) < order and one["client"] != ticket["client"]]
    full = {}
    for name in limits:
        holders = [one["client"] for one in _read(vault, name, _SLOT, tidy)]
        if ticket["client"] in holders:
            continue
        first = [one for one in earlier if name in one["names"] and one["client"] not in holders]
        # Subclients may have different limits: one with a low limit needs a place below that.
        if len(holders) + len(first) >= min([limits[name], *(one["names"][name] for one in first)]):
            full[name] = [*holders, *(f"{one['client']} (waits longer)" for one in first)]
    return full


def _read(vault: Vault, name: str, ending: str, tidy: bool) -> list[dict[str, Any]]:
    """Return the slots or tickets that count, by client."""
    folder = _folder(vault, name)
    found = []
    for file_name in names(folder):
        if file_name.endswith(ending):
            path = os.path.join(folder, file_name)
            try:
                document = _document(path)
            except OSError:
                # Whose it is cannot be told now. A place may well be taken; a ticket only makes others wait.
                found += [{"client": _UNKNOWN}] if ending == _SLOT else []
                continue
            if document is not None and _counts(vault, document):
                found.append(document)
            elif tidy:
                _unlink(path)
    return sorted(found, key=lambda one: str(one["client"]))


def _document(path: str) -> dict[str, Any] | None:
    """Return a slot or a ticket, nothing for what is none; raise C(OSError) for what cannot be read now."""
    try:
        document = read_json(path)
        if path.endswith(_TICKET):
            names = {str(name): int(number) for name, number in document["names"].items()}
            document.update(time=float(document["time"]), names=names)
        return {**document, "client": str(document["client"]), "run": str(document["run"])}
    except OSError as error:
        if not is_damage(error):
            raise
    except (CorruptVaultError, KeyError, TypeError, ValueError, AttributeError):
        pass
    return None


def _counts(vault: Vault, document: Mapping[str, Any]) -> bool:
    """Return whether the run that a slot or a ticket names has the lock of its client, or may have it."""
    lock = vault.client_folder(document["client"]).lock(owner="", run_id=document["run"])
    status = lock.status()
    if status is None or not status["alive"]:
        return False
    return bool(status.get("late")) or status.get("run_id") == document["run"]


def _write(folder: str, ending: str, document: Mapping[str, Any]) -> None:
    if not is_folder(folder):  # to make it durable once more costs writes
        make_directory(folder)
    write_json(os.path.join(folder, _file_name(document["client"], ending)), document)


def _file_name(client: str, ending: str) -> str:
    """Return a name that cannot be taken for a temporary file, and that is not too long either."""
    return hashlib.sha256(client.encode("utf-8", "surrogatepass")).hexdigest()[:32] + ending


def _folder(vault: Vault, name: str) -> str:
    return os.path.join(vault.path, "slots", safe_name(name))


def _unlink(path: str) -> None:
    with contextlib.suppress(VaultWriteError):
        remove_file(path)
