# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Every failure that the engine raises on purpose, in one tree.

A message says what was attempted, on which object, why it failed and what would be right. The keyword arguments are
the same facts in a form that programs can read; they must never hold a secret.
"""

from __future__ import annotations

from typing import Any


class OvmBackupError(Exception):
    """Base of all failures of the engine. C(retryable) ones may pass by themselves: the same again can succeed."""

    retryable = False

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def add(self, text: str) -> None:
        """Say more, behind what is said already."""
        self.message += text
        self.args = (self.message,)

    def as_failure(self) -> dict[str, Any]:
        """Return the structured cause: C(kind) is the class name, the rest are the details that are known.

        C(retryable) is there only where it is true.
        """
        known = {key: value for key, value in self.details.items() if value is not None}
        return {"kind": type(self).__name__, **({"retryable": True} if self.retryable else {}), **known}


class InvalidInputError(OvmBackupError):
    """A value from the user is wrong; nothing has been touched."""


# --- manager ---------------------------------------------------------------------------------------------------------


class ManagerError(OvmBackupError):
    """Base of what goes wrong with Oracle VM Manager."""


class ManagerUnreachableError(ManagerError):
    """No connection, a time limit of the transport, or a connection that broke."""

    retryable = True


class ManagerCertificateError(ManagerError):
    """The TLS certificate of the manager is not the one that we were told to trust."""


class AuthenticationError(ManagerError):
    """The manager refused the user name or password."""


class ManagerResponseError(ManagerError):
    """The manager answered with something that is not its API, or with an error that has no class of its own.

    Details: C(status) (HTTP), C(error_code) (as C(GEN_000001)), where known.
    """


class NotFoundError(ManagerError):
    """The object does not exist on the manager."""


class ConflictError(ManagerError):
    """The object is locked, out of date or otherwise busy, also after the retries."""

    retryable = True


class JobFailedError(ManagerError):
    """A job of the manager ended in failure. Details: C(job_id), C(job_name), C(error_type), C(error_code)."""

    retryable = True


class JobTimeoutError(ManagerError):
    """A job of the manager did not end in time; it may still be running. Details: C(job_id), C(job_name)."""


class OwnershipError(ManagerError):
    """An object on the manager cannot be proved to be ours, so it is not touched."""


class PowerStateError(ManagerError):
    """A VM did not reach the wanted power state. Details: C(vm_id), C(state)."""


# --- planning --------------------------------------------------------------------------------------------------------


class SubclientError(InvalidInputError):
    """The definition of a subclient is wrong. Details: C(subclient), C(key), C(value)."""


class ProxyError(OvmBackupError):
    """No proxy of the group can take part in a run. Details: C(proxies)."""


class NothingSelectedError(InvalidInputError):
    """A content rule selects no VM and the subclient does not allow that."""


# --- transfer --------------------------------------------------------------------------------------------------------


class SourceError(OvmBackupError):
    """A source image is missing, unreadable, shrinks or changes while it is read. Details: C(path), C(offset)."""

    retryable = True


class ChangeDetectionError(OvmBackupError):
    """What extent maps call unchanged is not: nothing is stored, and the next backup is a full. Details: C(path),
    C(offset).
    """

    retryable = True


class TargetError(OvmBackupError):
    """A restore target cannot be written. Details: C(path)."""


class OutageLimitError(OvmBackupError):
    """A VM was down for its backup as long as it may be, so the backup was given up. Details: C(seconds)."""


class JobStoppedError(OvmBackupError):
    """So many VMs of the job have failed that no other one is begun with. Details: C(job_id)."""


# --- images ----------------------------------------------------------------------------------------------------------


class ServerError(OvmBackupError):
    """Base of what goes wrong with ssh to a server. Details: C(server), C(address), C(output) (what ssh said)."""


class ServerUnreachableError(ServerError):
    """No connection to the server, or it was lost, or nothing came for too long."""

    retryable = True


class HostKeyError(ServerError):
    """The server's host key is unknown, or not the one that is known."""


class ServerAuthenticationError(ServerError):
    """The server does not let us in with this user and key, or sudo refuses."""


class ServerAlgorithmError(ServerError):
    """Client and server have no algorithm in common: an old server, or a strict policy of the proxy."""


class ServerToolError(ServerError):
    """A program that we need is not there or does not answer as it should, on the server or on the proxy."""


# --- vault -----------------------------------------------------------------------------------------------------------


class VaultError(OvmBackupError):
    """Base of what goes wrong with the vault. Details: C(path)."""


class NotAVaultError(VaultError):
    """The directory is missing, is not a vault, or has a format that this version does not know."""


class VaultWriteError(VaultError):
    """The vault cannot be written: full, read-only, or an I/O error. Details: C(errno)."""


class VaultLockedError(VaultError):
    """Another run writes to the client. Details: C(holder) with owner, host, pid, run id and times."""


class CorruptVaultError(VaultError):
    """Data in the vault is not what was written. Details: C(path), C(offset) in bytes."""


class VaultKeyError(VaultError):
    """The key of an encrypted vault is missing, is not one of its keys, or cannot be had. Details: C(recipients), the
    ids of its keys, and C(key), the id of the one that was given.
    """


class PointNotFoundError(VaultError):
    """No such client or recovery point. Details: C(client), C(point)."""


# --- guest -----------------------------------------------------------------------------------------------------------


class ServingError(OvmBackupError):
    """A recovery point cannot be served as a block device. Details: C(package) (to install), C(output), C(path)."""


class ApplianceError(OvmBackupError):
    """The appliance that looks into a guest's disks does not start, or failed. Details: C(package), C(output)."""


class GuestFileError(OvmBackupError):
    """The disks of a guest hold no such file system or file, or it cannot be read. Details: C(path)."""


# --- export ----------------------------------------------------------------------------------------------------------


class BootTestError(OvmBackupError):
    """A boot test cannot be made: there is no qemu, or it fails. Details: C(package), C(output)."""


# --- reporting -------------------------------------------------------------------------------------------------------


class ReportError(OvmBackupError):
    """A report cannot be written or compared with what is there. Details: C(path)."""
