# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module vault_leftovers. What is left and what is not is tested in the vault room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unit.transfer.builders import Estate


def half_point(estate: Estate) -> str:
    writer = estate.vault.prepare_client("web_01").new_point(now=1000.0)
    Path(writer.directory, "0-system.img.zst").write_bytes(b"x" * 2048)
    return f"clients/web_01/{writer.id}"


def test_nothing(succeed: Any, estate: Estate) -> None:
    found = succeed("vault_leftovers", {"vault": estate.vault.path}, diff=True)
    nothing = {"leftovers": []}
    assert found == {
        "changed": False, "leftovers": [], "kept": [], "bytes": 0, "summary": [],
        "diff": {"before": nothing, "after": nothing},
    }  # fmt: skip


def test_life(succeed: Any, estate: Estate) -> None:
    half, args = half_point(estate), {"vault": estate.vault.path}
    before = estate.tree
    foreseen = succeed("vault_leftovers", args, check_mode=True, diff=True)
    assert estate.tree == before
    reason = "a recovery point that was never published, or whose removal was interrupted"
    assert foreseen == {
        "changed": True,
        "leftovers": [
            {"kind": "point", "path": half, "reason": reason, "client": "web_01", "run_id": None, "bytes": 2048}
        ],
        "kept": [],
        "bytes": 2048,
        "summary": [f"leftover: {half}, {reason} (2.0 KiB)"],
        "diff": {"before": {"leftovers": [half]}, "after": {"leftovers": []}},
    }
    assert succeed("vault_leftovers", args, diff=True) == foreseen
    assert estate.tree == [path for path in before if not path.startswith(half)]
    assert succeed("vault_leftovers", args)["changed"] is False


def test_limit(succeed: Any, fail: Any, estate: Estate) -> None:
    temporary = Path(estate.vault.path, ".vault.json.new")
    temporary.touch()
    args = {"vault": estate.vault.path}
    assert succeed("vault_leftovers", {**args, "limit": "1h"})["changed"] is False
    assert succeed("vault_leftovers", {**args, "limit": "0"})["changed"] is True
    assert not temporary.exists()
    message = fail("vault_leftovers", {**args, "limit": "-1"})["msg"]
    assert message.startswith("limit: the string '-1' is not a duration: ")


def test_no_vault(fail: Any, tmp_path: Path) -> None:
    assert fail("vault_leftovers", {"vault": str(tmp_path)})["failure"]["kind"] == "NotAVaultError"
