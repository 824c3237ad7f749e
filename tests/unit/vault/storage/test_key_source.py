# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys from options, files and commands: what is no key is told, and never shown."""

from __future__ import annotations

import base64
import fcntl
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.ovm.backup.plugins.module_utils.errors import InvalidInputError, OvmBackupError, VaultKeyError
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage import key_source
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.key_source import read_key
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.recipients import parse_key

SECRET = base64.b64encode(b"S" * 32).decode()
ID = parse_key(SECRET, "key").id


def error(access: dict[str, Any], kind: type[OvmBackupError] = InvalidInputError, seconds: float = 60.0) -> str:
    with pytest.raises(kind) as found:
        read_key(access, seconds=seconds)
    assert "SSSS" not in repr(found.value) and SECRET[:8] not in repr((found.value, found.value.details))
    return found.value.message


def python(*lines: str) -> list[str]:
    return [sys.executable, "-c", "\n".join(("import fcntl, os, sys, time", *lines))]


def test_key_comes_from_an_option_a_file_or_a_command(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(f"{SECRET}\n")
    assert read_key({}) is None
    assert read_key({"encryption_key": None, "encryption_key_file": "", "region": "x"}) is None
    for access in (
        {"encryption_key": SECRET},
        {"encryption_key_file": str(path)},
        {"encryption_key_command": ["cat", str(path)]},
        {"encryption_key_command": f"cat '{path}'"},
    ):
        key = read_key(access)
        assert key is not None and (key.id, key.is_secret) == (ID, True)


def test_only_one_source_may_be_named() -> None:
    access = {"encryption_key": SECRET, "encryption_key_command": "true"}
    assert error(access).endswith("may be set, not encryption_key and encryption_key_command")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (SECRET[:-8], "encryption_key is no key: "),
        (
            base64.b64encode(b"S" * 16).decode(),
            "encryption_key is no key: it holds 16 bytes; it must be 32 random bytes",
        ),
        ("SSSS not base64 !", "encryption_key is no key: it must be 32 random bytes in base64"),
        (" \n", "encryption_key is empty: it must be"),
        (
            "-----BEGIN PRIVATE KEY-----\nSSSS\n-----END PRIVATE KEY-----",
            "encryption_key is no key: its PEM cannot be read",
        ),
    ],
)
def test_what_is_no_key_is_told_without_showing_it(text: str, wanted: str) -> None:
    assert error({"encryption_key": text}).startswith(wanted)


PUBLIC = """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VuAyEAaDLCvgAkN7ghUNLyMhLrR8rMQtLMkqyz2EfpmdFhQxY=
-----END PUBLIC KEY-----
"""
PRIVATE = """-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VuBCIEIFNTU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NT
-----END PRIVATE KEY-----
"""


def test_halves_of_keys_are_told_apart() -> None:
    assert "is the public half of a key, which opens nothing" in error({"encryption_key": PUBLIC})
    other = PRIVATE.replace("VuBC", "VwBC")
    assert "is a key of another kind than X25519" in error({"encryption_key": other})
    for text, wanted in ((PRIVATE, "is the private half of a key"), (SECRET, "is no public key")):
        with pytest.raises(InvalidInputError, match=wanted) as found:
            parse_key(text, "public_key", public=True)
        assert "SSSS" not in str(found.value) and "U1NT" not in str(found.value)
    assert not parse_key(PUBLIC, "public_key", public=True).is_secret


def test_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert error({"encryption_key_file": str(missing)}, VaultKeyError) == (
        f"encryption_key_file {missing} cannot be read: No such file or directory"
    )
    large = tmp_path / "large"
    large.write_bytes(b"S" * 20_000)
    assert error({"encryption_key_file": str(large)}, VaultKeyError).endswith("is longer than any key")


def test_command_that_fails_is_named_with_what_it_complained_of_but_not_its_arguments() -> None:
    failing = [*python("print('S' * 40)", "sys.exit('sealed: ask the operator')"), SECRET]
    assert error({"encryption_key_command": failing}, VaultKeyError) == (
        f"encryption_key_command {sys.executable} failed with status 1: sealed: ask the operator"
    )
    assert error({"encryption_key_command": "false x"}, VaultKeyError).endswith("failed with status 1: it said nothing")
    assert error({"encryption_key_command": ["/no/such/program", SECRET]}, VaultKeyError) == (
        "encryption_key_command /no/such/program cannot be run: No such file or directory"
    )
    assert error({"encryption_key_command": ["true"]}).startswith("What encryption_key_command true printed is empty")
    assert error({"encryption_key_command": "echo 'x"}) == "encryption_key_command is no command: No closing quotation"
    assert error({"encryption_key_command": ["yes", "SSSS"]}, VaultKeyError).endswith("printed more than any key has")


def test_command_that_hangs_ends_with_all_its_children(tmp_path: Path) -> None:
    held = tmp_path / "held"
    hanging = python(
        f"held = os.open({str(held)!r}, os.O_CREAT | os.O_RDWR)",
        "fcntl.flock(held, fcntl.LOCK_EX)",
        "os.set_inheritable(held, True)",
        "os.fork() or os.execvp('sleep', ['sleep', '60'])",
        "print('SSSS', flush=True)",
        "time.sleep(60)",
    )
    assert error({"encryption_key_command": hanging}, VaultKeyError, seconds=0.5).endswith("did not end within 0.5 s")
    with held.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # comes when both are gone


def test_missing_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_source, "missing_libraries", lambda *names: [(name, "") for name in names])
    assert "needs the Python library cryptography" in error({"encryption_key": SECRET}, VaultKeyError)
