# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The inventory plugin ovm.backup.ovm."""

from __future__ import annotations

DOCUMENTATION = r"""
name: ovm
author:
  - ovm.backup contributors (@ovm-backup)
version_added: 0.1.0
short_description: VMs of Oracle VM Manager as hosts
description:
  - Lists the VMs of Oracle VM Manager as hosts, with groups by server pool, server, storage repository, power state and
    tag, and with a vault also by subclient and by how they are protected.
  - All hosts are in the group C(ovm_vms). The hot clones of backup runs are left out.
  - The manager does not know how a VM is reached. Where the tools of the guest tell it the addresses, they are in
    C(ovm_ip_addresses), and O(compose) can make C(ansible_host) of them.
  - The name of the configuration file has to end in C(ovm.yml) or C(ovm.yaml).
  - Nothing is written to the manager or to the vault.
options:
  plugin:
    description: Has to be V(ovm.backup.ovm).
    required: true
    choices: [ovm.backup.ovm]
  url:
    description:
      - Address of Oracle VM Manager, as V(https://ovmm.example.com:7002), V(ovmm.example.com) or
        V(ovmm.example.com:7002).
      - Here and in the other options, templates are not evaluated.
    type: str
    required: true
    env:
      - name: OVM_URL
  user:
    description: User name on Oracle VM Manager.
    type: str
    required: true
    env:
      - name: OVM_USER
  password:
    description: Password of O(user). In the file it should be encrypted by C(ansible-vault encrypt_string).
    type: str
    required: true
    env:
      - name: OVM_PASSWORD
  ca_path:
    description: File or directory with the certificates of the authorities to trust.
    type: path
    env:
      - name: OVM_CA_PATH
  fingerprint:
    description:
      - SHA-256 fingerprint of the manager's certificate, which must be this one; together with O(ca_path) both must
        hold.
    type: str
    env:
      - name: OVM_FINGERPRINT
  validate_certs:
    description:
      - Whether the manager's certificate is checked. Set it to V(false) only where nobody can stand in for the manager.
    type: bool
    default: true
    env:
      - name: OVM_VALIDATE_CERTS
  request_timeout:
    description: Seconds to wait for a connection and for each answer of the manager.
    type: float
    default: 60.0
    env:
      - name: OVM_REQUEST_TIMEOUT
  vault:
    description:
      - Directory of the vault on the control node, or V(s3://BUCKET/PREFIX). With it it is told of each host how it is
        protected. Without it, there are no groups by subclient and protection.
      - What a bucket or an encrypted vault needs comes from the environment (C(OVM_VAULT_ACCESS_KEY_ID) and so on), as
        for the suboptions of O(ovm.backup.verify#module:vault_access).
    type: path
    env:
      - name: OVM_VAULT
  subclients:
    description:
      - Definitions of all subclients, by name, as in the variable C(ovm_backup_subclients). They need O(vault).
    type: dict
  subclients_path:
    description:
      - Directories with one definition in each file, as for the lookup P(ovm.backup.subclients#lookup). A relative path
        is relative to the configuration file. They need O(vault).
    type: list
    elements: path
  max_age:
    description:
      - How old the newest good recovery point may be before a host is V(late), where no subclient is defined. A number
        of seconds, or a number with a unit, as V(26h) or V(8d).
      - Where subclients are defined, their C(max_age) counts.
    type: str
  grace:
    description: How much older than promised the newest good recovery point may be before a host is V(late).
    type: str
    default: "0"
  hostname:
    description:
      - What a host is called, by the V(name) of its VM, by that of its V(client) in the vault, or by the V(id) of its
        VM.
      - If several hosts had the same name, or one that means something else to Ansible, C(_) and the id follow it.
    type: str
    choices: [name, client, id]
    default: name
  templates:
    description: Whether templates are hosts, too.
    type: bool
    default: false
  group_by:
    description:
      - What there are groups for. Their names are V(pool_), V(server_), V(repository_), V(state_), V(tag_),
        V(subclient_) and V(protection_) followed by the name of the object, with C(_) for each character that a name
        of a group must not have.
      - A VM is in the groups of all storage repositories that hold its configuration or one of its virtual disks, and
        of all subclients that back it up.
      - Protection is V(unprotected), V(never), V(late), V(cannot), V(excluded), V(protected) or V(template), in the
        sense of M(ovm.backup.coverage_info).
    type: list
    elements: str
    choices: [server_pool, server, repository, power_state, tag, subclient, protection]
    default: [server_pool, server, repository, power_state, tag, subclient, protection]
extends_documentation_fragment:
  - constructed
  - inventory_cache
requirements:
  - requests
  - blake3, with O(vault)
notes:
  - Each host has the variables C(ovm_id), C(ovm_name), C(ovm_client), C(ovm_power_state), C(ovm_template),
    C(ovm_domain_type), C(ovm_os_type), C(ovm_memory) (MiB), C(ovm_cpu_count), C(ovm_description), C(ovm_locked),
    C(ovm_tags), C(ovm_server), C(ovm_server_id), C(ovm_server_pool), C(ovm_server_pool_id), C(ovm_repositories),
    C(ovm_disks), C(ovm_nics), C(ovm_ip_addresses) and C(ovm_manager).
  - With O(vault) it also has C(ovm_protection), C(ovm_protection_reason), C(ovm_protection_warnings),
    C(ovm_newest_point), C(ovm_newest_point_created), C(ovm_newest_point_age) (seconds) and C(ovm_promised_age)
    (seconds), and where subclients are defined C(ovm_subclients).
  - The plugin runs on the control node, so the libraries and the vault have to be there.
seealso:
  - module: ovm.backup.vm_info
  - module: ovm.backup.coverage_info
"""

