# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What the modules share that look into the disks of a guest."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from ansible.module_utils.basic import AnsibleModule

from ._durations import duration_option
from .guest.appliance import Appliance
from .guest.filesystems import GuestSystem, check_device, find_systems, mount_one, mount_system
from .guest.serving import serve_point
from .vault.manifest import Point
from .vault.points import Client


def guest_options() -> dict[str, Any]:
    """Return the options of the documentation fragment C(guest)."""
    return {
        "slots": {"type": "list", "elements": "int"},
        "filesystem": {"type": "str"},
        "time_limit": {"type": "raw", "default": "1h"},
    }


class OpenGuest(NamedTuple):
    """The disks of a guest in an appliance. C(systems) is nothing when a file system was named."""

    appliance: Appliance
    systems: list[GuestSystem] | None
    notes: list[str]


@contextlib.contextmanager
def open_guest(module: AnsibleModule, client: Client, point: Point, *, mount: bool = True) -> Iterator[OpenGuest]:
    """Start the appliance over the disks that the options name, with what they say mounted in it."""
    parameters = module.params
    device = parameters["filesystem"]
    if device is not None:
        check_device(device)
    seconds = duration_option(module, "time_limit")
    with serve_point(client, point, slots=parameters["slots"]) as served, Appliance(served, seconds) as appliance:
        if device is not None:
            mount_one(appliance, device)
            yield OpenGuest(appliance, None, [])
        else:
            systems = find_systems(appliance)
            yield OpenGuest(appliance, systems, mount_system(appliance, systems) if mount else [])
        served.check()
