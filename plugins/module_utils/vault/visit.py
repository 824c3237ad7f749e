# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The lock of a client for work that is no backup: removing recovery points, or copying them from another vault.

Such work never takes the lock of a dead run that left something to be settled: the next backup with the vault settles
it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ..errors import VaultLockedError
from .lock import ClientLock, owes
from .points import Client

# Seconds after which another run may take the lock of one that died at this work.
_LEASE = 300.0


def check_free(client: Client, *, owner: str, run_id: str) -> None:
    """Raise C(VaultLockedError) when another run works on the client, or has died and left work for the next backup."""
    lock = _lock(client, owner, run_id)
    lock.foresee()
    left = lock.taken_over
    if left is not None and owes(left):
        raise VaultLockedError(
            f"Client {client.name} has the lock of run {left.get('run_id')}, which has died: the next backup with this "
            "vault settles what that run left",
            holder=left,
        )


@contextlib.contextmanager
def visit(client: Client, *, owner: str, run_id: str) -> Iterator[ClientLock]:
    """Hold the lock of a client, whose folder exists; raise C(VaultLockedError) as C(check_free) does."""
    lock = _lock(client, owner, run_id)
    lock.hold(_LEASE)
    try:
        if lock.taken_over is not None and owes({**lock.taken_over, "debts": lock.debts}):
            # A run has died in this very moment: leave what it has left to the next backup.
            raise VaultLockedError(f"Client {client.name} has the lock of a run that has just died", holder={})
        with lock:  # renews the lease
            yield lock
    finally:
        lock.give_back()


def _lock(client: Client, owner: str, run_id: str) -> ClientLock:
    # Without the VM's id: a run that plans a backup cares for the locks of dead runs that worked on a VM.
    return client.lock(owner=owner, run_id=run_id)
