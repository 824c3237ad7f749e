# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The vault: clients, their recovery points, and how a new point comes to be.

Most of the modules that open a vault read or write no disk: what that needs is loaded where it is done.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import CorruptVaultError, NotAVaultError, PointNotFoundError, VaultError
from . import format as fmt
from .access import VaultAccess
from .attaching import access_to, attach
from .carried_script import carry_scripts, is_script
from .files import (
    create_json,
    entries,
    exists,
    file_entry,
    is_temporary,
    listing,
    make_directory,
    read_file,
    read_json,
    remove_tree,
    unreadable,
    write_json,
)
from .lock import ClientLock
from .manifest import MANIFEST_NAME, Point, PointDisk, is_point_id, look_at_manifest, read_manifest, sequence_of
from .removal import clear_away
from .storage.failures import vault_errors
from .storage.plain import KEYS_NAME, SETTING, is_encrypted

if TYPE_CHECKING:
    from .chain import DiskChain
    from .point_writer import PointWriter

VAULT_NAME = "ovm.backup vault"
VAULT_VERSION = 1
Clock = Callable[[], float]


@dataclass(frozen=True)
class DamagedPoint:
    """A folder of a recovery point whose manifest cannot be trusted."""

    id: str
    sequence: int
    error: str


class Client:
    """A client's folder in the vault. Reading needs no lock, writing needs C(lock)."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.name = os.path.basename(directory)
        self.vault_path = os.path.dirname(os.path.dirname(directory))
        # Manifests never change: those that were listed are not read again for each point that builds on them.
        self._listed: dict[str, Point] = {}

    @property
    def is_registered(self) -> bool:
        """Return whether it is written down which VM the client is."""
        return exists(os.path.join(self.directory, "client.json"))

    @property
    def document(self) -> dict[str, Any]:
        """Return C(client.json): C(vm_id), C(vm_name) and the history C(names)."""
        path = os.path.join(self.directory, "client.json")
        try:
            document = read_json(path)
        except OSError as error:
            raise unreadable(path, error) from error
        if not isinstance(document, dict) or "vm_id" not in document:
            raise CorruptVaultError(f"{path} is damaged: it does not name a VM", path=path, offset=0)
        return document

    def scan(self) -> tuple[list[Point], list[DamagedPoint]]:
        """Return the recovery points in order, and those whose manifest is damaged."""
        points, damaged = [], []
        for name in self._folders():
            try:
                points.append(read_manifest(os.path.join(self.directory, name)))
            except PointNotFoundError:
                continue
            except CorruptVaultError as error:
                damaged.append(DamagedPoint(name, sequence_of(name), error.message))
        self._listed = {point.id: point for point in points}
        return sorted(points, key=lambda point: point.sequence), damaged

    def point(self, point_id: str = "latest") -> Point:
        """Return a recovery point by id, or the newest one; raise C(PointNotFoundError) or C(CorruptVaultError)."""
        if point_id != "latest":
            if not is_point_id(point_id):
                raise self._no_point(point_id)
            try:
                return read_manifest(os.path.join(self.directory, point_id))
            except PointNotFoundError as error:
                raise self._no_point(point_id) from error
        points, damaged = self.scan()
        newest = max(damaged, key=lambda bad: bad.sequence, default=None)
        if newest is not None and (not points or newest.sequence > points[-1].sequence):
            raise CorruptVaultError(
                f"The newest recovery point of client {self.name} is damaged: {newest.error}. Name an older point",
                path=os.path.join(self.directory, newest.id, MANIFEST_NAME),
                offset=0,
            )
        if not points:
            raise self._no_point(point_id)
        return points[-1]

    def newest_readable(self) -> Point | None:
        """Return the newest recovery point whose manifest can be trusted, or nothing; reads no more than it has to."""
        for name in sorted(self._folders(), key=sequence_of, reverse=True):
            with contextlib.suppress(PointNotFoundError, CorruptVaultError):
                return read_manifest(os.path.join(self.directory, name))
        return None

    def disk_files(self, point: Point, disk: PointDisk) -> list[tuple[str, str, int]]:
        """Return (path, header hash, size) of the files that make up a disk, newest first."""
        files = []
        while True:
            files.append((os.path.join(self.directory, point.id, disk.file), disk.header_hash, disk.file_size))
            if disk.base is None:
                return files
            point, disk = self.base_of(point, disk)

    def base_of(self, point: Point, disk: PointDisk) -> tuple[Point, PointDisk]:
        """Return what a disk of a point that is no full builds on."""
        base = self._listed.get(str(disk.base)) or self.point(str(disk.base))
        found = base.disk(disk.disk_id)
        if found is None or base.sequence >= point.sequence:
            path = os.path.join(self.directory, base.id, MANIFEST_NAME)
            raise CorruptVaultError(
                f"{path} is damaged: it is the base of {point.id} but does not hold disk {disk.disk_id}",
                path=path,
                offset=0,
            )
        return base, found

    def open_disk(self, point: Point, disk: PointDisk) -> DiskChain:
        """Open a disk as of a point, for reading anywhere in it."""
        from .chain import open_chain

        return open_chain([(path, header_hash) for path, header_hash, _size in self.disk_files(point, disk)])

    def problem_of(self, point: Point) -> str | None:
        """Return why a point cannot be built upon, or nothing; looks at all but the data.

        For many points of a client C(Health) does the same without looking at anything twice.
        """
        from .health import Health

        return Health(self).problem_of(point)

    def last_full(self, point: Point, disk: PointDisk) -> tuple[Point, PointDisk]:
        """Return the full or synthetic full of a disk that its state in C(point) comes from: its most recent one.

        There is none between, because whatever is added to a client builds on its newest point or starts anew.
        """
        while disk.base is not None:
            point, disk = self.base_of(point, disk)
        return point, disk

    def read_file(self, point: Point, kind: str) -> bytes:
        """Return a file of the configuration (C(vm_cfg) or C(vm_json)), checked against its hash."""
        entry = point.configuration.get(kind)
        if entry is None:
            raise PointNotFoundError(f"Recovery point {point.id} of client {self.name} holds no {kind}", point=point.id)
        path = os.path.join(self.directory, point.id, str(entry["file"]))
        try:
            data = read_file(path)
        except OSError as error:
            raise unreadable(path, error) from error
        if fmt.digest(data) != entry["blake3"]:
            raise CorruptVaultError(f"{path} is damaged: its content has another hash", path=path, offset=0)
        return data

    def lock(self, *, owner: str, run_id: str, **options: Any) -> ClientLock:
        """Return the lock of this client for a run; which VM it is about is noted in it. The options are its own."""
        return ClientLock(self.directory, owner=owner, run_id=run_id, **options)

    def unpublished(self) -> list[str]:
        """Return the folders that interrupted runs left, or that a run is filling at this moment."""
        return [name for name in self._folders() if self._is_unpublished(os.path.join(self.directory, name))]

    def remove_unpublished(self) -> list[str]:
        """Remove what interrupted runs left, and return the names. Only the holder of the lock may call this."""
        return [name for name in self.unpublished() if clear_away(os.path.join(self.directory, name))]

    def new_point(self, *, now: float, level: int = 1) -> PointWriter:
        """Begin a recovery point. Only the holder of the lock may call this."""
        from .disk_writer import FrameCompressor
        from .point_writer import PointWriter

        sequence = max((sequence_of(name) for name in self._folders()), default=0) + 1
        point_id = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}-{sequence:04d}"
        directory = os.path.join(self.directory, point_id)
        try:
            make_directory(directory)
        except VaultError:
            with contextlib.suppress(VaultError):
                remove_tree(directory)
            raise
        return PointWriter(directory, point_id, sequence, FrameCompressor(level))

    def _is_unpublished(self, directory: str) -> bool:
        """Return whether it is certain that there is no manifest: an I/O error must never let a point be removed."""
        with vault_errors("look at", directory):
            try:
                look_at_manifest(directory, file_entry)
            except FileNotFoundError:
                return True
            except NotADirectoryError:
                return False
        return False

    def _folders(self) -> list[str]:
        try:
            return [name for name in listing(self.directory) if is_point_id(name)]
        except FileNotFoundError as error:
            raise PointNotFoundError(
                f"Cannot list {self.directory}: {error.strerror}", path=self.directory, client=self.name
            ) from error
        except OSError as error:
            raise unreadable(self.directory, error, "list") from error

    def _no_point(self, point_id: str) -> PointNotFoundError:
        points, damaged = self.scan()
        known = [(point.sequence, point.id) for point in points] + [(bad.sequence, bad.id) for bad in damaged]
        text = f"the newest is {max(known)[1]}" if known else "it has none"
        return PointNotFoundError(
            f"Client {self.name} has no recovery point {point_id!r}; {text}", client=self.name, point=point_id
        )


class Vault:
    """A vault in a directory, which may be an NFS mount. Get one by C(open) or C(create)."""

    def __init__(self, path: str, settings: dict[str, Any]) -> None:
        self.path = path
        self.settings = settings

    @property
    def id(self) -> str:
        """Return the id that the vault got when it was made."""
        return str(self.settings["id"])

    @property
    def encrypted(self) -> bool:
        """Return whether its files are encrypted."""
        return is_encrypted(self.settings)

    @classmethod
    def open(cls, path: str, access: VaultAccess | None = None) -> Vault:
        """Return the vault at C(path), a directory or C(s3://BUCKET/PREFIX), for this process.

        Raises C(NotAVaultError) for anything else, so a missing mount is noticed, and C(VaultKeyError) when it is
        encrypted and the key is missing or wrong.
        """
        attach(path, access)
        name = os.path.join(path, "vault.json")
        try:
            settings = read_json(name)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotAVaultError(
                f"{path} is not a vault: there is no {name}. Is the file system mounted? "
                "A new vault is made by the ovm.backup.vault module or playbook",
                path=path,
            ) from error
        except OSError as error:
            raise NotAVaultError(f"Cannot read {name}: {error.strerror}", path=path) from error
        if not isinstance(settings, dict) or settings.get("format") != VAULT_NAME or "id" not in settings:
            raise NotAVaultError(f"{path} is not a vault: {name} does not say so", path=path)
        if settings.get("version") != VAULT_VERSION:
            raise NotAVaultError(
                f"{path} has vault version {settings.get('version')!r}, this version of the collection knows "
                f"{VAULT_VERSION}",
                path=path,
            )
        if is_encrypted(settings) or access_to(path).gives_key:
            from .encrypting import unlock

            unlock(path, settings)
        return cls(path, settings)

    @classmethod
    def check_new(cls, path: str) -> None:
        """Raise C(NotAVaultError) unless a vault can be made at C(path): the directory is missing or empty."""
        try:
            found = listing(path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise NotAVaultError(f"Cannot make a vault at {path}: {error.strerror}", path=path) from error
        found = [name for name in found if name != "lost+found" and not _is_left_over(path, name)]
        if found:
            raise NotAVaultError(
                f"Cannot make a vault at {path}: the directory holds other things ({', '.join(found[:3])})", path=path
            )

    @classmethod
    def create(
        cls, path: str, access: VaultAccess | None = None, *, encrypted: bool = False, clock: Clock = time.time
    ) -> Vault:
        """Make a vault in a missing or empty directory, or below a prefix of a bucket that holds nothing."""
        from .encrypting import encrypt, key_of_new

        attach(path, access)
        cls.check_new(path)
        key = key_of_new(path, encrypted=encrypted)
        make_directory(path)
        make_directory(os.path.join(path, "clients"))
        make_directory(os.path.join(path, "jobs"))
        settings = {"format": VAULT_NAME, "version": VAULT_VERSION, "id": str(uuid.uuid4()), "created": clock()}
        if key is not None:
            settings[SETTING] = encrypt(path, key, clock)
        carry_scripts(path, encrypted=encrypted)
        create_json(os.path.join(path, "vault.json"), settings)  # not over that of another who makes one, too
        return cls(path, settings)

    def clients(self) -> list[Client]:
        """Return the clients that have a folder with C(client.json), by name."""
        return [one for one in self.client_folders() if one.is_registered]

    def client_folders(self) -> list[Client]:
        """Return all folders of clients, also of those that have no recovery point yet."""
        parent = os.path.join(self.path, "clients")
        try:
            return [Client(os.path.join(parent, entry.name)) for entry in entries(parent) if entry.is_folder]
        except OSError as error:
            raise NotAVaultError(f"Cannot list {parent}: {error.strerror}", path=self.path) from error

    def client(self, name: str) -> Client:
        """Return a client by its name; raise C(PointNotFoundError) when it is unknown."""
        client = self.client_folder(name)
        if not client.is_registered:
            raise PointNotFoundError(f"The vault {self.path} has no client {name!r}", client=name)
        return client

    def client_folder(self, name: str) -> Client:
        """Return the folder of a client, whether it exists or not."""
        return Client(self._directory(name))

    def prepare_client(self, name: str) -> Client:
        """Return the client's folder, made if need be. Take its lock, then call C(register)."""
        client = self.client_folder(name)
        make_directory(client.directory)
        return client

    def register(self, client: Client, *, vm_id: str, vm_name: str, now: float) -> None:
        """Write down which VM the client is; a new name of the VM is added to the history."""
        path = os.path.join(client.directory, "client.json")
        document: dict[str, Any] = {"vm_id": vm_id, "vm_name": vm_name, "registered": now, "names": []}
        if client.is_registered:
            document = client.document
            if document["vm_id"] != vm_id:
                raise VaultError(
                    f"Client {client.name} belongs to VM {document['vm_id']} ({document.get('vm_name')}), not to "
                    f"{vm_id} ({vm_name}): plan again to get another client name",
                    path=path,
                )
            if document.get("vm_name") == vm_name:
                return
        document["names"] = [*document.get("names", ()), {"name": vm_name, "since": now}]
        document["vm_name"] = vm_name
        write_json(path, document)

    def _directory(self, name: str) -> str:
        if not name or name in (".", "..") or "/" in name or "\0" in name:
            raise PointNotFoundError(f"{name!r} is not the name of a client", client=name)
        return os.path.join(self.path, "clients", name)


def _is_left_over(path: str, name: str) -> bool:
    """Return whether an interrupted C(Vault.create) may have left this."""
    if is_temporary(name):
        return name.startswith((".vault.json.", ".keys.json.", ".restore.py.", ".decrypt.py."))
    with contextlib.suppress(OSError):
        if name in ("clients", "jobs"):
            return not listing(os.path.join(path, name))
    # Keys that encrypt nothing yet. Who has one of them may go on with the vault (see create_keys).
    return name == KEYS_NAME or is_script(os.path.join(path, name))
