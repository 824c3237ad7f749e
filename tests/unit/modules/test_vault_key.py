# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module vault_key. The keys themselves are tested in the vault room."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from unit.transfer.builders import NEXT_RUN, RUN, Estate, incremental, vm_plan
from unit.vault.builders import MIB, noise, stored_tree
from unit.vault.storage.test_key_source import PUBLIC

from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.recipients import parse_key

FIRST, SECOND, THIRD = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2, 3))


def named(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["name"], one["kind"]) for one in found["vault_keys"]["recipients"]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "encrypted"


@pytest.fixture
def args(succeed: Any, path: Path) -> dict[str, Any]:
    args = {"vault": str(path), "vault_access": {"encryption_key": FIRST}}
    assert succeed("vault", {**args, "encrypted": True})["vault"]["encrypted"] is True
    return args


def test_keys_are_added_renamed_and_removed(succeed: Any, fail: Any, args: dict[str, Any], path: Path) -> None:
    before = (path / "keys.json").read_bytes()
    add = {**args, "name": "second", "key": SECOND}
    foreseen = succeed("vault_key", add, check_mode=True, diff=True)
    assert (path / "keys.json").read_bytes() == before
    found = succeed("vault_key", add, diff=True)
    assert found["changed"] is foreseen["changed"] is True
    assert named(found) == named(foreseen) == [("first", "symmetric"), ("second", "symmetric")]
    assert found["diff"]["before"]["recipients"] == found["vault_keys"]["recipients"][:1]
    assert found["diff"]["after"] == found["vault_keys"]
    assert succeed("vault_key", add) == {"changed": False, "vault_keys": found["vault_keys"]}
    assert succeed("vault_key", args) == {"changed": False, "vault_keys": found["vault_keys"]}

    safe = succeed("vault_key", {**args, "name": "safe", "public_key": PUBLIC})
    assert named(safe)[2:] == [("safe", "x25519")]
    with_second = {**args, "vault_access": {"encryption_key": SECOND}}
    absent = {**with_second, "name": parse_key(FIRST, "key").id, "state": "absent"}
    assert named(succeed("vault_key", absent, check_mode=True))[0] == ("second", "symmetric")
    assert succeed("vault_key", absent)["changed"] is True
    assert succeed("vault_key", absent)["changed"] is False
    assert fail("vault_key", args)["failure"]["kind"] == "VaultKeyError"
    renamed = succeed("vault_key", {**with_second, "name": "2027", "key": SECOND})
    assert (renamed["changed"], named(renamed)) == (True, [("2027", "symmetric"), ("safe", "x25519")])


def test_data_key_is_replaced_when_it_is_old(succeed: Any, args: dict[str, Any], path: Path) -> None:
    first = succeed("vault_key", {**args, "max_age": "30d"})
    assert first["changed"] is False
    add = {**args, "name": "second", "key": SECOND, "max_age": "0"}
    foreseen = succeed("vault_key", add, check_mode=True)
    assert (foreseen["vault_keys"]["current"], foreseen["vault_keys"]["data_keys"][-1]["id"]) == (None, None)
    found = succeed("vault_key", add)
    ids = [one["id"] for one in found["vault_keys"]["data_keys"]]
    assert (len(ids), ids[0], ids[1]) == (2, first["vault_keys"]["current"], found["vault_keys"]["current"])
    third = succeed("vault_key", {**args, "max_age": "0", "other_keys": [SECOND]})
    assert len(third["vault_keys"]["data_keys"]) == 3
    opened = {**args, "vault_access": {"encryption_key": SECOND}}
    assert succeed("vault_key", opened)["vault_keys"] == third["vault_keys"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key": SECOND}, "key needs a name, by which people know the key"),
        ({"name": "x"}, "Which key is 'x'? Set one of public_key, key, key_file, key_command"),
        (
            {"name": "x", "state": "absent", "key": SECOND},
            "key is for a key that is added: remove one by its name or id",
        ),
        ({"name": "x", "key": "short"}, "key is no key: "),
        ({"name": "x", "key_file": "/no/such"}, "key_file /no/such cannot be read: No such file or directory"),
        ({"name": "x", "public_key": SECOND}, "public_key is no public key: "),
        ({"name": "first", "state": "absent"}, "Key 'first' of the vault "),
        ({"max_age": "soon"}, "max_age: "),
        ({"other_keys": ["short"]}, "other_keys[0] is no key: "),
    ],
)
def test_wrong_options_change_nothing(
    fail: Any, args: dict[str, Any], path: Path, options: dict[str, Any], message: str
) -> None:
    before = (path / "keys.json").read_bytes()
    found = fail("vault_key", {**args, **options})
    assert found["msg"].startswith(message) and SECOND not in json.dumps(found)
    assert (path / "keys.json").read_bytes() == before