EXAMPLES = r"""
# fmt: code
# Several files, which the YAML linter of older versions of ansible-core takes for one.

---
# inventory/ovm.yml: everything that is needed comes from the environment (OVM_URL, OVM_USER and so on)
plugin: ovm.backup.ovm

---
# inventory/production.ovm.yml: protection by the subclients that the backups use, with a cache
plugin: ovm.backup.ovm
url: ovmm.example.com
user: backup
ca_path: /etc/ovm/ovmca.pem
vault: /srv/vault
subclients_path: [subclients]
grace: 4h
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: /var/cache/ansible/ovm
cache_timeout: 900
compose:
  ansible_host: ovm_ip_addresses | first
groups:
  large: ovm_memory >= 16384
keyed_groups:
  - key: ovm_os_type
    prefix: os

---
# inventory/late.ovm.yml: what is older than a day, whichever subclient made it
plugin: ovm.backup.ovm
vault: /srv/vault
max_age: 26h
hostname: client
group_by: [protection]
"""

import os
import re
import time
from typing import Any

from ansible import template
from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable

from ansible_collections.ovm.backup.plugins.module_utils._libraries import missing_libraries
from ansible_collections.ovm.backup.plugins.module_utils._reading import did_you_mean
from ansible_collections.ovm.backup.plugins.module_utils.errors import InvalidInputError, OvmBackupError
from ansible_collections.ovm.backup.plugins.module_utils.manager.client import connect
from ansible_collections.ovm.backup.plugins.module_utils.manager.clones import ours_among
from ansible_collections.ovm.backup.plugins.module_utils.manager.inventory import read_inventory
from ansible_collections.ovm.backup.plugins.module_utils.manager.settings import ConnectionSettings
from ansible_collections.ovm.backup.plugins.module_utils.planning.coverage import assess, parse_subclients
from ansible_collections.ovm.backup.plugins.module_utils.planning.durations import parse_duration
from ansible_collections.ovm.backup.plugins.module_utils.planning.host_list import KINDS, host_list
from ansible_collections.ovm.backup.plugins.module_utils.planning.subclient import Subclient
from ansible_collections.ovm.backup.plugins.module_utils.planning.vault_reader import read_coverage_state
from ansible_collections.ovm.backup.plugins.module_utils.vault.access import VaultAccess
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Vault
from ansible_collections.ovm.backup.plugins.plugin_utils._definitions import Definitions

# From ansible-core 2.19 on no string is a template unless this marks it as one that may be. Before, each string is,
# unless it is wrapped.
_trust = getattr(template, "trust_as_template", None)
if _trust is None:
    from ansible.utils.unsafe_proxy import wrap_var

GROUP_OF_ALL = "ovm_vms"
CACHE_VERSION = 1
EVERYTHING = "*"  # the subclient of all VMs, where none is defined; its name is not shown
# What a string needs to be a template. The first line of one may give the braces another form.
_TEMPLATE = re.compile(r"[{}]|#jinja2")
_CONNECTION = ("url", "user", "password", "ca_path", "fingerprint", "validate_certs", "request_timeout")


def outside(value: Any) -> Any:
    """Return what came from outside such that it is never taken for a template.

    What cannot be one is not marked as untrusted: ansible-inventory, which AWX runs, would wrap each marked string.
    """
    if isinstance(value, str):
        if _TEMPLATE.search(value):
            return wrap_var(value) if _trust is None else value
        return value if _trust is None else _trust(value)
    if isinstance(value, list):
        return [outside(item) for item in value]
    if isinstance(value, dict):
        return {key: outside(item) for key, item in value.items()}
    return value


