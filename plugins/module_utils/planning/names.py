# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Names of clients: from the name of a VM to the name of its client, which is also a folder of the vault."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..manager.inventory import Vm

_REPLACED = frozenset("\\|`~!@#$%^&*+=<>?,{}():;'\"/")
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cs"})  # control characters; surrogates, which have no UTF-8 form
_LONGEST = 255  # bytes of UTF-8: the limit of a file name on Linux file systems


def client_name(vm_name: str) -> str:
    """Return the client name of a VM: white space and the characters of requirement R2 become one underscore each.

    Everything else stays: letters, digits, dot, hyphen, underscore, square brackets, non-ASCII. The result has as many
    characters as the VM name.
    """
    return "".join("_" if char in _REPLACED or char.isspace() else char for char in vm_name)


def assign_clients(vms: Iterable[Vm], known: Mapping[str, str]) -> dict[str, str]:
    """Return the client of each VM by VM id: its own if it is known, else a new one that nobody else has.

    C(known) maps the ids of VMs to the clients that exist in the vault, also of VMs that are not among C(vms). A VM
    keeps its client whatever it is called now. Of several new VMs whose names lead to the same client, the one with
    the lowest id gets the plain name and the others a number (C(_2), C(_3) ...). Names that differ in case or in
    Unicode form only count as the same, because there are file systems that cannot hold both.
    """
    taken = {_folded(client) for client in known.values()}
    clients: dict[str, str] = {}
    for vm in sorted(vms, key=lambda vm: vm.id):
        client = known.get(vm.id)
        if client is None:
            client = _first_free(_as_folder(client_name(vm.name)), taken)
            taken.add(_folded(client))
        clients[vm.id] = client
    return clients


def _as_folder(name: str) -> str:
    """Return a name that is a legal folder name wherever UTF-8 is: not empty, not a dot entry, no control character."""
    safe = "".join("_" if unicodedata.category(char) in _UNSAFE_CATEGORIES else char for char in name)
    if safe in ("", ".", ".."):
        safe = "_" * max(1, len(safe))
    return _shortened(safe, _LONGEST)


def _first_free(name: str, taken: set[str]) -> str:
    candidate = name
    number = 1
    while _folded(candidate) in taken:
        number += 1
        suffix = f"_{number}"
        candidate = _shortened(name, _LONGEST - len(suffix)) + suffix
    return candidate


def _shortened(name: str, limit: int) -> str:
    """Cut a name to so many bytes of UTF-8, never inside a character."""
    return name.encode("utf-8")[:limit].decode("utf-8", errors="ignore")


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
