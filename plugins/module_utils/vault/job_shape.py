# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The form of the record of a finished job: what readers of it may rely on, whoever wrote or changed the file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import CorruptVaultError
from .shape import Check, is_count, is_number, is_text, is_time, list_of, optional


def _counts(value: Any) -> bool:
    return isinstance(value, Mapping) and all(is_count(number) for number in value.values())


def _disk(value: Any) -> bool:
    return isinstance(value, Mapping) and is_count(value.get("slot")) and is_text(value.get("reason"))


_VM: dict[str, Check] = {
    "vm_id": is_text,
    "vm_name": is_text,
    "client": is_text,
    "status": is_text,
    "reason": is_text,
    "method": is_text,
    "requested_type": is_text,
    "type": optional(is_text),
    "point": optional(is_text),
    "bytes_read": is_count,
    "bytes_stored": is_count,
    "started": is_time,
    "finished": is_time,
    "duration": is_number,
    "outage": optional(is_number),
    "proxy": optional(is_text),
    "skipped_disks": list_of(_disk),
    "warnings": list_of(is_text),
}
_JOB: dict[str, Check] = {
    "id": is_text,
    "subclient": is_text,
    "requested_type": is_text,
    "status": is_text,
    "started": is_time,
    "finished": is_time,
    "duration": is_number,
    "counts": _counts,
    "bytes_read": is_count,
    "bytes_stored": is_count,
    "warnings": list_of(is_text),
    "vms": list_of(lambda value: isinstance(value, Mapping)),
}


def check_finished(job: Mapping[str, Any], path: str, job_id: str) -> None:
    """Raise C(CorruptVaultError) unless this is the record of the finished job with this id, as C(path) holds it.

    Other keys may be there: a later version may write more.
    """
    wrong = [name for name, check in _JOB.items() if not check(job.get(name))]
    if not wrong:
        for number, vm in enumerate(job["vms"]):
            wrong += [f"vms[{number}].{name}" for name, check in _VM.items() if not check(vm.get(name))]
    if not wrong and job["id"] != job_id:
        raise CorruptVaultError(f"{path} is damaged: it belongs to job {job['id']}", path=path, offset=0)
    if wrong:
        raise CorruptVaultError(
            f"{path} is damaged: it is not the record of a finished job ({wrong[0]} is missing or wrong)",
            path=path,
            offset=0,
        )