def drop_empty_variables() -> None:
    """Take variables of the environment that are empty for not set, as the modules do.

    A credential of AWX sets all variables of its type, those of the fields that were left blank to nothing.
    """
    for name in [name for name, value in os.environ.items() if name.startswith("OVM_") and not value]:
        del os.environ[name]


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    """VMs of Oracle VM Manager as hosts."""

    NAME = "ovm.backup.ovm"

    def verify_file(self, path: str) -> bool:
        """Return whether a file may be a configuration of this plugin."""
        return bool(super().verify_file(path)) and path.endswith(("ovm.yml", "ovm.yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Fill the inventory."""
        super().parse(inventory, loader, path, cache)
        drop_empty_variables()
        config = self._read_config_data(path)
        try:
            self._check_keys(config)
            self._populate(inventory, self._hosts(path, cache))
        except OvmBackupError as error:
            raise AnsibleParserError(f"{path}: {error.message}") from error

    def _check_keys(self, config: dict[str, Any]) -> None:
        known = sorted(self.get_options())
        for key, value in config.items():
            if key not in known:
                raise InvalidInputError(f"{key}: unknown option{did_you_mean(str(key), known)}", option=key)
            if key in (*_CONNECTION, "vault") and "{{" in str(value):
                raise InvalidInputError(
                    f"{key}: templates are not evaluated here; leave it out and set the environment variable "
                    f"OVM_{key.upper()}",
                    option=key,
                )

    # --- what there is -----------------------------------------------------------------------------------------------

    def _hosts(self, path: str, cache: bool) -> list[dict[str, Any]]:
        """Return the hosts in plain types, from the cache where that is wanted."""
        self.load_cache_plugin()
        key, wanted = self.get_cache_key(path), self.get_option("cache")
        if wanted and cache:
            try:
                found = self._cache[key]
            except KeyError:
                found = None
            if isinstance(found, dict) and found.get("version") == CACHE_VERSION:
                return list(found["hosts"])
        hosts = self._read(path)
        if wanted:
            self._cache[key] = {"version": CACHE_VERSION, "hosts": hosts}
        return hosts

    def _read(self, path: str) -> list[dict[str, Any]]:
        vault_path = self.get_option("vault")
        missing = missing_libraries("requests", *(["blake3"] if vault_path else []))
        if missing:
            names = ", ".join(name for name, _trace in missing)
            raise InvalidInputError(f"The control node's Python has no {names}: install it there")
        subclients = self._subclients(path)
        grace = self._duration("grace")
        # Encrypted strings are strings only when they are asked to be.
        values = {name: self.get_option(name) for name in _CONNECTION}
        settings = ConnectionSettings(**{**values, "password": str(values["password"])})
        vault = Vault.open(vault_path, VaultAccess.from_environment()) if vault_path else None
        with connect(settings) as client:
            inventory = read_inventory(client)
            is_ours = ours_among(client, inventory)
        coverage = None
        if vault is not None:
            state = read_coverage_state(vault)
            coverage = assess(subclients, inventory, state, now=time.time(), is_ours=is_ours, grace=grace)
        names, templates = self.get_option("hostname"), self.get_option("templates")
        hosts = host_list(
            inventory,
            coverage,
            is_ours=is_ours,
            names=names,
            templates=templates,
            with_subclients=any(one.name != EVERYTHING for one in subclients),
        )
        return [host.as_dict() for host in hosts]

    def _subclients(self, path: str) -> tuple[Subclient, ...]:
        """Return the subclients that are defined; without any, one of no name that all VMs belong to."""
        variable, directories = self.get_option("subclients"), self.get_option("subclients_path")
        if variable is None and directories is None:
            max_age = {} if self.get_option("max_age") is None else {"max_age": self._duration("max_age")}
            everything = {"content": [{"rules": [{"field": "name", "value": "*"}]}], **max_age}
            return parse_subclients({EVERYTHING: everything})
        for name in ("subclients", "subclients_path"):
            if self.get_option(name) is not None and not self.get_option("vault"):
                raise InvalidInputError(f"{name} needs vault: without it nothing is known of protection", option=name)
        if self.get_option("max_age") is not None:
            raise InvalidInputError("max_age is for where no subclient is defined: theirs counts", option="max_age")
        definitions = Definitions()
        definitions.add_variable(variable)
        for directory in directories or ():
            place = os.path.join(os.path.dirname(path), os.path.expanduser(directory))
            if not os.path.isdir(place):
                raise InvalidInputError(f"subclients_path: there is no directory {place}", option="subclients_path")
            definitions.add_directory(place)
        return parse_subclients(definitions.checked())

    def _duration(self, name: str) -> int:
        try:
            return parse_duration(self.get_option(name))
        except ValueError as error:
            raise InvalidInputError(f"{name}: {error}", option=name) from error

    # --- the inventory -----------------------------------------------------------------------------------------------

    def _populate(self, inventory: Any, hosts: list[dict[str, Any]]) -> None:
        inventory.add_group(GROUP_OF_ALL)
        strict, kinds = self.get_option("strict"), self.get_option("group_by")
        for host in hosts:
            name, variables = outside(host["name"]), outside(host["variables"])
            inventory.add_host(name, group=GROUP_OF_ALL)
            for kind, label in host["groups"]:
                if kind in kinds:
                    group = inventory.add_group(self._sanitize_group_name(f"{KINDS[kind]}_{label}"))
                    inventory.add_host(name, group=group)
            for key, value in variables.items():
                inventory.set_variable(name, key, value)
            self._set_composite_vars(self.get_option("compose"), variables, name, strict=strict)
            self._add_host_to_composed_groups(self.get_option("groups"), variables, name, strict=strict)
            self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, name, strict=strict)
