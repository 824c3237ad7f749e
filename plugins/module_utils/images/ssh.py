# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""How servers are reached by ssh: the settings of a run, and the command line of the system's client.

The client of the system is used, because it still speaks to the servers of Oracle VM (OpenSSH 5.3), knows the keys,
agents and jump hosts of the user, and follows the policy of the proxy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .._reading import (
    Problems,
    kind_of,
    problem_details,
    problem_text,
    quoted,
    read_boolean,
    read_choice,
    read_count,
    read_mapping,
    read_number,
    read_string,
)
from ..errors import InvalidInputError

HOST_KEYS = ("strict", "accept_new", "off")
COMPARE = ("auto", "server", "proxy")
_STREAMS = 8  # sshd takes 10 sessions of one connection, and 10 connections that are not logged in yet
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._\-]*|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%[A-Za-z0-9]+)?")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._\-\\@]*")
_NO_PATH = re.compile(r"[\"$\x00-\x1f\x7f]")  # means something in a configuration of ssh, or cannot be quoted there


class Address(NamedTuple):
    """Where a server listens; without a port where the settings say it."""

    host: str
    port: int | None


@dataclass(frozen=True)
class SshSettings:
    """How a run reaches servers, and how much it may ask of them. Times are seconds; all is checked by C(parse)."""

    user: str = "root"
    port: int = 22
    key_file: str | None = None
    known_hosts: str | None = None
    host_keys: str = "strict"
    sudo: bool = False
    legacy: bool = False
    streams: int = 2
    connect_timeout: int = 15
    stall_timeout: int = 60
    compare: str = "auto"
    max_load: float = 2.0
    addresses: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, document: Any) -> SshSettings:
        """Return the settings that a user gave; what is not given, or empty, has its default.

        Raises C(InvalidInputError) with all that is wrong.
        """
        problems = Problems()
        given = read_mapping({} if document is None else document, "", list(_READERS), problems) or {}
        values = {
            name: read(given[name], name, problems) for name, read in _READERS.items() if given.get(name) is not None
        }
        if problems.found:
            raise InvalidInputError(
                problem_text("ssh", problems.found), option="ssh", **problem_details(problems.found)
            )
        return cls(**values)


def parse_address(text: str) -> Address:
    """Return the parts of C(host), C(host:port), C(IPv6) or C([IPv6]:port); raise C(InvalidInputError) for others."""
    bare, port = text.strip(), None
    bracketed = re.fullmatch(r"\[([^\[\]]*)\](?::(\d{1,5}))?", bare)
    plain = re.fullmatch(r"([^:\[\]]*)(?::(\d{1,5}))?", bare)
    found = bracketed or plain
    if found:
        bare, port = found[1], int(found[2]) if found[2] else None
    if not _HOST.fullmatch(bare) or (bracketed and ":" not in bare) or (port is not None and not 0 < port < 65536):
        raise InvalidInputError(
            f"{text!r} is not the address of a server: give HOST, HOST:PORT or [IPv6]:PORT", option="ssh.addresses"
        )
    return Address(bare, port)


def _read_user(value: Any, key: str, problems: Problems) -> str | None:
    user = read_string(value, key, problems)
    if user is not None and not _USER.fullmatch(user):
        problems.add(key, value, f"{quoted(user)} is not the name of a user")
    return user


def _read_path(value: Any, key: str, problems: Problems) -> str | None:
    path = read_string(value, key, problems)
    if path is not None and (_NO_PATH.search(path) or not path.startswith(("/", "~"))):
        problems.add(key, value, f"{quoted(path)} must be an absolute path without quotes and dollar signs")
    return path


def _read_addresses(value: Any, key: str, problems: Problems) -> dict[str, str]:
    if not isinstance(value, Mapping):
        what = "a mapping from the name or id of a server to its address"
        problems.add(key, value, f"must be {what}, not {kind_of(value)}")
        return {}
    found = {}
    for name, item in value.items():
        address = read_string(item, f"{key}.{name}", problems)
        if address is None:
            continue
        try:
            parse_address(address)
        except InvalidInputError as error:
            problems.add(f"{key}.{name}", item, error.message)
        found[str(name)] = address
    return found