def test_plain_vault_has_no_keys(succeed: Any, fail: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "plain")
    assert succeed("vault", {"vault": path})["vault"]["encrypted"] is False
    assert fail("vault_key", {"vault": path})["msg"] == f"The vault {path} is not encrypted: it has no keys"


def interrupt(path: Path) -> None:
    """Leave a vault as if its making had been interrupted: these are the last that are made."""
    for name in ("reserve", "vault.json"):
        (path / name).unlink()


def test_vault_is_made_encrypted_or_not(succeed: Any, fail: Any, path: Path) -> None:
    plain, key = {"vault": str(path)}, {"vault_access": {"encryption_key": FIRST}}
    for check_mode in (True, False):
        without = fail("vault", {**plain, "encrypted": True}, check_mode=check_mode)
        assert without["msg"].startswith(
            f"The vault {path} cannot be encrypted without a key. Give one of vault_access."
        )
        forgotten = fail("vault", {**plain, **key}, check_mode=check_mode)
        assert forgotten["msg"].startswith(f"The vault {path} is to be made without encryption, but a key was given")
    assert not path.exists()
    wanted = {**plain, **key, "encrypted": True}
    foreseen = succeed("vault", wanted, check_mode=True)
    made = succeed("vault", wanted)
    assert {**made["vault"], "id": None} == foreseen["vault"]
    assert stored_tree(path) == ["clients", "decrypt.py", "jobs", "keys.json", "reserve", "restore.py", "vault.json"]
    settings = json.loads((path / "vault.json").read_text())
    assert settings["encryption"] == {"format": "ovm.backup encrypted file", "version": 1}
    assert succeed("vault", wanted) == {**made, "changed": False}
    assert succeed("vault", {**plain, **key}) == {**made, "changed": False}
    assert fail("vault", {**plain, **key, "encrypted": False})["msg"] == (
        f"The vault {path} is encrypted, which cannot be changed: make another one"
    )
    interrupt(path)
    assert succeed("vault", wanted)["changed"] is True
    interrupt(path)
    other = {**wanted, "vault_access": {"encryption_key": THIRD}}
    assert fail("vault", other)["failure"]["kind"] == "VaultKeyError"


# --- all the way with modules ----------------------------------------------------------------------------------------


def test_modules_work_on_an_encrypted_vault(
    succeed: Any, fail: Any, args: dict[str, Any], path: Path, estate: Estate, tmp_path: Path
) -> None:
    backup = {**args, "repositories_path": str(estate.repositories)}
    states = [estate.image(0).read_bytes()]
    succeed("backup", {**backup, "plan": vm_plan(), "run_id": RUN})
    states.append(estate.change(0, MIB, noise(65536, 9)))
    succeed("backup", {**backup, "plan": incremental(vm_plan()), "run_id": NEXT_RUN})
    succeed("synthetic_full", {**args, "client": "web_01"})
    succeed("verify", args)
    points = succeed("recovery_point_info", args)["recovery_points"]
    assert [point["type"] for point in points] == ["full", "incremental", "synthetic_full"]
    assert [point["verification"]["ok"] for point in points] == [True, True, True]
    for number, point in enumerate(points):
        directory = tmp_path / point["id"]
        directory.mkdir()
        succeed("restore_image", {**args, "client": "web_01", "point": point["id"], "directory": str(directory)})
        (image,) = directory.glob("0-*.img")
        assert image.read_bytes() == states[min(number, 1)]
    removed = succeed("retention", {**args, "policy": {"keep_last": 1}})
    assert removed["changed"] is True
    for module in ("backup", "verify", "recovery_point_info", "retention"):
        wrong = {"plan": vm_plan(), "run_id": RUN} if module == "backup" else {}
        wrong.update({"policy": {"keep_last": 1}} if module == "retention" else {})
        refused = fail(module, {**wrong, "vault": str(path), "vault_access": {"encryption_key": SECOND}})
        assert refused["failure"]["kind"] == "VaultKeyError"
