# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Slots: how many VMs may be at work at once."""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.ovm.backup.plugins.module_utils.errors import VaultLockedError
from ansible_collections.ovm.backup.plugins.module_utils.vault import slots
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Vault
from ansible_collections.ovm.backup.plugins.module_utils.vault.slots import free_slots, take_slots
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.directory import DirectoryStorage

RUN = "20261123T010203Z-0a1b2c3d-4e5f60"
NEXT_RUN = "20261124T010203Z-0a1b2c3d-4e5f61"


class Time:
    """A clock that goes on only while somebody sleeps; C(at) has what happens when."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sleeps: list[float] = []
        self.at: dict[float, Any] = {}

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds
        if self.now in self.at:
            self.at.pop(self.now)()


def hold(vault: Vault, client: str, run_id: str = RUN, lease: float = 600.0) -> None:
    vault.prepare_client(client).lock(owner="a run", run_id=run_id).hold(lease)


def take(
    vault: Vault,
    client: str,
    limits: dict[str, int],
    *,
    run_id: str = RUN,
    limit: float = 0.0,
    time: Time | None = None,
    began: float = 0.0,
) -> float:
    time = time or Time()
    return take_slots(
        vault,
        client,
        run_id,
        limits,
        limit=limit,
        renew=lambda: None,
        clock=time.clock,
        sleep=time.sleep,
        now=lambda: began,
    )


def refused(vault: Vault, client: str, limits: dict[str, int], **options: Any) -> str:
    with pytest.raises(VaultLockedError) as refusal:
        take(vault, client, limits, **options)
    return str(refusal.value.message)


def holders(vault: Vault, name: str) -> list[str]:
    found = (Path(vault.path) / "slots" / name).glob("*.slot")
    return sorted(json.loads(path.read_text())["client"] for path in found)


def tickets(vault: Vault) -> list[str]:
    found = (Path(vault.path) / "slots" / "waiting").glob("*")
    return sorted(json.loads(path.read_text())["client"] for path in found)


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


def test_waiting_renews_the_lock_and_looks_less_and_less_often(vault: Vault) -> None:
    for client in ("a", "b"):
        hold(vault, client)
    take(vault, "a", {"server-1": 1})
    time, renewed = Time(), []
    time.at[75.0] = lambda: free_slots(vault, "a")
    waited = take_slots(
        vault,
        "b",
        RUN,
        {"server-1": 1},
        limit=100.0,
        renew=lambda: renewed.append(time.now),
        clock=time.clock,
        sleep=time.sleep,
    )
    assert (waited, renewed) == (75.0, [30.0, 60.0])
    assert time.sleeps == [1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0, 15.0]


def test_the_last_look_is_at_the_limit(vault: Vault) -> None:
    for client in ("a", "b"):
        hold(vault, client)
    take(vault, "a", {"server-1": 1})
    time = Time()
    time.at[10.0] = lambda: free_slots(vault, "a")
    assert take(vault, "b", {"server-1": 1}, limit=10.0, time=time) == 10.0
    assert time.sleeps == [1.0, 2.0, 4.0, 3.0]


def test_waiting_keeps_nobody_away(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutex is had for the first refusal and for the success, not for each look; nothing is written between."""
    entered: list[float] = []
    time, turns = Time(), slots.turns

    @contextlib.contextmanager
    def counted(*arguments: Any, **options: Any) -> Iterator[None]:
        entered.append(time.now)
        with turns(*arguments, **options):
            yield

    for client in ("a", "b"):
        hold(vault, client)
    take(vault, "a", {"server-1": 1})
    monkeypatch.setattr(slots, "turns", counted)
    time.at[45.0] = lambda: free_slots(vault, "a")
    assert take(vault, "b", {"server-1": 1}, limit=100.0, time=time) == 45.0
    assert entered == [0.0, 45.0]


# --- who comes first -------------------------------------------------------------------------------------------------


def test_who_waits_longer_goes_first(vault: Vault) -> None:
    for client in ("a", "b", "c", "d"):
        hold(vault, client)
    take(vault, "a", {"server-1": 1})
    seen: list[Any] = []

    def look() -> None:
        seen.append(tickets(vault))
        free_slots(vault, "a")
        # There is room now, but not for those who come later; one that has been here before needs not wait for them.
        seen.append(refused(vault, "c", {"server-1": 1}, began=6.0))
        seen.append(take(vault, "d", {"server-2": 1}, began=6.0))

    time = Time()
    time.at[3.0] = look
    assert take(vault, "b", {"server-1": 1}, limit=60.0, time=time, began=5.0) == 3.0
    assert seen == [
        ["b"],
        "There was no place for client c in 0 s: 1 may be at work at once for server-1, and these are: "
        "b (waits longer)",
        0.0,
    ]
    assert (holders(vault, "server-1"), tickets(vault)) == (["b"], [])


def test_who_was_there_before_the_ticket_goes_first(vault: Vault) -> None:
    for client in ("a", "b", "c"):
        hold(vault, client)
    take(vault, "a", {"server-1": 1})
    time = Time()

    def earlier() -> None:
        free_slots(vault, "a")
        assert take(vault, "c", {"server-1": 1}, began=4.0) == 0.0
        free_slots(vault, "c")

    time.at[3.0] = earlier
    assert take(vault, "b", {"server-1": 1}, limit=60.0, time=time, began=5.0) == 3.0


