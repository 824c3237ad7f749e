# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Records of jobs, and a vault with a past: several weeks of nights, good and bad."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unit.vault.builders import add_point, make_client, noise, write_image

from ansible_collections.ovm.backup.plugins.module_utils.vault.boot_test_record import BootTest, write_boot_test
from ansible_collections.ovm.backup.plugins.module_utils.vault.jobs import JobStore, new_job, vm_record
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Client, Vault
from ansible_collections.ovm.backup.plugins.module_utils.vault.verification_record import (
    VERIFICATION_NAME,
    Problem,
    Verification,
    write_verification,
)

MOMENT = 1795395723.0  # 2026-11-23 01:02:03 UTC
DAY = 86400.0
GIB, MIB = 1 << 30, 1 << 20
SCREENSHOT = b"\x89PNG in name only"
DAMAGE = "block at 65536 has another hash"
HOSTILE = "<script>alert('x')</script> \"&\\\n\u202egnp.exe"
PHYSICAL = {"slot": 1, "name": "asm", "kind": "physical", "reason": "physical disks are not backed up"}
TOLD = "disk 'asm' (slot 1) is not backed up: physical disks are not backed up"


def job_id(number: int = 0) -> str:
    """Return the id of the job of a night, counted from MOMENT."""
    return f"202611{23 + number:02d}T010203Z-0a1b2c3d-{number:06x}"


def planned(name: str, client: str | None = None, **changes: Any) -> dict[str, Any]:
    """Return what a job needs of a VM's entry in a plan."""
    values: dict[str, Any] = {
        "order": 1,
        "vm_id": f"id of {name}",
        "vm_name": name,
        "client": client or name,
        "action": "backup",
        "method": "hot_clone",
        "reason": "the VM is running",
        "requested_type": "incremental",
        "proxy": "proxy1",
        "skipped_disks": [],
        "warnings": [],
    }
    return {**values, **changes}


def made(kind: str = "full", read: int = 0, stored: int = 0, **changes: Any) -> dict[str, Any]:
    """Return what a job needs of a recovery point."""
    values: dict[str, Any] = {
        "id": "20261123T010210Z-0001",
        "type": kind,
        "reason": "first backup of this VM" if kind == "full" else "changes since 20261122T010210Z-0001",
        "method": "hot_clone",
        "consistency": "crash_consistent",
        "warnings": [],
        "disks": [{"statistics": {"read": read, "stored": stored}}],
    }
    return {**values, **changes}


def add_job(
    vault: Vault,
    number: int,
    *vms: tuple[dict[str, Any], dict[str, Any]],
    subclient: str = "nightly",
    duration: float = 600.0,
    started: float | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Record a finished job. Each VM is its entry in the plan and what else C(vm_record) takes."""
    begun = MOMENT + number * DAY if started is None else started
    plan = {"subclient": subclient, "requested_type": "incremental", "warnings": [], **changes}
    plan["vms"] = [{**vm, "order": place} for place, (vm, _record) in enumerate(vms, 1)]
    job, store = new_job(changes.get("job_id") or job_id(number), plan, now=begun), JobStore(vault)
    store.start(job)
    for place, (_vm, record) in enumerate(vms):
        times = {"started": begun + 1, "finished": begun + duration - 1}
        store.put_vm(job["id"], vm_record(plan["vms"][place], **{**times, **record}))
    return store.finish(job["id"], now=begun + duration)


def add_client(directory: Path, name: str, *, points: int = 1, **changes: Any) -> tuple[Client, list[Point]]:
    """Make a client with a full and the incrementals after it, one each night."""
    client = make_client(directory, name, vm_id=f"id of {name}")
    image = directory.parent / f"{name}.img"
    write_image(image, noise(65536))
    found: list[Point] = []
    for number in range(points):
        with image.open("r+b") as file:
            file.write(bytes([number]) * 512)
        now = MOMENT + number * DAY
        times = {"created": now, "completed": now + 60, "vm_name": name, "subclient": "nightly"}
        base = found[-1] if found else None
        found.append(add_point(client, image, base=base, now=now, **{**times, **changes}))
    return client, found


def verify(client: Client, point: Point, *, at: float = MOMENT + DAY, problem: str | None = None) -> Path:
    """Leave the result of a verification beside a point: it is good, or there is a problem in its disk file."""
    problems = () if problem is None else (Problem(point.id, point.disks[0].file, 65536, problem),)
    directory = Path(client.directory) / point.id
    write_verification(str(directory), Verification(at, not problems, problems, 1, 1.0, {}, job_id()))
    return directory / VERIFICATION_NAME


def boot(client: Client, point: Point, *, at: float = MOMENT + DAY, ok: bool = True, verdict: str = "up") -> BootTest:
    """Leave the result of a boot test beside a point, with something in the place of a screenshot."""
    machine = {"accelerator": "tcg", "chipset": "pc", "firmware": "bios", "disk_bus": "ide", "nic_model": "e1000"}
    result = BootTest(at, ok, verdict, 3.5, {**machine, "memory": 64, "cpus": 1}, {})
    return write_boot_test(str(Path(client.directory) / point.id), result, screenshot=SCREENSHOT, log=b"")
