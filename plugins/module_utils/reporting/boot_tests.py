# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.


"""Boot tests on the page of a vault: of each VM the newest, with the picture of its screen."""

from __future__ import annotations

from collections.abc import Sequence

from ..vault.jobs import COMPLETED, FAILED
from .history import Booted, ClientHistory
from .markup import badge, name, picture, text, when

# A larger picture would make the page slow; it is in the vault.
_LARGEST = 512 * 1024


def failed_boot_test(client: ClientHistory) -> bool:
    """Return whether a VM did not come up when it was started the last time."""
    return client.booted is not None and not client.booted.result.ok


def boot_tests(clients: Sequence[ClientHistory]) -> str:
    """Return the section; nothing if there was no boot test yet."""
    tested = [(client, client.booted) for client in clients if client.booted is not None]
    if not tested:
        return ""
    figures = "".join(_figure(client, booted) for client, booted in tested)
    return (
        '<section aria-labelledby="boots"><h2 id="boots">Boot tests</h2>\n'
        f'<div class="charts">{figures}</div></section>'
    )


def _figure(client: ClientHistory, booted: Booted) -> str:
    result = booted.result
    label = badge(COMPLETED, "up") if result.ok else badge(FAILED, "not up")
    shown = ""
    if booted.screenshot is not None and len(booted.screenshot) <= _LARGEST:
        shown = picture(booted.screenshot, f"Screen of {client.vm_name} at the end of its boot test")
    machine = result.machine
    hardware = ", ".join(text(machine[key]) for key in ("accelerator", "chipset", "firmware", "disk_bus"))
    return (
        f"<figure><figcaption>{name(client.vm_name)} {label}</figcaption>{shown}"
        f"<p>{text(result.verdict)}</p>"
        f'<p class="quiet">{when(result.tested_at)}, recovery point {text(booted.point)}, {hardware}</p></figure>\n'
    )