def test_a_ticket_reserves_only_what_was_full(vault: Vault) -> None:
    """Who waits for a server keeps no place of a proxy empty, until that is full for it as well."""
    for client in ("a", "b", "c", "d"):
        hold(vault, client)
    take(vault, "a", {"server-1": 1})
    time = Time()

    def meanwhile() -> None:
        assert take(vault, "c", {"proxy-p": 1}, began=6.0) == 0.0
        free_slots(vault, "a")

    def then() -> None:
        free_slots(vault, "c")
        for name in ("proxy-p", "server-1"):
            assert refused(vault, "d", {name: 1}, began=6.0).endswith(": b (waits longer)")

    time.at.update({1.0: meanwhile, 7.0: then})
    assert take(vault, "b", {"proxy-p": 1, "server-1": 1}, limit=60.0, time=time, began=5.0) == 7.0
    assert (holders(vault, "proxy-p"), holders(vault, "server-1"), tickets(vault)) == (["b"], ["b"], [])


def test_room_for_more_than_those_who_wait(vault: Vault) -> None:
    for client in ("a", "b", "c", "d"):
        hold(vault, client)
    for client in ("a", "d"):
        take(vault, client, {"server-1": 2})
    time = Time()

    def both() -> None:
        for client in ("a", "d"):
            free_slots(vault, client)
        assert take(vault, "c", {"server-1": 2}, began=6.0) == 0.0

    time.at[1.0] = both
    assert take(vault, "b", {"server-1": 2}, limit=60.0, time=time, began=5.0) == 1.0
    assert holders(vault, "server-1") == ["b", "c"]


def test_who_has_a_lower_limit_does_not_wait_for_ever(vault: Vault) -> None:
    for client in ("a", "b", "c"):
        hold(vault, client)
    take(vault, "a", {"server-1": 4})
    time = Time()

    def later() -> None:
        assert refused(vault, "c", {"server-1": 4}, began=6.0).endswith(": a, b (waits longer)")
        free_slots(vault, "a")

    time.at[1.0] = later
    assert take(vault, "b", {"server-1": 1}, limit=60.0, time=time, began=5.0) == 1.0


@pytest.mark.parametrize("late", ["slot", "lock.json"])
def test_a_place_counts_while_it_cannot_be_told_whose_it_is(
    vault: Vault, monkeypatch: pytest.MonkeyPatch, late: str
) -> None:
    for client in ("a", "b"):
        hold(vault, client)
    take(vault, "a", {"server": 1})
    read = DirectoryStorage.read

    def refuse(self: DirectoryStorage, path: str, limit: int | None = None) -> bytes:
        if path.endswith(late) and "/b/" not in path:
            raise TimeoutError(errno.ETIMEDOUT, "Connection timed out", path)
        return read(self, path, limit)

    with monkeypatch.context() as patch:
        patch.setattr(DirectoryStorage, "read", refuse)
        shown = {"slot": "one that cannot be read", "lock.json": "a"}[late]
        assert refused(vault, "b", {"server": 1}).endswith(f"for server, and these are: {shown}")
    assert holders(vault, "server") == ["a"]


@pytest.mark.parametrize("gone", ["lock given back", "lock of another run"])
def test_a_dead_ticket_does_not_count(vault: Vault, gone: str) -> None:
    for client in ("a", "b", "c"):
        hold(vault, client)
    take(vault, "a", {"server-1": 1})
    time = Time()

    def die() -> None:
        free_slots(vault, "a")
        lock = Path(vault.path) / "clients" / "b" / "lock.json"
        lock.unlink()
        if gone == "lock of another run":
            hold(vault, "b", NEXT_RUN)
        assert take(vault, "c", {"server-1": 1}, began=6.0) == 0.0
        assert tickets(vault) == []
        raise KeyboardInterrupt

    time.at[1.0] = die
    with pytest.raises(KeyboardInterrupt):
        take(vault, "b", {"server-1": 1}, limit=60.0, time=time, began=5.0)
    assert holders(vault, "server-1") == ["c"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, VaultLockedError])
def test_no_ticket_is_left(vault: Vault, error: type[BaseException]) -> None:
    for client in ("a", "b"):
        hold(vault, client)
    take(vault, "a", {"server-1": 1})
    time = Time()

    def stop() -> None:
        assert tickets(vault) == ["b"]
        raise error("stop")

    time.at[1.0] = stop
    with pytest.raises(error):
        take(vault, "b", {"server-1": 1}, limit=60.0, time=time)
    assert tickets(vault) == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"client": "b"}', '{"client": "b", "run": "x", "time": "y"}'])
def test_a_ticket_or_a_slot_that_cannot_be_read_does_not_count(vault: Vault, content: str) -> None:
    hold(vault, "a")
    for path in ("waiting/x.ticket", "server-1/x.slot"):
        file = Path(vault.path, "slots", path)
        file.parent.mkdir(parents=True)
        file.write_text(content)
    assert take(vault, "a", {"server-1": 1}) == 0.0
    assert (holders(vault, "server-1"), tickets(vault)) == (["a"], [])


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


@pytest.mark.parametrize("name", [".hidden", ".a.new", "x" * 255, "ä" * 127])
def test_odd_names(vault: Vault, name: str) -> None:
    hold(vault, name)
    hold(vault, "b")
    take(vault, name, {"proxy-../x": 1})
    assert holders(vault, "proxy-.._x") == [name]
    assert refused(vault, "b", {"proxy-../x": 1}).endswith(f": {name}")
    free_slots(vault, name)
    assert take(vault, "b", {"proxy-../x": 1}) == 0.0