_READERS: dict[str, Any] = {
    "user": _read_user,
    "port": lambda value, key, problems: read_count(value, key, problems, at_least=1, at_most=65535),
    "key_file": _read_path,
    "known_hosts": _read_path,
    "host_keys": lambda value, key, problems: read_choice(value, key, "a way to check host keys", HOST_KEYS, problems),
    "sudo": read_boolean,
    "legacy": read_boolean,
    "streams": lambda value, key, problems: read_count(value, key, problems, at_least=1, at_most=_STREAMS),
    "connect_timeout": lambda value, key, problems: read_count(value, key, problems, at_least=1),
    "stall_timeout": lambda value, key, problems: read_count(value, key, problems, at_least=5),
    "compare": lambda value, key, problems: read_choice(value, key, "a place to compare", COMPARE, problems),
    "max_load": lambda value, key, problems: read_number(value, key, problems, above=0),
    "addresses": _read_addresses,
}

# What OpenSSH 5.3 speaks and today's clients do not offer by themselves. Its ciphers and MACs they still do.
_LEGACY = {
    "HostKeyAlgorithms": "+ssh-rsa",
    "KexAlgorithms": "+diffie-hellman-group-exchange-sha256,diffie-hellman-group14-sha1",
}


def ssh_arguments(
    settings: SshSettings, address: Address, *, program: str, control: str | None, master: bool, only_sha1: bool = False
) -> list[str]:
    """Return the command line up to the remote command.

    C(control) is the path of the socket that connections are shared by; its C(master) makes the connection. With
    C(only_sha1), RSA keys sign with SHA-1 also where the server announces better signatures.
    """
    options: dict[str, str | int] = {
        "BatchMode": "yes",
        "PreferredAuthentications": "publickey",
        "LogLevel": "INFO",  # what is fatal to the client, it tells at this level
        "ConnectTimeout": settings.connect_timeout,
        "ConnectionAttempts": 1,
        "ServerAliveInterval": max(1, settings.stall_timeout // 4),
        "ServerAliveCountMax": 3,
        "TCPKeepAlive": "yes",
        "ClearAllForwardings": "yes",
        "PermitLocalCommand": "no",
        "ControlMaster": "yes" if master and control else "no",
        "ControlPath": _quoted(control) if control else "none",
        "ControlPersist": "no",
        "Compression": "no",  # images are compressed where they are stored
    }
    if settings.key_file is not None:
        options.update(IdentityFile=_quoted(settings.key_file), IdentitiesOnly="yes")
    if settings.known_hosts is not None:
        options.update(UserKnownHostsFile=_quoted(settings.known_hosts))
    if settings.host_keys == "off":
        options.update(UserKnownHostsFile="/dev/null", GlobalKnownHostsFile="/dev/null")
    options.update(StrictHostKeyChecking={"strict": "yes", "accept_new": "accept-new", "off": "no"}[settings.host_keys])
    if settings.legacy:
        signatures = "ssh-rsa" if only_sha1 else "+ssh-rsa"
        # Clients before 8.5 know the option by its second name only; for others both are one, and the first counts.
        options.update(
            _LEGACY,
            IgnoreUnknown="PubkeyAcceptedAlgorithms",
            PubkeyAcceptedAlgorithms=signatures,
            PubkeyAcceptedKeyTypes=signatures,
        )
    command = [program, "-T", "-x", "-a"]
    for name, value in options.items():
        command += ["-o", f"{name}={value}"]
    return [*command, "-l", settings.user, "-p", str(address.port or settings.port), "--", address.host]


def remote_command(settings: SshSettings, script: str) -> str:
    """Return what the user's shell on the server is told: to run a script of ours, which holds no value of a user.

    C(script) must not hold single quotes.
    """
    sudo = "sudo -n " if settings.sudo and settings.user != "root" else ""
    return f"exec {sudo}/bin/sh -c '{script}'"


def _quoted(path: str) -> str:
    return '"' + path.replace("%", "%%") + '"'
