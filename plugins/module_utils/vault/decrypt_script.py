# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decrypt the vault in which this script lies, with nothing but Python and its library cryptography.

    python3 decrypt.py --key-file FILE                       check the key, and list the clients
    python3 decrypt.py --key-file FILE DIRECTORY             decrypt the whole vault into a new directory
    python3 decrypt.py --key-file FILE DIRECTORY CLIENT ...  only these clients

It needs none of the software that made the vault. DIRECTORY becomes a vault that is not encrypted: its restore.py, and
zstd -dc, work there. The key is one of those that open the vault, as a file (- reads standard input) or in the
environment variable OVM_VAULT_ENCRYPTION_KEY: 32 bytes in base64, or an X25519 key in PEM. A vault in a bucket is
copied into a directory first, with any tool.

Every byte is authenticated. A file that is damaged is named and left out, the others are decrypted.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import hmac
import json
import os
import shutil
import signal
import struct
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

InvalidTag: Any = None
AESGCM: Any = None
with contextlib.suppress(ImportError):
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

VERSION = 1  # an older script in a vault gives way to a newer one
HEADER = struct.Struct("<8sII8s32s16s")  # magic, version, chunk size, id of the data key, salt, check
CHUNK, TAG = 65536, 16
ONCE = bytes(12)
CONTEXT = {
    "file": b"ovm.backup 2026 encrypted file",
    "data key": b"ovm.backup 2026 id of a data key",
    "mac": b"ovm.backup 2026 keys.json",
}
KEY_ID = {"symmetric": b"ovm.backup 2026 id of a symmetric key", "x25519": b"ovm.backup 2026 id of an x25519 key"}
WRAP = {"symmetric": b"ovm.backup 2026 wrap symmetric", "x25519": b"ovm.backup 2026 wrap x25519"}


class DecryptError(Exception):
    """What an administrator is told."""


