# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""From where an image is read: a path of the proxy, or a server that has its storage repository presented."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import InvalidInputError
from ..manager.inventory import Inventory, Server
from .disks import repository_label
from .reading import did_you_mean, quoted

SOURCES = ("auto", "path", "ssh")
_ID = re.compile(r"[0-9a-f]{8,}\Z", re.IGNORECASE)


@dataclass(frozen=True)
class Access:
    """What the proxies can reach.

    C(mounted) are the ids of the storage repositories that they see as directories, C(ssh) tells whether there are
    settings for it, and C(addresses) gives a host, or host and port, for names or ids of servers.
    """

    mounted: frozenset[str] = frozenset()
    ssh: bool = False
    addresses: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SourceServer:
    """A server that images are read through."""

    id: str
    name: str
    address: str


@dataclass(frozen=True)
class Source:
    """From where: C(kind) is path or ssh, and ssh without a server means that there is no way."""

    kind: str
    reason: str
    server: SourceServer | None = None

    @property
    def is_missing(self) -> bool:
        """Whether the image cannot be read at all; the reason says why."""
        return self.kind == "ssh" and self.server is None


def check_access(wanted: str, access: Access) -> None:
    """Raise C(InvalidInputError) if a subclient wants the source ssh and there are no settings for it."""
    if wanted == "ssh" and not access.ssh:
        text = "source: 'ssh' needs settings for ssh: set ovm_backup_ssh, or use auto or path"
        raise InvalidInputError(text, key="source", value=wanted)


def choose_source(
    repository_id: str | None,
    wanted: str,
    inventory: Inventory,
    access: Access,
    *,
    own: str | None = None,
    used: Sequence[str] = (),
    loads: Mapping[str, int] | None = None,
) -> Source:
    """Return from where the images of a VM in a storage repository are read; C(wanted) is one of C(SOURCES).

    A path costs the servers least, so it comes first. Of the servers, the VM's C(own) one has its locks and its cache;
    then those that are C(used) for it already, then the one with the smallest of the C(loads).
    """
    if wanted == "path":
        return Source("path", "source: path")
    if repository_id is None or repository_id not in inventory.repositories:
        return Source("path", "its storage repository is not known")
    place = repository_label(repository_id, inventory)
    why = "source: ssh"
    if wanted == "auto":
        if repository_id in access.mounted:
            return Source("path", f"the proxy sees {place}")
        why = f"the proxy does not see {place}"
        if not access.ssh:
            return Source("path", f"{why}, and there are no settings for ssh")
    presented = [
        inventory.servers[key] for key in inventory.repositories[repository_id].server_ids if key in inventory.servers
    ]
    usable = [server for server in presented if not _problem(server, access)]
    if not usable:
        problems = "; ".join(f"server {quoted(server.name)} {_problem(server, access)}" for server in presented)
        return Source("ssh", f"{place} cannot be read over ssh: {problems or 'it is presented to no server'}")
    server, which = _best(usable, own, used, loads or {})
    found = SourceServer(server.id, server.name, _address(server, access))
    return Source("ssh", f"{why}; server {quoted(server.name)} has it, {which}", found)


def is_reached(source: Source, repository_id: str | None, access: Access) -> bool:
    """Return whether an image in a storage repository is there for certain, by the way that was chosen for it."""
    return repository_id in access.mounted if source.kind == "path" else not source.is_missing


def unknown_addresses(access: Access, inventory: Inventory) -> list[str]:
    """Return a warning for each address of a server that the manager does not have: it would silently not count."""
    names = {server.name for server in inventory.servers.values()}
    known = names | set(inventory.servers)
    return [
        f"ssh: addresses: {quoted(key)} is neither name nor id of a server of the manager{did_you_mean(key, names)}"
        for key in access.addresses
        if key not in known
    ]


def mounted_repositories(repositories_path: str, repository_ids: Iterable[str] | None = None) -> frozenset[str]:
    """Return the ids of the storage repositories that this host sees as directories under a path.

    An empty directory is a mount point where nothing is mounted. The ids come from the manager: only what is found in
    the path itself is looked at, so that none leads out of it. Without ids it is whatever may be one by its name.
    """
    wanted = None if repository_ids is None else set(repository_ids)
    try:
        with os.scandir(repositories_path) as entries:
            names = [entry.name for entry in entries]
    except OSError:
        return frozenset()
    found = [name for name in names if (_ID.match(name) if wanted is None else name in wanted)]
    return frozenset(name for name in found if _holds_something(os.path.join(repositories_path, name)))


def _holds_something(directory: str) -> bool:
    try:
        with os.scandir(directory) as entries:
            return any(True for _entry in entries)
    except OSError:
        return False


def _best(
    usable: Sequence[Server], own: str | None, used: Sequence[str], loads: Mapping[str, int]
) -> tuple[Server, str]:
    by_id = {server.id: server for server in usable}
    if own in by_id:
        return by_id[own], "and is the VM's own"
    for server_id in used:
        if server_id in by_id:
            return by_id[server_id], "and other images of the VM are read there"
    best = min(usable, key=lambda server: (loads.get(server.id, 0), server.name, server.id))
    return best, "and reads the fewest VMs of this plan"


def _problem(server: Server, access: Access) -> str:
    if not server.running:
        return "is not running"
    if server.maintenance:
        return "is in maintenance mode"
    return "" if _address(server, access) else "has no address"


def _address(server: Server, access: Access) -> str:
    """Return how a server is reached: as the settings say, else at its address for management (ovm-rest-api 7.1)."""
    told = access.addresses.get(server.id) or access.addresses.get(server.name)
    return told or server.ip_address or server.hostname
