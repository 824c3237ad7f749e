# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module proxy_check."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unit.transfer.builders import Estate

MARK = "12345678-abc"


def test_what_a_proxy_sees(succeed: Any, estate: Estate, tmp_path: Path) -> None:
    repositories = tmp_path / "seen"
    for name in ("0004fb0000030000aa", "0004fb0000030000bb", "lost+found"):
        (repositories / name).mkdir(parents=True)
    (repositories / "0004fb0000030000aa" / "VirtualDisks").mkdir()  # the other one is an empty mount point
    (repositories / "lost+found" / "x").touch()
    before = estate.tree
    args = {"vault": estate.vault.path, "repositories_path": str(repositories)}
    vault = {"path": estate.vault.path, "id": estate.vault.id}
    expected = {"vault": vault, "repositories": ["0004fb0000030000aa"], "clock": None}
    assert succeed("proxy_check", args) == {"changed": False, "proxy": expected}
    for state in ("present", "seen", "absent"):
        found = succeed("proxy_check", {**args, "mark": MARK, "state": state}, check_mode=True)
        assert found == ({"changed": False} if state == "absent" else {"changed": False, "proxy": expected})
    assert estate.tree == before


def test_marks(succeed: Any, fail: Any, estate: Estate) -> None:
    args = {"vault": estate.vault.path, "repositories_path": "/nowhere", "mark": MARK}
    path = estate.vault.path
    assert fail("proxy_check", args) == {
        "msg": f"What the host that plans has written into the vault is not in {path} here: all proxies need one "
        "vault, on storage that they share",
        "failure": {"kind": "NotAVaultError", "path": path},
    }
    for state in ("present", "seen"):
        found = succeed("proxy_check", {**args, "state": state})["proxy"]
        assert abs(found["clock"]["ahead"]) <= found["clock"]["error"] + 0.1
    assert succeed("proxy_check", {**args, "state": "absent"}) == {"changed": False}
    assert list(Path(path, "proxies").iterdir()) == []


def test_wrong_input(fail: Any, estate: Estate, tmp_path: Path) -> None:
    assert fail("proxy_check", {"vault": estate.vault.path, "state": "present"})["msg"].endswith("missing: mark")
    wrong = fail("proxy_check", {"vault": estate.vault.path, "mark": "../x"})
    assert wrong["failure"] == {"kind": "InvalidInputError", "option": "mark"}
    assert fail("proxy_check", {"vault": str(tmp_path)})["failure"]["kind"] == "NotAVaultError"
