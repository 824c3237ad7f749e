# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What ssh and sudo say when they fail, and what that means."""

from __future__ import annotations

import re

from ..errors import (
    HostKeyError,
    ServerAlgorithmError,
    ServerAuthenticationError,
    ServerError,
    ServerToolError,
    ServerUnreachableError,
)
from .ssh import SshSettings

SSH_FAILED = 255  # the exit status of the client itself; others are those of the remote command
_SHOWN = 400

# In this order: the first that matches counts.
_HOST_KEY = re.compile(
    r"Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED|host key is known for"
    r"|host key .* (?:has )?changed"
)
_ALGORITHM = re.compile(
    r"no matching (?:host key type|key exchange method|cipher|MAC) found|no mutual signature|error in libcrypto"
    r"|Invalid key length|Bad server host key|Bad (?:SSH2? )?(?:key types|cipher spec|mac spec|KexAlgorithms)"
    r"|Unsupported KEX algorithm|Bad key types"
)
_KEY_FILE = re.compile(
    r"Load key \"[^\"]*\": .*|Identity file .* not accessible.*|Permissions \d+ for .* are too open\."
)
_AUTHENTICATION = re.compile(
    r"Permission denied \(|Too many authentication failures|No more authentication methods"
    r"|account is currently not available|Your account has expired|password has expired"
)
_SUDO = re.compile(
    r"sudo: .*(?:password is required|must have a tty|no tty present|not found|not allowed)|is not in the sudoers"
    r"|is not allowed to (?:execute|run)|may not run sudo"
)
_CLIENT = re.compile(
    r"Bad configuration option|terminating, \d+ bad configuration option|unknown option -- |Bad owner or permissions"
)
_BUSY = re.compile(
    r"Session open refused by peer|open failed: |Connection closed by|(?:kex|ssh)_exchange_identification"
)
_NOISE = re.compile(r"^(?:Warning: Permanently added|\*\* |@+$|$)")


def failure(output: str, status: int | None, settings: SshSettings, server: str, address: str) -> ServerError:
    """Return the error for a client that ended, or whose connection did; C(output) is what came on standard error.

    C(server) and C(address) are for the message. C(status) is None when the client was still running.
    """
    said = last_lines(output)
    details = {"server": server, "address": address, "output": said or None}
    who = f"server {server} ({address})"
    behind = f": {said}" if said else ""
    if _SUDO.search(output):
        return ServerAuthenticationError(
            f"sudo on {who} refuses user {settings.user}{behind}. It must run /bin/sh as root without a password and "
            "without a terminal; the guide on servers shows the rule",
            **details,
        )
    if status not in (SSH_FAILED, None):
        return ServerToolError(f"What was started on {who} ended with status {status}{behind}", **details)
    if _HOST_KEY.search(output):
        return HostKeyError(
            f"The host key of {who} is not trusted{behind}. Compare it with the key on the server, then add it to "
            f"{settings.known_hosts or '~/.ssh/known_hosts'} (ssh-keyscan), or set host_keys to accept_new",
            **details,
        )
    key = _KEY_FILE.search(output)
    if _AUTHENTICATION.search(output) and key:
        return ServerAuthenticationError(
            f"The key for user {settings.user} on {who} cannot be used: {key[0].rstrip('.')}. It must be a private key "
            "without a passphrase that only its owner can read, or one that an agent holds",
            **details,
        )
    if _ALGORITHM.search(output):
        return ServerAlgorithmError(
            f"The ssh client of the proxy and {who} have no algorithm in common{behind}. {_advice(settings)}", **details
        )
    if _AUTHENTICATION.search(output):
        hint = f". {_advice(settings)}" if not settings.legacy else ""
        which = settings.key_file or "the default key files and the agent"
        return ServerAuthenticationError(
            f"{who[0].upper()}{who[1:]} does not let user {settings.user} in with {which}{behind}{hint}", **details
        )
    if _CLIENT.search(output):
        return ServerToolError(f"The ssh client of the proxy does not start{behind}", **details)
    if _BUSY.search(output):
        behind += ". If that happens with many VMs at once, sshd's limits MaxStartups and MaxSessions are too low"
    what = "was lost" if status is None or not said else "failed"
    return ServerUnreachableError(f"The connection to {who} {what}{behind}", **details)


def last_lines(output: str) -> str:
    """Return the last lines that say something, as one."""
    lines = [line.strip() for line in output.replace("\r", "\n").split("\n")]
    return "; ".join([line for line in lines if not _NOISE.match(line)][-3:])[-_SHOWN:]


def _advice(settings: SshSettings) -> str:
    if settings.legacy:
        return (
            "A server of Oracle VM (OpenSSH 5.3) knows RSA keys with SHA-1 signatures only: use an RSA key of 2048 "
            "bits or more, and let the crypto policy of the proxy allow SHA-1 (update-crypto-policies --set "
            "DEFAULT:SHA1)"
        )
    return "If it is a server of Oracle VM (OpenSSH 5.3), use an RSA key and set legacy: true"
