# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A VM into the vault: what the recovery point holds, which type it gets and why."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import blake3
import pytest
import zstandard
from unit.transfer.builders import (
    CHANGES,
    FULL,
    MOMENT,
    NEXT_RUN,
    REPOSITORY,
    RUN,
    VM_CFG,
    VM_ID,
    Estate,
    clone_of,
    disk,
    incremental,
    ticking,
    vm_plan,
)
from unit.vault.builders import KIB, MIB, content_hash, noise, skippables

from ansible_collections.ovm.backup.plugins.module_utils._version import COLLECTION_VERSION
from ansible_collections.ovm.backup.plugins.module_utils.errors import InvalidInputError
from ansible_collections.ovm.backup.plugins.module_utils.transfer.disk_restore import restore_disk
from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import (
    backup_vm,
    existing_point,
)
from ansible_collections.ovm.backup.plugins.module_utils.transfer.request import check_request
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point
from ansible_collections.ovm.backup.plugins.module_utils.vault.point_making import PointOutcome

BLOCK = 64 * KIB
FIRST, SECOND = "20261123T010203Z-0001", "20261123T010204Z-0002"


def file_of(estate: Estate, point: Point, slot: int = 0) -> Path:
    return Path(estate.client.directory) / point.id / point.disks[slot].file


def restored(estate: Estate, point: Point, slot: int = 0) -> bytes:
    """Return the disk as of a point."""
    target = estate.repositories.parent / f"{point.id}-{slot}.img"
    with estate.client.open_disk(point, point.disks[slot]) as chain:
        restore_disk(chain, str(target), content_hash=point.disks[slot].content_hash)
    return target.read_bytes()


def two_runs(estate: Estate, second: dict[str, Any] | None = None) -> tuple[PointOutcome, PointOutcome]:
    """Back up in full, change a block, and back up what the plan of the second run says."""
    first = backup_vm(estate.vault, estate.request(), clock=ticking())
    estate.change(0, MIB, noise(BLOCK, seed=7))
    plan = incremental(vm_plan()) if second is None else second
    return first, backup_vm(estate.vault, estate.request(plan, run_id=NEXT_RUN), clock=ticking(MOMENT + 1))


# --- the recovery point ----------------------------------------------------------------------------------------------


def test_every_field_of_the_manifest(estate: Estate) -> None:
    data = noise(2 * MIB)
    skipped = {"slot": 3, "name": "asm", "kind": "physical", "reason": "physical disks are not backed up"}
    outcome = backup_vm(estate.vault, estate.request(vm_plan(skipped_disks=[skipped])), clock=ticking())
    stored = (Path(estate.client.directory) / FIRST / "0-system.img.zst").read_bytes()
    document = json.dumps({"vm": {"name": "web 01"}, "disk_mappings": []}, indent=2).encode() + b"\n"
    expected = {
        "id": FIRST,
        "client": "web_01",
        "sequence": 1,
        "parent": None,
        "type": "full",
        "requested_type": "incremental",
        "reason": FULL,
        "method": "cold",
        "consistency": "powered_off",
        "vm_id": VM_ID,
        "vm_name": "web 01",
        "created": MOMENT + 0.5,  # after the clock was asked for the registration and the id
        "completed": MOMENT + 0.75,
        "run_id": RUN,
        "job_id": RUN,
        "subclient": "nightly",
        "manager": {"id": "0004fb0000010000e5f6", "version": "3.4.6.2105"},
        "disks": [
            {
                "slot": 0,
                "disk_id": "disk0.img",
                "name": "system",
                "size": 2 * MIB,
                "type": "full",
                "reason": FULL,
                "base": None,
                "file": "0-system.img.zst",
                "file_size": len(stored),
                "header_hash": blake3.blake3(skippables(stored)[0x184D2A52][0]).hexdigest(),
                "content_hash": content_hash(data, BLOCK),
                "repository": "repo one",
                "statistics": {"read": 2 * MIB, "changed": 2 * MIB, "stored": len(stored)},
                "image": {
                    "clone_id": None,
                    "repository_id": REPOSITORY,
                    "path": "/VirtualDisks/disk0.img",
                    # What it is depends on the file system of the machine.
                    "identity": (outcome.point.disks[0].image or {})["identity"],
                },
                "changes": {"method": "all", "reason": FULL, "candidate": None, "sampled": 0},
            }
        ],
        "skipped_disks": [skipped],
        "configuration": {
            "vm_cfg": {"file": "vm.cfg", "size": len(VM_CFG), "blake3": blake3.blake3(VM_CFG).hexdigest()},
            "vm_json": {"file": "vm.json", "size": len(document), "blake3": blake3.blake3(document).hexdigest()},
        },
        "durations": {"transfer": 0.25},
        "versions": {
            "collection": COLLECTION_VERSION,
            "python": platform.python_version(),
            "zstandard": zstandard.__version__,
            "blake3": blake3.__version__,
        },
        "warnings": [],
        "consolidates": None,
        "clone": {"keep": False, "reason": "the VM was read itself", "obsolete": True},
    }
    assert outcome.point.as_dict() == expected
    assert (outcome.created, outcome.notes) == (True, ())
    assert estate.client.point().as_dict() == expected
    assert estate.client.read_file(outcome.point, "vm_json") == document
    assert estate.client.read_file(outcome.point, "vm_cfg") == VM_CFG
    with zstandard.ZstdDecompressor().stream_reader(stored, read_across_frames=True) as plain:
        assert plain.read() == data


