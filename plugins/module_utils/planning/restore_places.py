# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Where a restore puts what it makes: storage repositories, server pool, server and networks, found and checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..manager.inventory import Inventory, Nic
from ..manager.networks import Network
from ..manager.objects import object_id, optional_text, reference
from .access import Access, Source, choose_source, is_reached
from .reading import did_you_mean, quoted
from .restore_wishes import Wishes


@dataclass(frozen=True)
class Home:
    """Where a new VM is made, by ids; nothing where none fits."""

    server_pool: str | None = None
    server: str | None = None
    repository: str | None = None  # of vm.cfg


@dataclass
class Places:
    """The manager's objects and what is wished of them; C(problems) and C(notes) collect what is found."""

    inventory: Inventory
    networks: Mapping[str, Network]
    wishes: Wishes
    access: Access
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def repository(self, old_id: str | None, old_name: str | None, what: str) -> str | None:
        """Return the storage repository for something that was in another one, or in the same."""
        known = {key: item.name for key, item in self.inventory.repositories.items()}
        wanted = self.wishes.storage_repository or self.wishes.mapped("storage_repositories", old_id, old_name)
        option = "storage_repository or mapping.storage_repositories"
        return self.find(known, wanted, old_id, old_name, "storage repository", what, option)

    def home(self, saved: Mapping[str, Any]) -> Home:
        """Return where a new VM goes that was saved so."""
        pools, servers = self.inventory.server_pools, {key: one.name for key, one in self.inventory.servers.items()}
        old_pool, old_server = reference(saved, "serverPoolId"), reference(saved, "serverId")
        wanted = self.wishes.server_pool or self.wishes.mapped("server_pools", old_pool, name_of(saved, "serverPoolId"))
        pool = self.find(pools, wanted, old_pool, None, "server pool", "the VM", "server_pool or mapping.server_pools")
        wanted = self.wishes.server or self.wishes.mapped("servers", old_server, name_of(saved, "serverId"))
        server = None
        if wanted is not None:
            server = self.find(servers, wanted, None, None, "server", "the VM", "server")
        if server is not None and pool is not None:
            there = self.inventory.servers[server].server_pool_id
            if there is not None and there != pool:
                self.problems.append(
                    f"server {quoted(servers[server])} is in server pool {quoted(pools.get(there, there))}, not in "
                    f"{quoted(pools[pool])}: pass another server or server_pool"
                )
        repository = self.repository(reference(saved, "repositoryId"), name_of(saved, "repositoryId"), "vm.cfg")
        return Home(pool, server, repository)

    def check_presented(self, pool_id: str | None, server_id: str | None, repository_ids: Iterable[str]) -> None:
        """Find storage repositories that neither the server nor any of the pool can reach: the VM would never start."""
        servers = self.inventory.servers
        in_pool = {key for key, server in servers.items() if pool_id is not None and server.server_pool_id == pool_id}
        usable = {server_id} if server_id is not None else in_pool
        where = f"server {quoted(servers[server_id].name)}" if server_id is not None else "any server of server pool "
        if server_id is None:
            where += quoted(self.inventory.server_pools.get(pool_id or "", pool_id or ""))
        for repository_id in sorted(set(repository_ids)):
            repository = self.inventory.repositories[repository_id]
            if usable and not usable & set(repository.server_ids):
                self.problems.append(
                    f"storage repository {quoted(repository.name)} is not presented to {where}: present it there, or "
                    "pass another storage_repository, server_pool or server"
                )

    def check_space(self, together: Mapping[str, int]) -> None:
        """Find storage repositories that have no room for as many bytes."""
        for repository_id, needed in together.items():
            repository = self.inventory.repositories[repository_id]
            if repository.free_size is not None and needed > repository.free_size:
                self.problems.append(
                    f"{needed} bytes of data are needed in storage repository {quoted(repository.name)}, "
                    f"{repository.free_size} are free"
                )

    def way(self, repository_id: str) -> Source:
        """Return how a disk in a storage repository is written."""
        way = choose_source(repository_id, "auto", self.inventory, self.access)
        if self.wishes.import_address and not is_reached(way, repository_id, self.access):
            return Source("import", f"the manager imports it: {way.reason}")
        return way

    def check_way(self, repository_id: str) -> None:
        """Find a storage repository into which nothing can be written."""
        way = self.way(repository_id)
        if way.kind != "import" and not is_reached(way, repository_id, self.access):
            self.problems.append(way.reason if way.is_missing else f"nothing can be written there: {way.reason}")

    def nics(self, saved: Iterable[Mapping[str, Any]], own_vms: Iterable[str]) -> list[dict[str, Any]]:
        """Return the network cards of a new VM; what C(own_vms) have is not taken."""
        own = set(own_vms)
        taken = {
            nic.mac.lower(): vm.name
            for vm in self.inventory.vms.values()
            for nic in vm.nics
            if vm.id not in own and nic.mac is not None
        }
        usable = {key: network.name for key, network in self.networks.items() if network.for_vms}
        found = []
        for item in saved:
            nic = Nic(object_id(item), optional_text(item, "macAddress"), reference(item, "networkId"))
            what = f"network card {nic.mac or nic.id}"
            old_name = name_of(item, "networkId")
            wanted = self.wishes.mapped("networks", nic.network_id, old_name)
            network = self.find(usable, wanted, nic.network_id, old_name, "network", what, "mapping.networks")
            mac = nic.mac if self.wishes.mac != "new" else None
            if mac is not None and mac.lower() in taken:
                whose = quoted(taken[mac.lower()])
                if self.wishes.mac == "keep":
                    self.problems.append(f"{what}: VM {whose} has this address: pass mac: new or auto")
                self.notes.append(f"{what} gets a new address, for VM {whose} has its own")
                mac = None
            found.append({"network_id": network, "network": usable.get(network or ""), "mac": mac})
        return found

    def find(
        self,
        known: Mapping[str, str],
        wanted: str | None,
        old_id: str | None,
        old_name: str | None,
        kind: str,
        what: str,
        option: str,
    ) -> str | None:
        """Return the id of what is wanted, else of what there was; without a name that fits, that is a problem."""
        if wanted is None:
            if old_id in known:
                return old_id
            gone = f" {quoted(old_name or old_id or '')}" if old_name or old_id else ""
            has = ", ".join(sorted(map(quoted, known.values()))) or "none"
            self.problems.append(f"{what}: its {kind}{gone} is not on this manager: pass {option}; there are {has}")
            return None
        if wanted in known:
            return wanted
        fitting = [key for key, name in known.items() if name == wanted]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            self.problems.append(
                f"{what}: there are {len(fitting)} of the name {quoted(wanted)}: pass the id of the {kind}"
            )
        else:
            names = sorted(known.values())
            self.problems.append(
                f"{what}: there is no {kind} {quoted(wanted)}{did_you_mean(wanted, names)}; there are "
                f"{', '.join(map(quoted, names)) or 'none'}"
            )
        return None


def name_of(item: Mapping[str, Any], field_: str) -> str | None:
    """Return the name in a reference that was saved."""
    found = item.get(field_)
    return optional_text(found, "name") if isinstance(found, Mapping) else None
