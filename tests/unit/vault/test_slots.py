# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Slots: how many VMs may be at work at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.ovm.backup.plugins.module_utils.errors import VaultLockedError
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Vault
from ansible_collections.ovm.backup.plugins.module_utils.vault.slots import free_slots, take_slots

RUN = "20261123T010203Z-0a1b2c3d-4e5f60"
NEXT_RUN = "20261124T010203Z-0a1b2c3d-4e5f61"


class Time:
    """A clock that goes on only while somebody sleeps; C(then) happens at the second look."""

    def __init__(self) -> None:
        self.now = 0.0
        self.renewed: list[float] = []
        self.then = lambda: None

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now == 2.0:
            self.then()


def hold(vault: Vault, client: str, run_id: str = RUN, lease: float = 600.0) -> None:
    vault.prepare_client(client).lock(owner="a run", run_id=run_id).hold(lease)


def take(vault: Vault, client: str, limits: dict[str, int], *, run_id: str = RUN, limit: float = 0.0) -> float:
    time = Time()
    return take_slots(
        vault, client, run_id, limits, limit=limit, renew=lambda: None, clock=time.clock, sleep=time.sleep
    )


def holders(vault: Vault, name: str) -> list[str]:
    return sorted(path.name for path in (Path(vault.path) / "slots" / name).iterdir())


def test_as_many_as_the_limit(vault: Vault) -> None:
    for client in ("a", "b", "c"):
        hold(vault, client)
    assert [take(vault, client, {"server-1": 2}) for client in ("a", "b", "a")] == [0.0, 0.0, 0.0]
    with pytest.raises(VaultLockedError) as refusal:
        take(vault, "c", {"server-1": 2}, limit=3.0)
    assert refusal.value.message == (
        "There was no place for client c in 3 s: 2 may be at work at once for server-1, and these are: a, b"
    )
    assert holders(vault, "server-1") == ["a", "b"]


def test_all_or_none(vault: Vault) -> None:
    for client in ("a", "b"):
        hold(vault, client)
    take(vault, "a", {"server-1": 1})
    with pytest.raises(VaultLockedError):
        take(vault, "b", {"proxy-p": 1, "server-1": 1})
    assert holders(vault, "proxy-p") == []
    free_slots(vault, "a")
    assert take(vault, "b", {"proxy-p": 1, "server-1": 1}) == 0.0
    assert (holders(vault, "proxy-p"), holders(vault, "server-1")) == (["b"], ["b"])


def test_waiting_renews_the_lock(vault: Vault) -> None:
    for client in ("a", "b"):
        hold(vault, client)
    take(vault, "a", {"server-1": 1})
    time = Time()
    time.then = lambda: None
    renewed: list[float] = []

    def sleep(seconds: float) -> None:
        time.sleep(seconds)
        if time.now == 70.0:
            free_slots(vault, "a")

    waited = take_slots(
        vault,
        "b",
        RUN,
        {"server-1": 1},
        limit=100.0,
        renew=lambda: renewed.append(time.now),
        clock=time.clock,
        sleep=sleep,
    )
    assert (waited, renewed) == (70.0, [30.0, 60.0])


@pytest.mark.parametrize("gone", ["lease over", "lock given back", "lock of another run", "folder gone"])
def test_what_a_dead_run_had_is_free(vault: Vault, gone: str) -> None:
    """Nobody gives its slot back: the lock of the client tells that it does not count any more."""
    hold(vault, "a", lease=0.000001 if gone == "lease over" else 600.0)
    hold(vault, "b")
    take(vault, "a", {"server-1": 1})
    lock = Path(vault.path) / "clients" / "a" / "lock.json"
    if gone != "lease over":
        lock.unlink()
    if gone == "lock of another run":
        hold(vault, "a", NEXT_RUN)
    if gone == "folder gone":
        lock.parent.rmdir()
    assert take(vault, "b", {"server-1": 1}) == 0.0
    assert holders(vault, "server-1") == ["b"]


def test_odd_names(vault: Vault) -> None:
    hold(vault, ".hidden")
    hold(vault, "b")
    take(vault, ".hidden", {"proxy-../x": 1})
    assert holders(vault, "proxy-.._x") == [".hidden"]
    with pytest.raises(VaultLockedError):
        take(vault, "b", {"proxy-../x": 1})