def test_the_vault_holds_the_point_and_nothing_else(estate: Estate) -> None:
    backup_vm(estate.vault, estate.request(), clock=ticking())
    below = [f"clients/web_01/{FIRST}/{name}" for name in ("0-system.img.zst", "point.json", "vm.cfg", "vm.json")]
    assert estate.tree == [
        "clients", "clients/web_01", f"clients/web_01/{FIRST}", *below, "clients/web_01/client.json", "jobs",
        "restore.py", "vault.json",
    ]  # fmt: skip
    assert estate.client.document == {
        "vm_id": VM_ID,
        "vm_name": "web 01",
        "registered": MOMENT,
        "names": [{"name": "web 01", "since": MOMENT}],
    }


def test_incremental_holds_what_changed(estate: Estate) -> None:
    first, second = two_runs(estate)
    point = second.point
    assert (point.id, point.sequence, point.parent, point.type, point.reason) == (
        SECOND, 2, FIRST, "incremental", CHANGES,
    )  # fmt: skip
    (stored,) = point.disks
    assert (stored.type, stored.reason, stored.base) == ("incremental", CHANGES, FIRST)
    assert stored.statistics == {"read": 2 * MIB, "changed": BLOCK, "stored": stored.file_size}
    assert stored.file_size < 2 * BLOCK
    assert second.notes == ()
    assert restored(estate, point) == estate.image(0).read_bytes()
    assert restored(estate, first.point) == noise(2 * MIB)


def test_nothing_changed(estate: Estate) -> None:
    backup_vm(estate.vault, estate.request(), clock=ticking())
    again = estate.request(incremental(vm_plan()), run_id=NEXT_RUN)
    point = backup_vm(estate.vault, again, clock=ticking(MOMENT + 1)).point
    assert (point.type, point.disks[0].statistics["changed"]) == ("incremental", 0)
    assert restored(estate, point) == noise(2 * MIB)


def test_disks_of_a_hot_clone(estate: Estate) -> None:
    disks = disk(0), disk(1, "data / 1")
    copies = estate.write("clone0.img", noise(MIB, seed=1)), estate.write("clone1.img", noise(MIB, seed=2))
    estate.image(0).unlink()  # nothing is read from the VM itself
    request = estate.request(vm_plan(*disks, method="hot_clone"), clone=clone_of(*disks))
    progress: list[tuple[str, int, int]] = []
    point = backup_vm(estate.vault, request, clock=ticking(), progress=lambda *seen: progress.append(seen)).point
    assert [(item.slot, item.file, item.disk_id) for item in point.disks] == [
        (0, "0-system.img.zst", "disk0.img"),
        (1, "1-data___1.img.zst", "disk1.img"),
    ]
    assert (restored(estate, point, 0), restored(estate, point, 1)) == copies
    assert point.consistency == "crash_consistent"
    assert progress == [("system", MIB, MIB), ("data / 1", MIB, MIB)]


@pytest.mark.parametrize(
    ("method", "killed", "consistency"),
    [
        ("hot_clone", False, "crash_consistent"),
        ("shutdown", False, "clean_shutdown"),
        ("shutdown", True, "crash_consistent"),
        ("cold", False, "powered_off"),
    ],
)
def test_consistency(estate: Estate, method: str, killed: bool, consistency: str) -> None:
    plan = vm_plan(method=method)
    clone = clone_of(*plan["disks"]) if method == "hot_clone" else None
    assert estate.request(plan, clone=clone, killed=killed).consistency == consistency


