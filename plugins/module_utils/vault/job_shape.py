# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The form of the record of a finished job: what readers of it may rely on, whoever wrote or changed the file."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import CorruptVaultError

_LATEST = 1e11  # seconds since the epoch: dates that every calendar function can show

Check = Callable[[Any], bool]


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _time(value: Any) -> bool:
    return _number(value) and 0 <= value <= _LATEST


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _optional(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(check(item) for item in value)


def _counts(value: Any) -> bool:
    return isinstance(value, Mapping) and all(_count(number) for number in value.values())


def _disk(value: Any) -> bool:
    return isinstance(value, Mapping) and _count(value.get("slot")) and _text(value.get("reason"))


_VM: dict[str, Check] = {
    "vm_id": _text,
    "vm_name": _text,
    "client": _text,
    "status": _text,
    "reason": _text,
    "method": _text,
    "requested_type": _text,
    "type": _optional(_text),
    "point": _optional(_text),
    "bytes_read": _count,
    "bytes_stored": _count,
    "started": _time,
    "finished": _time,
    "duration": _number,
    "outage": _optional(_number),
    "proxy": _optional(_text),
    "skipped_disks": _list_of(_disk),
    "warnings": _list_of(_text),
}
_JOB: dict[str, Check] = {
    "id": _text,
    "subclient": _text,
    "requested_type": _text,
    "status": _text,
    "started": _time,
    "finished": _time,
    "duration": _number,
    "counts": _counts,
    "bytes_read": _count,
    "bytes_stored": _count,
    "warnings": _list_of(_text),
    "vms": _list_of(lambda value: isinstance(value, Mapping)),
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
