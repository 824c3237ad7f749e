# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keys of an encrypted vault: who opens it, what is said to whom it does not open for, and how they change."""

from __future__ import annotations

import base64
import json
import subprocess
from typing import Any

import pytest
from unit.vault.storage.memory import MemoryStorage

from ansible_collections.ovm.backup.plugins.module_utils.errors import (
    CorruptVaultError,
    InvalidInputError,
    NotAVaultError,
    VaultKeyError,
)
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage import key_changes
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage import keys as engine
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.encryption import (
    encrypted_storage,
    encryption_setting,
    is_encrypted,
    unlocked,
)
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.keys import VaultKeys, create_keys, open_keys
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.recipients import Key, parse_key

ROOT, PATH = "/vault", "/vault/keys.json"


def symmetric(number: int) -> Key:
    return parse_key(base64.b64encode(bytes([number]) * 32).decode(), "key")


def openssl(*arguments: str, given: str = "") -> str:
    return subprocess.run(
        ["openssl", *arguments], input=given, check=True, capture_output=True, text=True, timeout=60
    ).stdout


PRIVATE = openssl("genpkey", "-algorithm", "X25519")
PUBLIC = openssl("pkey", "-pubout", given=PRIVATE)
DAILY, SECOND, OTHER = symmetric(1), symmetric(2), symmetric(3)
RECOVERY = parse_key(PRIVATE, "key")
RECOVERY_PUBLIC = parse_key(PUBLIC, "public_key", public=True)


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture
def keys(storage: MemoryStorage) -> VaultKeys:
    return create_keys(storage, ROOT, [("daily", DAILY), ("recovery", RECOVERY_PUBLIC)], clock=lambda: 5.0)


def document(storage: MemoryStorage) -> Any:
    return json.loads(storage.files[PATH])


def put(storage: MemoryStorage, found: Any) -> None:
    storage.files[PATH] = json.dumps(found).encode()


# --- opening ---------------------------------------------------------------------------------------------------------


def test_every_recipient_opens_the_same_data_key(storage: MemoryStorage, keys: VaultKeys) -> None:
    assert RECOVERY.id == RECOVERY_PUBLIC.id
    encrypted_storage(keys).write("/vault/a", b"content")
    for key in (DAILY, RECOVERY):
        opened = open_keys(storage, ROOT, key)
        assert opened.all() == keys.all()
        assert encrypted_storage(opened).read("/vault/a") == b"content"
    assert keys.document.describe() == {
        "current": keys.document.current,
        "data_keys": [{"id": keys.document.current, "created": 5.0}],
        "recipients": [
            {"id": DAILY.id, "kind": "symmetric", "name": "daily", "added": 5.0},
            {"id": RECOVERY.id, "kind": "x25519", "name": "recovery", "added": 5.0},
        ],
    }


def test_vault_gets_its_keys_once(storage: MemoryStorage, keys: VaultKeys) -> None:
    assert create_keys(storage, ROOT, [("daily", DAILY)]).all() == keys.all()  # after an interruption
    with pytest.raises(VaultKeyError, match="does not open the vault"):
        create_keys(storage, ROOT, [("daily", SECOND)])
    with pytest.raises(InvalidInputError, match="must be a symmetric one"):
        create_keys(storage, "/other", [("recovery", RECOVERY)])


def test_wrong_and_missing_keys_are_told_which_would_be_right(storage: MemoryStorage, keys: VaultKeys) -> None:
    opens = f"It opens with: {DAILY.id} (daily, symmetric), {RECOVERY.id} (recovery, x25519)"
    with pytest.raises(VaultKeyError) as wrong:
        open_keys(storage, ROOT, OTHER)
    assert wrong.value.message == f"The key that was given, {OTHER.id}, does not open the vault /vault. {opens}"
    assert wrong.value.details == {"path": ROOT, "recipients": [DAILY.id, RECOVERY.id], "key": OTHER.id}
    with pytest.raises(VaultKeyError) as missing:
        open_keys(storage, ROOT, None)
    assert missing.value.message == " ".join(
        ("The vault /vault is encrypted, and no key was given.", f"{engine.HOW_TO_GIVE}. {opens}")
    )
    with pytest.raises(VaultKeyError, match="does not open the vault"):
        open_keys(storage, ROOT, RECOVERY_PUBLIC)


def test_plain_vault_takes_no_key_and_an_unknown_encryption_is_refused(storage: MemoryStorage, keys: VaultKeys) -> None:
    assert not is_encrypted({"id": "x"})
    assert unlocked(storage, ROOT, {"id": "x"}, None) is storage
    with pytest.raises(VaultKeyError, match="The vault /vault is not encrypted, but a key was given"):
        unlocked(storage, ROOT, {"id": "x"}, DAILY)
    settings = {"encryption": encryption_setting()}
    assert is_encrypted(settings)
    unlocked(storage, ROOT, settings, DAILY).write("/vault/a", b"content")
    assert b"content" not in storage.files["/vault/a"]
    with pytest.raises(NotAVaultError, match="in a way that this version of the collection does not know"):
        unlocked(storage, ROOT, {"encryption": {"format": "rot13"}}, DAILY)


