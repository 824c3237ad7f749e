# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The method of a VM, from all of its wanted disks."""

from __future__ import annotations

import pytest
from unit.planning.estate import disk, inventory, vm

from ansible_collections.ovm.backup.plugins.module_utils.manager.inventory import Disk
from ansible_collections.ovm.backup.plugins.module_utils.planning.method import MethodDecision, decide_method


def decide(*disks: Disk, state: str = "RUNNING", policy: str = "fail") -> MethodDecision:
    return decide_method(vm("guest", state=state, disks=disks), disks, inventory(), policy)


def skipped(reason: str) -> MethodDecision:
    return MethodDecision("skip", "skip", reason, (f"not backed up: {reason}",))


@pytest.mark.parametrize(
    ("disks", "places"),
    [
        ([disk(0, "iscsi1")], "storage repository 'iscsi1' (OCFS2 on iSCSI)"),
        ([disk(0, "fc1")], "storage repository 'fc1' (OCFS2 on fibre channel)"),
        (
            [disk(0, "fc1"), disk(1, "iscsi1"), disk(2, "fc1")],
            "storage repository 'fc1' (OCFS2 on fibre channel) and storage repository 'iscsi1' (OCFS2 on iSCSI)",
        ),
    ],
)
def test_running_on_ocfs2_is_hot_cloned(disks: list[Disk], places: str) -> None:
    expected = MethodDecision("backup", "hot_clone", f"the VM is running, all its disks are on {places}")
    assert decide(*disks) == expected


def test_local_ocfs2_is_hot_cloned_with_a_warning() -> None:
    assert decide(disk(0, "iscsi1"), disk(1, "local1", name="x")) == MethodDecision(
        "backup",
        "hot_clone",
        "the VM is running, all its disks are on storage repository 'iscsi1' (OCFS2 on iSCSI) and "
        "storage repository 'local1' (OCFS2 on a local disk)",
        (
            "disk 'x' (slot 1) is on storage repository 'local1' on a local disk of a server: "
            "Oracle documents hot clones for OCFS2 on iSCSI or fibre channel only",
        ),
    )


ON_NFS = "the VM is running and cannot be hot cloned: disk 'disk0' (slot 0) is on the NFS storage repository 'nfs1'"


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (
            "shutdown",
            MethodDecision(
                "backup",
                "shutdown",
                f"{ON_NFS}; it is shut down for its backup and started again (nfs_policy: shutdown)",
            ),
        ),
        ("skip", MethodDecision("skip", "skip", f"{ON_NFS}; it is left out (nfs_policy: skip)")),
        (
            "fail",
            MethodDecision(
                "fail",
                "skip",
                f"{ON_NFS}; it may not be shut down (nfs_policy: fail): allow it with nfs_policy: shutdown",
            ),
        ),
    ],
)
def test_running_on_nfs_goes_by_the_policy(policy: str, expected: MethodDecision) -> None:
    assert decide(disk(0, "nfs1"), policy=policy) == expected


@pytest.mark.parametrize("others", [["iscsi1"], ["local1"], ["noclone"], ["oddlun"], ["iscsi1", "fc1"]])
def test_one_disk_on_nfs_makes_it_a_vm_on_nfs(others: list[str]) -> None:
    disks = [disk(0, "nfs1"), *(disk(slot, where) for slot, where in enumerate(others, 1))]
    found = decide(*disks, policy="shutdown")
    assert (found.action, found.method, found.warnings) == ("backup", "shutdown", ())
    assert found.reason.startswith(f"{ON_NFS}; ")


def test_every_disk_on_nfs_is_named() -> None:
    found = decide(disk(0, "nfs1"), disk(1, "iscsi1"), disk(2, "nfs-thin", name="x"), policy="skip")
    assert found.reason == (
        f"{ON_NFS} and disk 'x' (slot 2) is on the NFS storage repository 'nfs-thin'; it is left out (nfs_policy: skip)"
    )


@pytest.mark.parametrize(
    ("disks", "reason"),
    [
        (
            [disk(0), disk(1, "noclone")],
            "the running VM cannot be hot cloned: disk 'disk1' (slot 1) is on storage repository 'noclone', "
            "whose storage plug-in does not fully support clones",
        ),
        (
            [disk(0, "oddlun")],
            "the running VM cannot be hot cloned: disk 'disk0' (slot 0) is on storage repository 'oddlun', "
            "which is OCFS2 on storage that is neither iSCSI nor fibre channel as far as the manager tells",
        ),
        (
            [disk(0, "nfs1"), disk(1, "odd")],
            "the storage of the running VM is not known: disk 'disk1' (slot 1) is on storage repository 'odd', "
            "which is neither OCFS2 nor NFS as far as the manager tells",
        ),
    ],
)
def test_running_on_unsuitable_storage_is_skipped(disks: list[Disk], reason: str) -> None:
    assert decide(*disks, policy="shutdown") == skipped(reason)