# --- which type, and why ---------------------------------------------------------------------------------------------


def test_full_when_the_base_is_gone(estate: Estate) -> None:
    reason = "the recovery point that the plan builds on is gone"
    point = backup_vm(estate.vault, estate.request(incremental(vm_plan())), clock=ticking()).point
    assert (point.type, point.reason, point.parent) == ("full", reason, None)
    assert (point.disks[0].type, point.disks[0].reason, point.disks[0].base) == ("full", reason, None)
    assert point.warnings == ()


def test_full_when_the_disk_was_resized(estate: Estate) -> None:
    backup_vm(estate.vault, estate.request(), clock=ticking())
    data = estate.write(0, noise(3 * MIB))
    again = estate.request(incremental(vm_plan()), run_id=NEXT_RUN)
    point = backup_vm(estate.vault, again, clock=ticking(MOMENT + 1)).point
    reason = f"disk resized from {2 * MIB} to {3 * MIB} bytes"
    assert (point.type, point.reason, point.parent, point.disks[0].base) == ("full", reason, FIRST, None)
    assert restored(estate, point) == data


def test_a_new_disk_is_full_beside_an_incremental_one(estate: Estate) -> None:
    backup_vm(estate.vault, estate.request(), clock=ticking())
    data = estate.write(1, noise(MIB, seed=3))
    again = estate.request(incremental(vm_plan(disk(0), disk(1, "data"))), run_id=NEXT_RUN)
    point = backup_vm(estate.vault, again, clock=ticking(MOMENT + 1)).point
    reason = f"disk was not in the newest recovery point {FIRST}"
    assert [(item.type, item.reason, item.base) for item in point.disks] == [
        ("incremental", CHANGES, FIRST),
        ("full", reason, None),
    ]
    assert (point.type, point.reason) == ("incremental", reason)
    assert restored(estate, point, 1) == data


def test_full_when_the_file_of_the_base_is_missing(estate: Estate) -> None:
    first = backup_vm(estate.vault, estate.request(), clock=ticking()).point
    file_of(estate, first).unlink()
    again = estate.request(incremental(vm_plan()), run_id=NEXT_RUN)
    point = backup_vm(estate.vault, again, clock=ticking(MOMENT + 1)).point
    assert (point.type, point.reason) == ("full", f"the newest recovery point {FIRST} is damaged")


def test_a_full_that_was_asked_for_keeps_its_parent(estate: Estate) -> None:
    _first, second = two_runs(estate, vm_plan(disk(type_reason="asked"), requested_type="full", type_reason="asked"))
    point = second.point
    assert (point.type, point.requested_type, point.reason, point.parent) == ("full", "full", "asked", FIRST)
    assert point.disks[0].base is None


def test_a_damaged_manifest_is_no_base_but_keeps_its_number(estate: Estate) -> None:
    first = backup_vm(estate.vault, estate.request(), clock=ticking()).point
    manifest = Path(estate.client.directory) / first.id / "point.json"
    manifest.write_bytes(b"{}")
    again = estate.request(incremental(vm_plan()), run_id=NEXT_RUN)
    outcome = backup_vm(estate.vault, again, clock=ticking(MOMENT + 1))
    assert (outcome.point.id, outcome.point.type, outcome.point.parent) == (SECOND, "full", None)
    assert manifest.read_bytes() == b"{}"  # not ours to remove


# --- the same run once more ------------------------------------------------------------------------------------------


def test_the_same_run_does_not_repeat_the_point(estate: Estate) -> None:
    first = backup_vm(estate.vault, estate.request(), clock=ticking())
    tree = estate.tree
    estate.image(0).unlink()
    again = backup_vm(estate.vault, estate.request(), clock=ticking(MOMENT + 60))
    assert again == PointOutcome(first.point, False, ())
    assert estate.tree == tree
    assert existing_point(estate.vault, estate.request()) == first.point
    assert existing_point(estate.vault, estate.request(run_id=NEXT_RUN)) is None
    assert existing_point(estate.vault, estate.request(vm_plan(vm_id="another"))) is None
    assert existing_point(estate.vault, estate.request(vm_plan(client="another"))) is None


