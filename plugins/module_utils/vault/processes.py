# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Processes, named so that a process of another host, boot or process id space is not taken for one of them."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from typing import Any


def boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        # Process ids mean something only inside their name space: two containers of one host have different ones.
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def process_start(pid: int) -> str | None:
    found = _stat(pid)
    return None if found is None else found[1]


def _stat(pid: int) -> tuple[str, str] | None:
    """Return state and start time of a process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            # The name of the program, in parentheses, may hold blanks; the state comes next, the start time is 19th
            # after that.
            fields = file.read().rpartition(")")[2].split()
            return fields[0], fields[19]
    except (OSError, IndexError):
        return None


def this_process() -> dict[str, Any]:
    """Return what names this process."""
    return {"pid": os.getpid(), "boot": boot_id(), "process_start": process_start(os.getpid())}


def is_dead_process(named: Mapping[str, Any]) -> bool:
    """Return whether it is certain that a process of the C(host) that is named so is no more."""
    boot = boot_id()
    same_place = boot and named.get("boot") == boot and named.get("host") == platform.node()
    pid = named.get("pid")
    if not same_place or not isinstance(pid, int) or pid <= 0:
        return False
    before, now = named.get("process_start"), _stat(pid)
    if now is not None:
        # A zombie has ended; only its parent has not noticed.
        return isinstance(before, str) and (now[1] != before or now[0] in "ZX")
    try:
        os.kill(pid, 0)  # /proc may be mounted so that it hides the processes of others
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def is_of_earlier_boot(named: Mapping[str, Any]) -> bool:
    """Return whether this host has been started anew since, as after a loss of power: then the process is no more.

    Only for what lies on a disk of this host: in a vault, another host may have written under the same name.
    """
    before, now = (str(boot or "").partition("/")[0] for boot in (named.get("boot"), boot_id()))
    return bool(before and now) and before != now and named.get("host") == platform.node()
