# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What there is and what will need attention, as a text that lies beside the exported files."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Mapping, Sequence

from ..vault.manifest import Point
from ..vault.summary import format_bytes
from ..vault.text import one_line
from .attention import CHECK, INFO, MUST, Attention
from .machine import Machine
from .mapping import Target

_TITLES = {MUST: "To be done", CHECK: "To be looked at", INFO: "Good to know"}
_WIDTH = 100


def report_text(
    machine: Machine,
    target: Target,
    found: Sequence[Attention],
    point: Point,
    files: Mapping[int, str],
    *,
    xml: str,
    ovf: str,
) -> str:
    """Return the text."""
    name = one_line(target.name)
    lines = [
        f"{name}: export of recovery point {point.id} of client {one_line(point.client)}",
        "",
        f"VM {one_line(machine.name)}, {machine.domain_type}, {one_line(machine.os_type) or 'unknown system'}",
        f"{machine.cpu_count} CPU, {machine.memory} MiB, chipset {target.chipset}, firmware {target.firmware}",
        "",
        "Disks:",
    ]
    for disk in target.disks:
        source = disk.source.disk
        boots = ", starts the machine" if disk.boots else ""
        lines.append(
            f"  slot {source.slot}: {files[source.slot]}, {format_bytes(source.size)}, {disk.bus}, "
            f"{disk.old} -> {disk.new}{boots}"
        )
        lines.append(f"    content hash {source.content_hash}")
    lines += ["", "Network cards:"]
    lines += [
        f"  {nic.mac}, {nic.model}, {one_line(nic.old_network)} -> {one_line(nic.network)}" for nic in target.nics
    ]
    wrapper = textwrap.TextWrapper(
        _WIDTH, initial_indent="  - ", subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )
    for level, title in _TITLES.items():
        items = [item for item in found if item.level == level]
        if items:
            lines += ["", f"{title}:"]
            for item in items:
                text = f"{item.subject}: {item.text}"
                lines += wrapper.wrap(text)
    lines += [
        "",
        "Use it:",
        f"  libvirt:      put the images where {xml} says, or change it there, then: virsh define {shlex.quote(xml)}",
        f"  OLVM, oVirt:  tar -cf {shlex.quote(ovf[:-3] + 'ova')} {shlex.quote(ovf)} "
        + " ".join(shlex.quote(files[disk.source.slot]) for disk in target.disks),
        "                and import the file as a virtual appliance (OVA)",
    ]
    return "\n".join(lines) + "\n"