def test_a_renamed_vm_keeps_its_history(estate: Estate) -> None:
    backup_vm(estate.vault, estate.request(), clock=ticking())
    renamed = estate.request(vm_plan(vm_name="web 02"), run_id=NEXT_RUN)
    point = backup_vm(estate.vault, renamed, clock=ticking(MOMENT + 1)).point
    assert (point.client, point.vm_name) == ("web_01", "web 02")
    assert estate.client.document["names"] == [
        {"name": "web 01", "since": MOMENT},
        {"name": "web 02", "since": MOMENT + 1},
    ]


# --- the configuration -----------------------------------------------------------------------------------------------


def test_unreadable_vm_cfg_is_a_warning(estate: Estate) -> None:
    estate.vm_cfg.unlink()
    outcome = backup_vm(estate.vault, estate.request(), clock=ticking())
    note = f"vm.cfg is not in the recovery point: Cannot read {estate.vm_cfg}: No such file or directory"
    assert (outcome.notes, outcome.point.warnings) == ((note,), (note,))
    assert list(outcome.point.configuration) == ["vm_json"]


def test_unknown_place_of_vm_cfg_is_a_warning(estate: Estate) -> None:
    outcome = backup_vm(estate.vault, estate.request(vm_cfg=None), clock=ticking())
    assert outcome.notes == ("the manager does not say where vm.cfg lies: it is not in the recovery point",)
    assert list(outcome.point.configuration) == ["vm_json"]


def test_half_a_surrogate_pair_in_the_document(estate: Estate) -> None:
    document = {"vm": {"name": "half \ud83d", "description": "ä"}}
    point = backup_vm(estate.vault, estate.request(document=document), clock=ticking()).point
    stored = estate.client.read_file(point, "vm_json")
    assert json.loads(stored) == document
    assert "ä".encode() in stored


# --- requests that cannot work ---------------------------------------------------------------------------------------


def escaping(path: str, repository: str = "repo") -> str:
    return f"{path!r} in repository {repository!r} is not a path inside a storage repository"


def vm_cfg_at(path: str) -> dict[str, Any]:
    return {"repository_id": "repo", "path": path, "source": "path", "server": None}


ONE = vm_plan()
HOT = vm_plan(method="hot_clone")
ONLY_FOR_HOT = "a clone is given only, and always, for a hot_clone"
NO_COPY = "The clone 0004fb0000060000ffff has no copy of disk 'system' (slot 0, disk0.img) of VM 'web 01'"
REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "current": (
        vm_plan(action="current"), {}, "VM 'web 01' is not planned for a backup: action 'current', method 'cold'"
    ),
    "skip": (vm_plan(method="skip"), {}, "VM 'web 01' is not planned for a backup: action 'backup', method 'skip'"),
    "no clone": (HOT, {}, f"VM 'web 01' is planned with method hot_clone: {ONLY_FOR_HOT}"),
    "needless clone": (
        ONE, {"clone": clone_of(*ONE["disks"])}, f"VM 'web 01' is planned with method cold: {ONLY_FOR_HOT}"
    ),
    "clone without the disk": (HOT, {"clone": clone_of()}, NO_COPY),
    "clone of another disk": (HOT, {"clone": clone_of(disk(disk_id="other.img"))}, NO_COPY),
    "no disk": ({**ONE, "disks": []}, {}, "VM 'web 01' is planned without any disk"),
    "no path": (vm_plan(disk(path=None)), {}, "The manager does not say where disk 'system' lies"),
    "no repository": (vm_plan(disk(repository_id=None)), {}, "The manager does not say where disk 'system' lies"),
    "path escapes": (vm_plan(disk(repository_id="repo", path="../x.img")), {}, escaping("../x.img")),
    "repository escapes": (vm_plan(disk(repository_id="..", path="/x.img")), {}, escaping("/x.img", "..")),
    "vm.cfg escapes": (ONE, {"vm_cfg": vm_cfg_at("a/../../vm.cfg")}, escaping("a/../../vm.cfg")),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_anything_is_touched(estate: Estate, case: str) -> None:
    plan, changes, message = REFUSED[case]
    tree = estate.tree
    request = estate.request(plan, **changes)
    with pytest.raises(InvalidInputError) as refusal:
        check_request(request)
    assert refusal.value.message == message
    with pytest.raises(InvalidInputError):
        backup_vm(estate.vault, request)
    assert estate.tree == tree


def test_a_clone_may_be_to_come(estate: Estate) -> None:
    check_request(estate.request(HOT), clone_to_come=True)
    with pytest.raises(InvalidInputError):
        check_request(estate.request(ONE, clone=clone_of(*ONE["disks"])), clone_to_come=True)
