# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module synthetic_full. What a synthetic full holds and how it fails is tested in the vault room."""

from __future__ import annotations

import functools
import os
import signal
from typing import Any

import pytest
from unit.transfer.builders import MOMENT, NEXT_RUN, RUN, Estate, incremental, ticking, vm_plan
from unit.vault.builders import MIB

from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm
from ansible_collections.ovm.backup.plugins.module_utils.vault.synthetic_full import make_synthetic_full
from ansible_collections.ovm.backup.plugins.modules import synthetic_full

SECOND, THIRD = "20261123T010303Z-0002", "20261124T010203Z-0003"


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    made = functools.partial(make_synthetic_full, clock=ticking(MOMENT + 86400.0))
    monkeypatch.setattr(synthetic_full, "make_synthetic_full", made)


@pytest.fixture
def args(estate: Estate) -> dict[str, Any]:
    """A client with a full and an incremental recovery point."""
    backup_vm(estate.vault, estate.request(), clock=ticking())
    estate.change(0, MIB, b"changed")
    request = estate.request(incremental(vm_plan()), run_id=NEXT_RUN)
    backup_vm(estate.vault, request, clock=ticking(MOMENT + 60.0))
    return {"vault": estate.vault.path, "client": "web_01"}


def test_synthetic_full(succeed: Any, args: dict[str, Any], estate: Estate) -> None:
    result = succeed("synthetic_full", {**args, "run_id": RUN, "subclient": "weekly"}, diff=True)
    stored = estate.client.point()
    assert result == {
        "changed": True,
        "recovery_point": stored.as_dict(),
        "type": "synthetic_full",
        "duration": 0.5,
        "notes": [],
        "diff": {"before": {}, "after": {"recovery_point": THIRD, "type": "synthetic_full"}},
    }
    assert (stored.id, stored.run_id, stored.job_id, stored.subclient, stored.consolidates) == (
        THIRD, RUN, RUN, "weekly", SECOND,
    )  # fmt: skip


def test_again(succeed: Any, args: dict[str, Any], estate: Estate) -> None:
    first = succeed("synthetic_full", args)
    tree = estate.tree
    after = {"recovery_point": THIRD, "type": "synthetic_full"}
    unchanged = {**first, "changed": False, "duration": 0.0, "diff": {"before": after, "after": after}}
    assert succeed("synthetic_full", args, diff=True) == unchanged
    assert succeed("synthetic_full", args, check_mode=True, diff=True) == unchanged
    assert estate.tree == tree


def test_check_mode(succeed: Any, args: dict[str, Any], estate: Estate) -> None:
    tree = estate.tree
    assert succeed("synthetic_full", args, check_mode=True, diff=True) == {
        "changed": True,
        "recovery_point": None,
        "type": "synthetic_full",
        "duration": 0.0,
        "notes": [],
        "diff": {"before": {}, "after": {"recovery_point": "new", "type": "synthetic_full"}},
    }
    assert estate.tree == tree


def test_a_full_is_left_as_it_is(succeed: Any, estate: Estate) -> None:
    full = backup_vm(estate.vault, estate.request()).point
    for check_mode in (False, True):
        result = succeed("synthetic_full", {"vault": estate.vault.path, "client": "web_01"}, check_mode=check_mode)
        assert (result["changed"], result["type"], result["recovery_point"]) == (False, "full", full.as_dict())


def test_environment(succeed: Any, args: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVM_VAULT", args.pop("vault"))
    assert succeed("synthetic_full", args)["changed"] is True


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"compression_level": 0}, "InvalidInputError", "compression_level must be from 1 to 19, not 0"),
        ({"compression_level": 20}, "InvalidInputError", "compression_level must be from 1 to 19, not 20"),
        ({"run_id": "../x"}, "InvalidInputError",
            "'../x' is not the id of a run: those look like 20261123T010203Z-0a1b2c3d-4e5f60"),
        ({"client": "../x"}, "PointNotFoundError", "'../x' is not the name of a client"),
        ({"vault": "/"}, "NotAVaultError", "/ is not a vault: there is no /vault.json. Is the file system mounted? "
            "A new vault is made by the ovm.backup.vault module or playbook"),
    ],
)  # fmt: skip
def test_wrong_values(
    fail: Any, args: dict[str, Any], estate: Estate, change: dict[str, Any], kind: str, message: str, check_mode: bool
) -> None:
    tree = estate.tree
    failed = fail("synthetic_full", {**args, **change}, check_mode=check_mode)
    assert (failed["msg"], failed["failure"]["kind"]) == (message, kind)
    assert estate.tree == tree


def test_missing_arguments(fail: Any) -> None:
    assert "failure" not in fail("synthetic_full", {})


@pytest.mark.parametrize("check_mode", [False, True])
def test_locked_by_another_run(succeed: Any, fail: Any, args: dict[str, Any], estate: Estate, check_mode: bool) -> None:
    estate.client.lock(owner="another", run_id=NEXT_RUN).hold(3600.0)
    failed = fail("synthetic_full", args, check_mode=check_mode)
    assert (failed["failure"]["kind"], failed["failure"]["holder"]["run_id"]) == ("VaultLockedError", NEXT_RUN)
    result = succeed("synthetic_full", {**args, "break_lock": True}, check_mode=check_mode)
    notes = [f"took over the lock that run {NEXT_RUN} left behind"]
    assert (result["changed"], result["notes"]) == (True, [] if check_mode else notes)


def test_termination_cleans_up(
    run_module: Any, args: dict[str, Any], estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = estate.tree

    def terminate(*_seen: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(
        synthetic_full,
        "make_synthetic_full",
        lambda vault, request, **_options: make_synthetic_full(vault, request, progress=terminate),
    )
    with pytest.raises(KeyboardInterrupt, match="terminated"):
        run_module("synthetic_full", args)
    assert estate.tree == tree
