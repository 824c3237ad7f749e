# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Switches: what nobody outside Oracle knows for sure, each with its default (ovm-rest-api 21).

``row`` names the row of section 21 of the API reference that a switch answers; "-" marks an
assumption of the simulator itself. All can be set by ``--switch NAME=VALUE`` and by the control
interface while the simulator runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Switch:
    """One assumption: its name, default, allowed values (empty: any of the default's type)."""

    name: str
    default: Any
    row: str
    effect: str
    values: tuple[str, ...] = ()


TABLE: tuple[Switch, ...] = (
    Switch("cookie_name", "JSESSIONID", "1", "name of the session cookie"),
    Switch("session_seconds", 1800.0, "1", "a session dies after this many idle seconds"),
    Switch("session_cap", 0, "1", "most sessions at once, then GEN_000025; 0 is no cap"),
    Switch("basic_beats_expired_cookie", False, "2", "a valid Basic header helps a request with a dead cookie"),
    Switch("write_status", 201, "3", "HTTP status of a PUT, POST or DELETE that made a job"),
    Switch("status_validation", 400, "4", "HTTP status of a refused argument"),
    Switch("status_not_found", 404, "4", "HTTP status of GEN_000002 and GEN_000003"),
    Switch("status_forbidden", 403, "4", "HTTP status of AUTH_000006"),
    Switch("status_conflict", 409, "4", "HTTP status of a locked or out-of-date object"),
    Switch("status_server", 500, "4", "HTTP status of every other failure"),
    Switch("ws_error_code", "name", "5", "wsErrorCode holds the enum's name or the code", ("name", "code")),
    Switch("rule_violations", "job", "6", "a broken rule ends the job or refuses the request", ("job", "http")),
    Switch(
        "cold_clone_physical", "refuse", "7", "simple clone of a stopped VM with a physical disk", ("refuse", "skip")
    ),
    Switch(
        "hot_clone_physical", "refuse", "7", "simple clone of a running VM with a physical disk", ("refuse", "skip")
    ),
    Switch("illegal_target_at", "clone", "8", "THIN_CLONE into another repository fails at", ("clone", "mapping")),
    Switch("clone_nics", "simple", "9", "simple clones carry NICs (new MACs), or none do", ("simple", "never")),
    Switch("clone_cdroms", False, "10", "CD-ROM mappings are cloned too"),
    Switch("clone_number", "lowest", "11", "suffix of a clone's name: lowest free or a counter", ("lowest", "counter")),
    Switch(
        "clone_disk_number", "lowest", "12", "number of a cloned disk: lowest free or a counter", ("lowest", "counter")
    ),
    Switch("disk_cut_gap", 0.005, "13", "seconds between the cuts of two disks of one clone; 0: one instant"),
    Switch("clone_repository_moves_disks", False, "14", "repositoryId of a clone request moves the disks too"),
    Switch("refresh_discovers", True, "16, 17", "a repository refresh finds files placed by hand"),
    Switch(
        "clone_locks", "vm_disks", "19", "what a clone job locks beside serialising repositories", ("vm", "vm_disks")
    ),
    Switch("serial_repositories", True, "20", "one clone or disk job at a time per repository"),
    Switch("check_generation", True, "21", "a PUT with another generation is refused (GEN_000011)"),
    Switch("clone_server", "source", "24", "serverId of a clone: its source's server, or null", ("source", "none")),
    Switch("delete_mapped_disk", "refuse", "25", "deleting a disk that is mapped", ("refuse", "unmap")),
    Switch("clone_open_disk", "thin", "26", "clone of a disk of a running VM", ("thin", "refuse")),
    Switch("create_vm_without_pool", "refuse", "24", "POST Vm without serverPoolId", ("refuse", "unassigned")),
    Switch("map_to_running_vm", "allow", "-", "disk mapping of a VM that is not stopped", ("allow", "refuse")),
    Switch("guest_limits", True, "-", "more disks or NICs than a guest of its type can have are refused (16.1)"),
    Switch("job_retention", 1000, "27", "finished jobs kept"),
    Switch("clone_suspended", "refuse", "32", "clone of a suspended VM: refused or as if running", ("refuse", "hot")),
    Switch("version", "3.4", "17.6", "field sets and version of the manager", ("3.3", "3.4")),
    Switch("clone_child_jobs", True, "-", "a clone shows one child job per disk"),
    Switch(
        "kill_during_stop",
        "refuse",
        "-",
        "kill while a stop job runs: GEN_000029, or it takes over",
        ("refuse", "allow"),
    ),
    Switch("null_reference_status", 204, "-", "HTTP status of following a null reference (200 sends null)"),
    Switch("queue_lock_seconds", 0.0, "-", "a job that waits longer for a lock fails (LOCK); 0: waits for ever"),
    Switch("require_json_headers", True, "-", "without JSON in Accept the answer is XML, without Content-Type 415"),
)

_BY_NAME = {switch.name: switch for switch in TABLE}


class Switches:
    """Current values; ``switches["name"]`` reads, :meth:`set` checks and writes."""

    def __init__(self) -> None:
        self._values = {switch.name: switch.default for switch in TABLE}

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def set(self, name: str, value: Any) -> None:
        """Set one switch from text or from a JSON value; ValueError names what is wrong."""
        switch = _BY_NAME.get(name)
        if switch is None:
            raise ValueError(f"no switch named {name!r}; there are: {', '.join(sorted(_BY_NAME))}")
        converted = _convert(switch, value)
        if switch.values and converted not in switch.values:
            raise ValueError(f"switch {name}: {value!r} is not one of {', '.join(switch.values)}")
        self._values[name] = converted

    def reset(self) -> None:
        """Back to the defaults."""
        self._values = {switch.name: switch.default for switch in TABLE}

    def as_dict(self) -> dict[str, Any]:
        """All current values by name."""
        return dict(self._values)


def _convert(switch: Switch, value: Any) -> Any:
    default = switch.default
    try:
        if isinstance(default, bool):
            return value if isinstance(value, bool) else {"true": True, "false": False}[str(value).lower()]
        if isinstance(default, (int, float)):
            return type(default)(value)
    except (KeyError, ValueError):
        raise ValueError(f"switch {switch.name}: {value!r} is not of type {type(default).__name__}") from None
    return str(value)
