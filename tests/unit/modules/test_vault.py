# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module vault."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from unit.vault.builders import stored_tree

ABSENT, PRESENT = {"state": "absent", "script": "due"}, {"state": "present", "script": "current"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vault"


def test_check_mode_makes_nothing(succeed: Any, path: Path) -> None:
    assert succeed("vault", {"vault": str(path)}, check_mode=True, diff=True) == {
        "changed": True,
        "vault": {"path": str(path), "id": None, "version": 1, "encrypted": False},
        "diff": {"before": ABSENT, "after": PRESENT},
    }
    assert not path.exists()


def test_made_once(succeed: Any, path: Path) -> None:
    first = succeed("vault", {"vault": str(path)}, diff=True)
    made = json.loads((path / "vault.json").read_bytes())
    assert str(uuid.UUID(made["id"])) == made["id"]
    assert first == {
        "changed": True,
        "vault": {"path": str(path), "id": made["id"], "version": 1, "encrypted": False},
        "diff": {"before": ABSENT, "after": PRESENT},
    }
    assert stored_tree(path) == ["clients", "jobs", "reserve", "restore.py", "vault.json"]
    unchanged = {**first, "changed": False, "diff": {"before": PRESENT, "after": PRESENT}}
    assert succeed("vault", {"vault": str(path)}, diff=True) == unchanged
    assert succeed("vault", {"vault": str(path)}, check_mode=True, diff=True) == unchanged
    del unchanged["diff"]
    assert succeed("vault", {"vault": str(path)}) == unchanged
    assert json.loads((path / "vault.json").read_bytes()) == made


def test_an_older_script_gives_way(succeed: Any, path: Path) -> None:
    succeed("vault", {"vault": str(path)})
    script = path / "restore.py"
    ours = script.read_bytes()
    script.write_bytes(b"VERSION = 0\n")
    foreseen = succeed("vault", {"vault": str(path)}, check_mode=True, diff=True)
    assert (foreseen["changed"], script.read_bytes()) == (True, b"VERSION = 0\n")
    assert foreseen["diff"] == {"before": {"state": "present", "script": "due"}, "after": PRESENT}
    assert succeed("vault", {"vault": str(path)}, diff=True) == foreseen
    assert script.read_bytes() == ours
    assert succeed("vault", {"vault": str(path)})["changed"] is False


def test_in_an_empty_directory(succeed: Any, path: Path) -> None:
    path.mkdir()
    (path / "lost+found").mkdir()
    assert succeed("vault", {"vault": str(path)})["changed"] is True


def test_path_from_the_environment(succeed: Any, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVM_VAULT", str(path))
    assert succeed("vault", {})["vault"]["path"] == str(path)


def test_missing_path(fail: Any) -> None:
    assert fail("vault", {}).get("failure") is None


@pytest.mark.parametrize("check_mode", [False, True])
def test_among_other_things(fail: Any, path: Path, check_mode: bool) -> None:
    path.mkdir()
    for name in ("z", "a", "m", "b"):
        (path / name).touch()
    assert fail("vault", {"vault": str(path)}, check_mode=check_mode) == {
        "msg": f"Cannot make a vault at {path}: the directory holds other things (a, b, m)",
        "failure": {"kind": "NotAVaultError", "path": str(path)},
    }
    assert stored_tree(path) == ["a", "b", "m", "z"]


@pytest.mark.parametrize("check_mode", [False, True])
def test_in_a_file(fail: Any, path: Path, check_mode: bool) -> None:
    path.touch()
    assert fail("vault", {"vault": str(path)}, check_mode=check_mode) == {
        "msg": f"Cannot make a vault at {path}: Not a directory",
        "failure": {"kind": "NotAVaultError", "path": str(path)},
    }


def test_vault_of_a_later_version(fail: Any, succeed: Any, path: Path) -> None:
    succeed("vault", {"vault": str(path)})
    document = json.loads((path / "vault.json").read_bytes())
    (path / "vault.json").write_text(json.dumps({**document, "version": 2}))
    assert fail("vault", {"vault": str(path)}) == {
        "msg": f"{path} has vault version 2, this version of the collection knows 1",
        "failure": {"kind": "NotAVaultError", "path": str(path)},
    }


def test_vault_that_is_damaged(fail: Any, succeed: Any, path: Path) -> None:
    succeed("vault", {"vault": str(path)})
    (path / "vault.json").write_text("{}")
    assert fail("vault", {"vault": str(path)})["msg"] == f"{path} is not a vault: {path}/vault.json does not say so"
    (path / "vault.json").write_text("")
    assert fail("vault", {"vault": str(path)})["failure"] == {
        "kind": "CorruptVaultError", "path": f"{path}/vault.json", "offset": 0,
    }  # fmt: skip


def test_where_nothing_can_be_made(fail: Any, path: Path) -> None:
    path.symlink_to("/proc/nothing/here")
    failure = fail("vault", {"vault": str(path)})["failure"]
    assert failure["kind"] == "VaultWriteError"