def test_missing_library_is_told_where_it_is_needed(
    storage: MemoryStorage, keys: VaultKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "missing_libraries", lambda *names: [(name, "") for name in names])
    with pytest.raises(VaultKeyError, match="this host needs the Python library cryptography"):
        open_keys(storage, ROOT, DAILY)


# --- damage and forgery ----------------------------------------------------------------------------------------------


def test_missing_or_damaged_keys_file_is_told(storage: MemoryStorage, keys: VaultKeys) -> None:
    good = storage.files[PATH]
    for bad in (b"", b"[]", b"{", good[:-20], good.replace(b'"version": 1', b'"version": 2')):
        storage.files[PATH] = bad
        with pytest.raises(CorruptVaultError, match=r"/vault/keys.json is damaged: it does not hold the keys"):
            open_keys(storage, ROOT, DAILY)
    del storage.files[PATH]
    with pytest.raises(CorruptVaultError, match=r"/vault/keys.json is missing: without it nothing can be read"):
        open_keys(storage, ROOT, DAILY)


def test_keys_file_that_others_have_changed_is_not_believed(storage: MemoryStorage, keys: VaultKeys) -> None:
    attacker = create_keys(MemoryStorage(), "/x", [("a", symmetric(9)), ("evil", RECOVERY_PUBLIC)])
    forged = json.loads(attacker.stored)["recipients"][1]
    for change in (
        lambda found: found["recipients"].append({**forged, "name": "evil", "data_keys": {}}),
        lambda found: found["recipients"].pop(),
        lambda found: found["recipients"][0].update(name="other"),
        lambda found: found.update(added_by_others=1),
    ):
        found = document(storage)
        change(found)
        storage.files[f"{ROOT}/changed"] = storage.files[PATH]
        good = storage.files[PATH]
        put(storage, found)
        with pytest.raises(CorruptVaultError, match="it is not what the holder of a key has written"):
            open_keys(storage, ROOT, DAILY)
        storage.files[PATH] = good
    found = document(storage)
    found["recipients"][0]["data_keys"] = forged["data_keys"]
    put(storage, found)
    with pytest.raises(CorruptVaultError, match=f"key {DAILY.id} does not open data key {found['current']}"):
        open_keys(storage, ROOT, DAILY)


# --- changes ---------------------------------------------------------------------------------------------------------


def save(keys: VaultKeys, *changed: Any) -> None:
    key_changes.save_keys(keys, *changed)


def test_added_key_opens_the_vault_and_a_removed_one_does_not(storage: MemoryStorage, keys: VaultKeys) -> None:
    changed = key_changes.add_recipient(keys, "second", SECOND, 6.0)
    save(keys, changed)
    opened = open_keys(storage, ROOT, SECOND)
    assert opened.all() == keys.all()
    assert key_changes.add_recipient(opened, "second", SECOND, 7.0) == opened.document  # no change
    renamed = key_changes.add_recipient(opened, "2027", SECOND, 7.0)
    assert [one.name for one in renamed.recipients] == ["daily", "recovery", "2027"]
    with pytest.raises(InvalidInputError, match="has a key named 'daily'"):
        key_changes.add_recipient(opened, "daily", OTHER, 7.0)
    assert key_changes.remove_recipient(opened, "nobody") == opened.document
    save(opened, key_changes.remove_recipient(opened, "daily"))
    with pytest.raises(VaultKeyError, match="does not open the vault"):
        open_keys(storage, ROOT, DAILY)
    assert open_keys(storage, ROOT, RECOVERY).all() == keys.all()


def test_recovery_key_lets_new_keys_in(storage: MemoryStorage, keys: VaultKeys) -> None:
    recovered = open_keys(storage, ROOT, RECOVERY)
    save(recovered, key_changes.add_recipient(recovered, "new", OTHER, 6.0))
    assert open_keys(storage, ROOT, OTHER).all() == keys.all()


def test_nobody_locks_themselves_out(keys: VaultKeys, storage: MemoryStorage) -> None:
    with pytest.raises(InvalidInputError, match="cannot be removed with itself"):
        key_changes.remove_recipient(keys, DAILY.id)
    with pytest.raises(InvalidInputError, match="is the last symmetric key"):
        key_changes.remove_recipient(open_keys(storage, ROOT, RECOVERY), "daily")


