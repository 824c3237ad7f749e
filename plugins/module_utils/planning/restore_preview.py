# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The plan of a restore as text that an administrator reads before it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..vault.summary import format_bytes
from ..vault.text import number_of, one_line

_TITLES = {
    "new": "a new VM {name}",
    "in_place": "VM {name}, in place of its disks",
    "attach": "VM {name}, as more disks",
}
_PLACES = {"serverPoolId": "server pool", "serverId": "server", "repositoryId": "configuration in storage repository"}
_WAYS = {"path": "by path", "import": "as an import of the manager"}


def restore_summary(plan: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    """Return the lines of a plan in the form of C(RestorePlan.as_dict); C(names) has the manager's by id."""
    target = _TITLES[plan["mode"]].format(name=plan["name"])
    found = [
        f"Restore of client {plan['client']} as of {plan['point_id']} to {target}: "
        f"{number_of(len(plan['disks']), 'disk')}, {format_bytes(plan['needed'])} of data"
    ]
    if plan["source_vm_name"] != plan["name"]:
        found += [f"  backed up from: VM {plan['source_vm_name']}"]
    if plan["complete"]:
        found += ["  an interrupted call has done all of it: its marks go, and the replaced disks that are not kept"]
        return [one_line(text) for text in found]
    for disk in plan["disks"]:
        found += _disk_lines(disk)
    for nic in plan["nics"]:
        found += [f"  network card: {nic['network']}, {nic['mac'] or 'a new MAC address'}"]
    settings = {name: value for name, value in plan["definition"].items() if value not in (None, "", [])}
    places = [f"{title} {names.get(settings[key], settings[key])}" for key, title in _PLACES.items() if key in settings]
    if places:
        found += [f"  in: {', '.join(places)}"]
    settings = {name: value for name, value in settings.items() if name not in _PLACES}
    if settings:
        found += [f"  settings: {', '.join(f'{name} {_shown(value)}' for name, value in sorted(settings.items()))}"]
    found += [f"  power: {_power(plan)}"]
    return [one_line(text) for text in found + [f"  note: {note}" for note in plan["notes"]]]


def _disk_lines(disk: Mapping[str, Any]) -> list[str]:
    server = disk["server"]
    way = _WAYS.get(disk["source"]) or f"over ssh by {server['name']} ({server['address']})"
    moved = f", into slot {disk['target_slot']}" if disk["target_slot"] != disk["slot"] else ""
    sizes = f"{format_bytes(disk['size'])}, {format_bytes(disk['needed'])} of data"
    found = [
        f"  disk {disk['slot']}: {disk['name']}, {sizes}, to {disk['repository']}{moved}",
        f"    written: {way}, {disk['source_reason']}",
    ]
    if disk["previous"] is not None:
        found += [f"    instead of: virtual disk {disk['previous']}"]
    if disk["made"] is not None:
        found += [f"    goes on with: virtual disk {disk['made']} of an interrupted call"]
    return found


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "/".join(map(str, value)) if isinstance(value, list) else str(value)


def _power(plan: Mapping[str, Any]) -> str:
    stop = "it is stopped first, " if plan["stop"] else ""
    return stop + ("it is started in the end" if plan["start"] else "it is not started")