def derive(secret: bytes, length: int, context: bytes, salt: bytes = bytes(32)) -> bytes:
    """Return HKDF-SHA256 (RFC 5869)."""
    key, block, found = hmac.new(salt, secret, hashlib.sha256).digest(), b"", b""
    while len(found) < length:
        block = hmac.new(key, block + context + bytes([len(found) // 32 + 1]), hashlib.sha256).digest()
        found += block
    return found[:length]


def read_json(path: str) -> Any:
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        raise DecryptError(f"Cannot read {path}: {getattr(error, 'strerror', None) or error}") from error


class Key:
    """The key that was given; its secret is never shown."""

    def __init__(self, text: str) -> None:
        try:
            if text.startswith("-----BEGIN "):
                private = load_pem_private_key(text.encode(), password=None)
                if not isinstance(private, X25519PrivateKey):
                    raise ValueError
                self.kind, self.private = "x25519", private
                self.public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
            else:
                self.kind, self.secret = "symmetric", base64.b64decode(text, validate=True)
                if len(self.secret) != 32:
                    raise ValueError
        except Exception:  # it might quote the key
            raise DecryptError("The key is neither 32 bytes in base64 nor the private half of an X25519 key") from None
        self.id = derive(self.public if self.kind == "x25519" else self.secret, 8, KEY_ID[self.kind]).hex()

    def unwrap(self, wrapped: dict[str, str], data_key: str) -> bytes:
        salt, content = (base64.b64decode(wrapped[name], validate=True) for name in ("salt", "wrapped"))
        if self.kind == "x25519":
            secret, salt = self.private.exchange(X25519PublicKey.from_public_bytes(salt)), salt + self.public
        else:
            secret = self.secret
        once = derive(secret, 32, WRAP[self.kind] + bytes.fromhex(data_key), salt)
        data: bytes = AESGCM(once).decrypt(ONCE, content, None)
        return data


def data_keys(path: str, key: Key) -> dict[bytes, bytes]:
    """Return the data keys of a vault by their ids."""
    found = read_json(path)
    try:
        if (found["format"], found["version"]) != ("ovm.backup vault keys", 1):
            raise DecryptError(f"{path} has a format that this script does not know")
        known = {one["id"]: one for one in found["recipients"]}
        if key.id not in known:
            names = ", ".join(f"{one['id']} ({one['name']}, {one['kind']})" for one in known.values())
            raise DecryptError(f"The key {key.id} does not open this vault, which opens with: {names}")
        opened = {name: key.unwrap(wrapped, name) for name, wrapped in known[key.id]["data_keys"].items()}
        if {derive(one, 8, CONTEXT["data key"]).hex() for one in opened.values()} != set(found["data_keys"]):
            raise DecryptError(f"{path} is damaged: key {key.id} does not open all data keys")
        body = json.dumps({name: found[name] for name in found if name != "mac"}, sort_keys=True, separators=(",", ":"))
        mac = hmac.new(derive(opened[found["current"]], 32, CONTEXT["mac"]), body.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(mac, str(found["mac"])):
            raise DecryptError(f"{path} is damaged: it is not what the holder of a key has written")
        return {bytes.fromhex(name): one for name, one in opened.items()}
    except (InvalidTag, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DecryptError(f"{path} is damaged ({type(error).__name__}: {error})") from error


def read(path: str, source: BinaryIO, length: int) -> bytes:
    """Read on in a file of the vault; one that cannot be read is as bad as one that is damaged."""
    try:
        return source.read(length)
    except OSError as error:
        raise DecryptError(f"{path} cannot be read: {error.strerror}") from None


def decrypt(path: str, source: BinaryIO, keys: dict[bytes, bytes]) -> Iterator[bytes]:
    """Yield the content of an encrypted file. It is whole if this ends without an error."""
    header = read(path, source, HEADER.size)
    if len(header) < HEADER.size or header[:8] != b"OVMCRYPT":
        raise DecryptError(f"{path} is damaged at offset 0: it is no encrypted file")
    _magic, version, chunk, key_id, salt, check = HEADER.unpack(header)
    if (version, chunk) != (1, CHUNK) or key_id not in keys:
        raise DecryptError(
            f"{path} has version {version}, chunks of {chunk} bytes and data key {key_id.hex()}: not known"
        )
    derived = derive(keys[key_id], 48, CONTEXT["file"] + header[:-16], salt)
    if not hmac.compare_digest(derived[32:], check):
        raise DecryptError(f"{path} is damaged at offset 0: its header is not what was written")
    cipher, number, stored = AESGCM(derived[:32]), 0, read(path, source, CHUNK + TAG)
    while True:
        following = read(path, source, CHUNK + TAG)
        nonce = number.to_bytes(11, "big") + (b"\0" if following else b"\1")
        try:
            yield cipher.decrypt(nonce, stored, None)
        except (InvalidTag, ValueError):
            at = HEADER.size + number * (CHUNK + TAG)
            raise DecryptError(f"{path} is damaged at offset {at}: it is not what was written there") from None
        if not following:
            return
        number, stored = number + 1, following


def wanted(vault: str, clients: list[str]) -> Iterator[str]:
    """Yield the paths in the vault of the files to decrypt; the manifest of a recovery point after its other files."""
    tops = [os.path.join("clients", name) for name in clients] if clients else ["clients", "jobs"]
    for top in tops:
        for folder, folders, names in os.walk(os.path.join(vault, top)):
            folders.sort()
            for name in sorted(names, key=lambda name: (name == "point.json", name)):
                # Locks are for runs, and what has a temporary name was never finished.
                if not name.startswith(".") and not name.endswith(".new") and name != "lock.json":
                    yield os.path.relpath(os.path.join(folder, name), vault)


def write(path: str, content: Iterator[bytes]) -> None:
    """Write a new file, which has its name when it is complete."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    unfinished = f"{path}.decrypting"
    with open(unfinished, "xb") as file:
        try:
            for data in content:
                file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.rename(unfinished, path)
        except BaseException:
            os.unlink(unfinished)
            raise


def opened(path: str) -> BinaryIO:
    """Open a file of the vault, likewise."""
    try:
        return open(path, "rb")
    except OSError as error:
        raise DecryptError(f"{path} cannot be read: {error.strerror}") from None


def decrypt_vault(vault: str, keys: dict[bytes, bytes], directory: str, clients: list[str]) -> list[str]:
    """Decrypt a vault into a new directory; return what is wrong with the files that could not be decrypted."""
    if os.path.lexists(directory) and (not os.path.isdir(directory) or os.listdir(directory)):
        raise DecryptError(f"{directory} is there and not an empty directory: name a new one")
    os.makedirs(directory, mode=0o700, exist_ok=True)
    names = list(wanted(vault, clients))
    needed = sum(os.stat(os.path.join(vault, name)).st_size for name in names)
    free = shutil.disk_usage(directory).free
    if needed > free:
        raise DecryptError(f"{directory} has no room for {needed} bytes: {free} are free")
    settings = {
        name: value for name, value in read_json(os.path.join(vault, "vault.json")).items() if name != "encryption"
    }
    failed = []
    for name in names:
        path = os.path.join(vault, name)
        try:
            with opened(path) as source:
                write(os.path.join(directory, name), decrypt(path, source, keys))
        except DecryptError as error:
            failed.append(str(error))
            say(str(error))
    if os.path.exists(os.path.join(vault, "restore.py")):
        shutil.copyfile(os.path.join(vault, "restore.py"), os.path.join(directory, "restore.py"))
    write(
        os.path.join(directory, "vault.json"), iter([json.dumps(settings, indent=2, sort_keys=True).encode() + b"\n"])
    )
    say(f"{len(names) - len(failed)} files are decrypted in {directory}, which nothing protects now")
    return failed


def say(text: str) -> None:
    sys.stdout.write("".join(char if char.isprintable() else "?" for char in text) + "\n")


def given_key(path: str | None) -> Key:
    if path is None:
        text = os.environ.get("OVM_VAULT_ENCRYPTION_KEY", "")
        if not text:
            raise DecryptError("Give the key: --key-file FILE, or the environment variable OVM_VAULT_ENCRYPTION_KEY")
    elif path == "-":
        text = sys.stdin.read(1 << 14)
    else:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read(1 << 14)
    return Key(text.strip())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", nargs="?")
    parser.add_argument("client", nargs="*")
    parser.add_argument("--vault", default=os.path.dirname(os.path.abspath(__file__)), help="default: where this is")
    parser.add_argument("--key-file", help="file that holds the key; - for standard input")
    parser.add_argument("--keys", help="copy of keys.json, if that of the vault is lost")
    given = parser.parse_args()
    # Names in the vault are UTF-8, whatever the locale says.
    if sys.getfilesystemencoding().lower() not in ("utf-8", "utf8"):
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.argv])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    if AESGCM is None:
        raise SystemExit("decrypt.py: there is no Python library cryptography: install it")
    try:
        settings = read_json(os.path.join(given.vault, "vault.json"))
        if settings.get("format") != "ovm.backup vault" or (settings.get("encryption") or {}).get("version") != 1:
            raise DecryptError(f"{given.vault} is not a vault that is encrypted in a way that this script knows")
        keys = data_keys(given.keys or os.path.join(given.vault, "keys.json"), given_key(given.key_file))
        known = sorted(os.listdir(os.path.join(given.vault, "clients")))
        for name in given.client:
            if name not in known:
                raise DecryptError(f"There is no client {name!r} in {given.vault}")
        if given.directory is None:
            for name in ("The key opens the vault. Its clients:", *known):
                say(name)
        elif decrypt_vault(given.vault, keys, given.directory, given.client):
            raise DecryptError("The files named above are damaged, and left out")
    except KeyboardInterrupt:
        raise SystemExit("decrypt.py: ended by a signal; what is decrypted so far stays") from None
    except (DecryptError, OSError) as error:
        raise SystemExit(f"decrypt.py: {error}") from error


if __name__ == "__main__":
    main()