def test_new_data_key_is_for_what_is_written_from_now_on(storage: MemoryStorage, keys: VaultKeys) -> None:
    old = encrypted_storage(keys)  # of a run that goes on while the key is changed
    old.write("/vault/old", b"old")
    save(keys, *key_changes.rotate_data_key(keys, keys.document, [], 6.0))
    rotated = open_keys(storage, ROOT, DAILY)
    assert rotated.document.current != keys.document.current
    assert rotated.document.describe()["data_keys"] == [
        {"id": keys.document.current, "created": 5.0},
        {"id": rotated.document.current, "created": 6.0},
    ]
    new = encrypted_storage(rotated)
    new.write("/vault/new", b"new")
    assert storage.files["/vault/new"][16:24].hex() == rotated.document.current
    assert (new.read("/vault/old"), old.read("/vault/new")) == (b"old", b"new")
    assert encrypted_storage(open_keys(storage, ROOT, RECOVERY)).read("/vault/new") == b"new"


def test_new_data_key_needs_the_symmetric_keys(storage: MemoryStorage, keys: VaultKeys) -> None:
    save(keys, key_changes.add_recipient(keys, "second", SECOND, 6.0))
    opened = open_keys(storage, ROOT, DAILY)
    with pytest.raises(VaultKeyError, match=rf"cannot be wrapped for {SECOND.id} \(second\), a symmetric key"):
        key_changes.rotate_data_key(opened, opened.document, [OTHER], 7.0)
    save(opened, *key_changes.rotate_data_key(opened, opened.document, [SECOND], 7.0))
    assert open_keys(storage, ROOT, SECOND).all() == open_keys(storage, ROOT, RECOVERY).all()


def test_change_of_somebody_else_is_not_overwritten(storage: MemoryStorage, keys: VaultKeys) -> None:
    save(keys, key_changes.add_recipient(keys, "second", SECOND, 6.0))
    with pytest.raises(VaultKeyError, match="was changed by somebody else meanwhile"):
        save(keys, key_changes.add_recipient(keys, "other", OTHER, 6.0))
    assert [one["name"] for one in document(storage)["recipients"]] == ["daily", "recovery", "second"]


def test_file_is_read_when_the_keys_were_lost_meanwhile(storage: MemoryStorage, keys: VaultKeys) -> None:
    encrypted_storage(create_keys(storage, "/x", [("a", OTHER)])).write("/vault/a", b"x")
    del storage.files[PATH]
    with pytest.raises(OSError, match=r"keys.json is missing"):
        encrypted_storage(keys).read("/vault/a")


# --- secrets and the form --------------------------------------------------------------------------------------------


def test_no_secret_is_stored_or_shown(storage: MemoryStorage, keys: VaultKeys) -> None:
    secrets = [bytes([1]) * 32, *keys.all().values()]
    forms = [text for one in secrets for text in (one.hex(), base64.b64encode(one).decode(), repr(one))]
    forms.append(PRIVATE.splitlines()[1])
    shown = [repr(keys), repr(DAILY), repr(RECOVERY), repr(keys.document), storage.files[PATH].decode()]
    assert [(form, text) for form in forms for text in shown if form in text] == []
    assert repr(DAILY) == f"<symmetric key {DAILY.id}>"
    assert repr(RECOVERY_PUBLIC) == f"<x25519 key {RECOVERY.id}, public half>"


KNOWN_PRIVATE = """\
-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VuBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH
-----END PRIVATE KEY-----"""


def test_keys_files_are_opened_that_were_written_down_when_the_form_was_made(storage: MemoryStorage) -> None:
    put(storage, KNOWN)
    for key in (DAILY, parse_key(KNOWN_PRIVATE, "key")):
        assert open_keys(storage, ROOT, key).all() == {KNOWN["current"]: bytes(range(32))}


# Made by another program, like the known files: data key 00 01 .. 1f, private key 07 07 ..
KNOWN: dict[str, Any] = {
    "format": "ovm.backup vault keys",
    "version": 1,
    "current": "749f02d55f8cef88",
    "data_keys": {"749f02d55f8cef88": 5.0},
    "recipients": [
        {
            "id": "13587578aa68a424",
            "kind": "symmetric",
            "name": "daily",
            "added": 5.0,
            "data_keys": {
                "749f02d55f8cef88": {
                    "salt": "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=",
                    "wrapped": "Lfyj9RF/oSiHEETW+BV4YL9+v7n3gsHnd+z4lsKiA/tLy/kPH81fo6GKJR4Y4gId",
                }
            },
        },
        {
            "id": "b0691c71a278faf1",
            "kind": "x25519",
            "name": "recovery",
            "added": 5.0,
            "public": "E75P6uryBMf9M1j8nAByGIHRdCeBKCJ+xnTzf3/pe20=",
            "data_keys": {
                "749f02d55f8cef88": {
                    "salt": "V9tLNZ8jrl4Ubk4lEgVnBHIlBjSMFQwUdT0Mkz0E1CE=",
                    "wrapped": "gHQ51V/B3Djnalb1w7oiwgyBoOfTEd6y5lzv1P6ITLc+HTE+D9H+Sogon+Y0HqKI",
                }
            },
        },
    ],
    "mac": "c0f169365240126e7a20d0e6dd72436d6e0420c8f087f945c0cc25387251c2a3",
}
