# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module recovery_point. Pins in all cases are tested in the vault room."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import pytest
from unit.transfer.builders import Estate

from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point

FREE: dict[str, Any] = {"pinned": False, "pin_note": None}


@pytest.fixture
def point(estate: Estate) -> Point:
    return backup_vm(estate.vault, estate.request()).point


@pytest.fixture
def args(estate: Estate) -> dict[str, Any]:
    return {"vault": estate.vault.path, "client": "web_01", "point": "latest", "pinned": True}


def described(point: Point, pin: dict[str, Any]) -> dict[str, Any]:
    return {**point.as_dict(), "problem": None, "verification": None, "held": None, **pin}


def test_pinned_and_unpinned(succeed: Any, args: dict[str, Any], estate: Estate, point: Point) -> None:
    path = Path(estate.client.directory) / point.id / "pin.json"
    pinned, better, silent = ({"pinned": True, "pin_note": note} for note in ("old", "better", ""))
    first = {**args, "note": "old"}
    tree = estate.tree
    foreseen = succeed("recovery_point", first, check_mode=True, diff=True)
    assert estate.tree == tree
    assert foreseen == {
        "changed": True,
        "recovery_point": described(point, pinned),
        "diff": {"before": FREE, "after": pinned},
    }
    assert succeed("recovery_point", first, diff=True) == foreseen
    document = json.loads(path.read_text())
    assert document.pop("pinned_at") > point.completed
    assert document == {"note": "old", "by": f"ovm.backup.recovery_point on {platform.node()}"}
    again = {"changed": False, "recovery_point": described(point, pinned)}
    assert succeed("recovery_point", first) == succeed("recovery_point", {**args, "point": point.id}) == again
    assert succeed("recovery_point", first, diff=True)["diff"] == {"before": pinned, "after": pinned}

    found = succeed("recovery_point", {**args, "note": "better"})
    assert found == {"changed": True, "recovery_point": described(point, better)}
    assert succeed("recovery_point_info", {"vault": args["vault"]})["recovery_points"] == [found["recovery_point"]]

    off = {**args, "pinned": False}
    assert succeed("recovery_point", off, check_mode=True)["changed"] is True
    assert path.exists()
    assert succeed("recovery_point", off) == {"changed": True, "recovery_point": described(point, FREE)}
    assert estate.tree == tree
    assert succeed("recovery_point", off) == {"changed": False, "recovery_point": described(point, FREE)}
    assert succeed("recovery_point", args)["recovery_point"] == described(point, silent)


def test_a_pin_that_cannot_be_read_is_replaced(
    succeed: Any, args: dict[str, Any], estate: Estate, point: Point
) -> None:
    path = Path(estate.client.directory) / point.id / "pin.json"
    path.write_text("[]")
    found = succeed("recovery_point", args, diff=True)
    assert found["diff"]["before"] == {"pinned": True, "pin_note": f"{path} is damaged: it is not a pin"}
    assert found["diff"]["after"] == {"pinned": True, "pin_note": ""}
    assert succeed("recovery_point", args)["changed"] is False


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize(
    ("change", "message", "kind"),
    [
        ({"client": "nobody"}, "The vault {vault} has no client 'nobody'", "PointNotFoundError"),
        ({"point": "20261123T010203Z-0009"},
            "Client web_01 has no recovery point '20261123T010203Z-0009'; the newest is {point}", "PointNotFoundError"),
        ({"pinned": False, "note": "x"},
            "note is for a recovery point that is pinned: leave it out with pinned: false", "InvalidInputError"),
    ],
)  # fmt: skip
def test_wrong_values(
    fail: Any, args: dict[str, Any], estate: Estate, point: Point, change: dict[str, Any], message: str, kind: str,
    check_mode: bool,
) -> None:  # fmt: skip
    tree = estate.tree
    failed = fail("recovery_point", {**args, **change}, check_mode=check_mode)
    assert failed["msg"] == message.format(vault=estate.vault.path, point=point.id)
    assert failed["failure"]["kind"] == kind
    assert estate.tree == tree