@pytest.mark.parametrize("state", ["RUNNING", "STOPPED", "SUSPENDED"])
@pytest.mark.parametrize(
    ("lost", "reason"),
    [
        (disk(1, None), "disk 'disk1' (slot 1) is in no storage repository"),
        (
            disk(1, "gone"),
            "disk 'disk1' (slot 1) is in storage repository 'id-gone', which the manager does not list",
        ),
        (disk(1, path=None), "disk 'disk1' (slot 1) has no path in storage repository 'iscsi1'"),
    ],
)
def test_disks_that_cannot_be_found_skip_the_vm(state: str, lost: Disk, reason: str) -> None:
    assert decide(disk(0), lost, state=state) == skipped(f"the data of the VM cannot be found: {reason}")


@pytest.mark.parametrize("where", ["iscsi1", "fc1", "local1", "nfs1", "odd", "oddlun", "noclone"])
def test_powered_off_is_cold_on_any_storage(where: str) -> None:
    assert decide(disk(0, where), state="STOPPED") == MethodDecision("backup", "cold", "the VM is powered off")


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (
            "SUSPENDED",
            "the VM is suspended: it can neither be hot cloned nor are its disks at rest; resume it or power it off",
        ),
        (
            "STARTING",
            "the VM is changing its power state (STARTING); a later run will find it running or powered off",
        ),
        (
            "STOPPING",
            "the VM is changing its power state (STOPPING); a later run will find it running or powered off",
        ),
        ("PAUSED", "the manager reports a power state that this version does not know: 'PAUSED'"),
        ("", "the manager reports a power state that this version does not know: ''"),
    ],
)
def test_other_power_states_are_skipped(state: str, reason: str) -> None:
    assert decide(disk(0), state=state, policy="shutdown") == skipped(reason)


TWO = (disk(0), disk(1, "fc1"))
NO_PAUSE = (
    "consistency: paused asks for a pause of the guest while its 2 disks are cloned, and Oracle VM Manager has none in "
    "which a clone can be made: use consistency: crash, keep what belongs together on one disk, or back the VM up "
    "while it is powered off"
)


@pytest.mark.parametrize(
    ("disks", "state", "consistency", "action", "pause"),
    [
        (TWO, "RUNNING", "crash", "backup", "not_needed"),
        (TWO, "RUNNING", "paused", "fail", "cannot_be_served"),
        (TWO[:1], "RUNNING", "paused", "backup", "not_needed"),  # one disk is cut at one moment anyway
        (TWO, "STOPPED", "paused", "backup", "not_needed"),
        ((disk(0, "nfs1"), disk(1, "nfs1")), "RUNNING", "paused", "backup", "not_needed"),  # shut down
        (TWO, "SUSPENDED", "paused", "skip", "not_needed"),
        ((disk(0), disk(1, "odd")), "RUNNING", "paused", "skip", "not_needed"),
    ],
)
def test_pause(disks: tuple[Disk, ...], state: str, consistency: str, action: str, pause: str) -> None:
    found = decide_method(vm("guest", state=state, disks=disks), disks, inventory(), "shutdown", consistency)
    assert (found.action, found.pause) == (action, pause)
    if action == "fail":
        assert (found.method, found.reason) == ("skip", NO_PAUSE)
    else:
        assert found == decide(*disks, state=state, policy="shutdown")


@pytest.mark.parametrize(
    ("state", "where", "effect"),
    [
        ("RUNNING", "iscsi1", "the recovery point is crash consistent for this VM's clone only"),
        ("RUNNING", "nfs1", "the recovery point is consistent only if no other VM writes to it meanwhile"),
        ("STOPPED", "iscsi1", "the recovery point is consistent only if no other VM writes to it meanwhile"),
    ],
)
def test_shared_disks_are_backed_up_with_a_warning(state: str, where: str, effect: str) -> None:
    found = decide(disk(0), disk(1, where, shared=True), state=state, policy="shutdown")
    assert found.action == "backup"
    assert found.warnings == (f"disk 'disk1' (slot 1) is shared with other VMs: {effect}",)
