# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""How our objects on the manager are marked, so that they can be proved to be ours.

The mark is the end of an object's description: C(ovm.backup/1) and a JSON object with the manager's UUID, the source
VM's id and the run id. The mark of a clone, and of what a restore makes, also holds the object's own id, for a
description can be copied along when somebody clones it; that of a clone also the ids of its disks and of their
mappings, that of a restored disk what it is for. A clone definition's mark holds the id of its clone job: through it a
clone is proved to be ours by the job's result before it is marked itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import InvalidInputError

MARK = "ovm.backup/1"
_DESCRIPTION_LIMIT = 4000  # characters (ovm-rest-api 3.2)
_NAME_LIMIT = 255  # characters; the manager's own limit is not documented
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+\-]{0,63}")

_CLONE_TEXT = (
    "Hot clone made by ovm.backup, which keeps it for the next backup of the VM: do not start or change it. "
    "It may be deleted; the next backup then takes longer, because it reads the whole disks and compares hashes."
)
_DEFINITION_TEXT = "Says which disks ovm.backup clones; removed after the backup."
# What a restore makes is for good: the mark only tells until then whose it is. It stands behind the saved description.
_TEXTS = {"clone": _CLONE_TEXT, "definition": _DEFINITION_TEXT, "restore": "Restored by ovm.backup."}


@dataclass(frozen=True)
class CloneDisk:
    """A disk of a clone. C(path) is relative to the storage repository, C(size) bytes."""

    slot: int
    source_disk_id: str
    id: str
    repository_id: str
    path: str
    size: int


@dataclass(frozen=True)
class Clone:
    """A hot clone of ours. C(vm_id) is the source VM, C(id) the clone."""

    id: str
    name: str
    vm_id: str
    run_id: str
    disks: tuple[CloneDisk, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {**asdict(self), "disks": [asdict(disk) for disk in self.disks]}


@dataclass(frozen=True)
class Purpose:
    """What a restore that is repeated after an interruption has to know of a disk that it had made.

    C(previous) is the virtual disk that the C(slot) of the VM C(vm_id) held before; C(was_running) whether that VM ran;
    C(done) whether all is done, so that nothing but the marks of the restore is left.
    """

    slot: int
    point: str | None = None
    vm_id: str | None = None
    previous: str | None = None
    was_running: bool = False
    done: bool = False

    @classmethod
    def read(cls, facts: Any) -> Purpose | None:
        """Return what a mark says, None if that is not whole."""
        if not isinstance(facts, Mapping) or not isinstance(facts.get("slot"), int):
            return None
        point, vm_id, previous = (
            value if isinstance(value, str) else None for value in (facts.get(key) for key in ("point", "vm", "disk"))
        )
        return cls(facts["slot"], point, vm_id, previous, facts.get("ran") is True, facts.get("done") is True)

    def facts(self) -> dict[str, Any]:
        """Return what is written into a mark."""
        known = {
            "point": self.point,
            "vm": self.vm_id,
            "disk": self.previous,
            "ran": self.was_running,
            "done": self.done,
        }
        return {"slot": self.slot, **{key: value for key, value in known.items() if value}}


# Slot, disk of the source, disk of the clone, mapping of the clone.
MarkedDisk = tuple[int, str, str, str]


@dataclass(frozen=True)
class Mark:
    """What a mark says. C(disks) is empty if there was no room, C(vm_id) of a restore if it was not told."""

    kind: str  # "clone" | "definition" | "restore"
    manager_id: str
    vm_id: str
    run_id: str
    own_id: str | None = None
    job_id: str | None = None
    disks: tuple[MarkedDisk, ...] = ()
    purpose: Purpose | None = None

    def description(self, words: str = "") -> str:
        """Return the description that carries the mark, behind C(words) of its own.

        What does not fit is left out: first the list of disks, then the end of the words.
        """
        facts: dict[str, Any] = {
            "kind": self.kind,
            "manager": self.manager_id,
            "vm": self.vm_id,
            "run": self.run_id,
            "id": self.own_id,
            "job": self.job_id,
            "disks": [list(entry) for entry in self.disks],
            "for": self.purpose.facts() if self.purpose is not None else None,
        }
        facts = {key: value for key, value in facts.items() if value}
        words = words or _TEXTS[self.kind]
        mark = f" {MARK} {json.dumps(facts, separators=(',', ':'))}"
        if len(words) + len(mark) > _DESCRIPTION_LIMIT:
            facts.pop("disks", None)
            mark = f" {MARK} {json.dumps(facts, separators=(',', ':'))}"
        return words[: _DESCRIPTION_LIMIT - len(mark)] + mark


def read_mark(description: Any, kind: str) -> Mark | None:
    """Return the mark of this kind in a description, None if there is none or it is not whole."""
    _words, found, rest = description.partition(f"{MARK} ") if isinstance(description, str) else ("", "", "")
    if not found:
        return None
    try:
        facts, _end = json.JSONDecoder().raw_decode(rest)
    except ValueError:
        return None
    if not isinstance(facts, Mapping) or facts.get("kind") != kind:
        return None
    manager_id, vm_id, run_id = (facts.get(key) for key in ("manager", "vm", "run"))
    needed = (manager_id, run_id) if kind == "restore" else (manager_id, vm_id, run_id)
    if not all(isinstance(value, str) and value for value in needed):
        return None
    own_id, job_id = facts.get("id"), facts.get("job")
    return Mark(
        kind=kind,
        manager_id=str(manager_id),
        vm_id=vm_id if isinstance(vm_id, str) else "",
        run_id=str(run_id),
        own_id=own_id if isinstance(own_id, str) else None,
        job_id=job_id if isinstance(job_id, str) else None,
        disks=_disks(facts.get("disks")),
        purpose=Purpose.read(facts.get("for")),
    )


def unmarked(description: str) -> str:
    """Return a description without the mark at its end."""
    return description.partition(MARK)[0].rstrip()


def _disks(entries: Any) -> tuple[MarkedDisk, ...]:
    found = []
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, list) and len(entry) == 4 and isinstance(entry[0], int):
            found.append((entry[0], str(entry[1]), str(entry[2]), str(entry[3])))
    return tuple(found)


def clone_name(vm_name: str, run_id: str) -> str:
    """Return C(app01.ovm-backup.<run id>); a very long VM name is cut, the run id never."""
    suffix = f".ovm-backup.{run_id}"
    return vm_name[: _NAME_LIMIT - len(suffix)] + suffix


def definition_name(run_id: str) -> str:
    """Return the name of the clone definition of a run."""
    return f"ovm.backup {run_id}"


def check_run_id(run_id: str) -> None:
    """Refuse a run id that could not be read back from names and descriptions."""
    if not _RUN_ID.fullmatch(run_id):
        raise InvalidInputError(
            f"{run_id!r} cannot be a run id: it has 1 to 64 letters, digits and . _ : + - and begins with a letter or "
            "digit.",
            run_id=run_id,
        )
