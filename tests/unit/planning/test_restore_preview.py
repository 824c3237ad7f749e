# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan of a restore as text: every word of it."""

from __future__ import annotations

from unit.planning.test_restore_plan import ATTACH, IN_PLACE, NEW, POINT, document, estate, made_by, plan, point

from ansible_collections.ovm.backup.plugins.module_utils.planning.restore_preview import restore_summary

NAMES = {"id-pool1": "pool1"}


def test_new_vm() -> None:
    saved = document(hugePagesEnabled=True, bootOrder=["DISK", "PXE"], pinnedCpus="0,1", cpuCount=2)
    made = plan(NEW, document=saved, point=point(skipped_disks=({"slot": 3},)))
    assert restore_summary(made.as_dict(), NAMES) == [
        f"Restore of client db as of {POINT} to a new VM again: 2 disks, 300 B of data",
        "  backed up from: VM db",
        "  disk 0: disk0, 1.0 GiB, 100 B of data, to iscsi1",
        f"    written: by path, {made.disks[0].source_reason}",
        "  disk 1: disk1, 1.0 GiB, 200 B of data, to iscsi1",
        f"    written: by path, {made.disks[1].source_reason}",
        "  network card: vm-net, 00:21:F6:AA:00:01",
        "  in: server pool pool1, configuration in storage repository id-iscsi1",
        "  settings: bootOrder DISK/PXE, cpuCount 2, hugePagesEnabled on, memory 512",
        "  power: it is not started",
        "  note: the VM was pinned to processors 0,1: pin it again where it runs now",
        "  note: disks in the slots 3 were not backed up and are not restored",
    ]


def test_in_place_goes_on_after_an_interruption() -> None:
    first = plan(IN_PLACE)
    lines = restore_summary(plan(IN_PLACE, made=made_by(first)).as_dict(), NAMES)
    assert lines[0] == f"Restore of client db as of {POINT} to VM db, in place of its disks: 2 disks, 300 B of data"
    assert lines[3:5] == [
        f"    instead of: virtual disk {first.disks[0].previous}",
        "    goes on with: virtual disk new-0.img of an interrupted call",
    ]
    assert [line for line in lines if line.startswith("  backed up from")] == []
    assert "  power: it is stopped first, it is started in the end" in lines
    done = {**first.as_dict(), "complete": True}
    assert restore_summary(done, NAMES) == [
        lines[0],
        "  an interrupted call has done all of it: its marks go, and the replaced disks that are not kept",
    ]


def test_disks_for_another_vm() -> None:
    lines = restore_summary(plan(ATTACH, estate()).as_dict(), NAMES)
    assert lines[0] == f"Restore of client db as of {POINT} to VM helper, as more disks: 2 disks, 300 B of data"
    assert lines[2] == "  disk 0: disk0, 1.0 GiB, 100 B of data, to iscsi1, into slot 1"


def test_ways_to_write() -> None:
    made = plan(NEW).as_dict()
    server = {"id": "1", "name": "ovs1", "address": "192.0.2.11"}
    for source, words in (("ssh", "over ssh by ovs1 (192.0.2.11)"), ("import", "as an import of the manager")):
        disks = [{**made["disks"][0], "source": source, "server": server, "source_reason": "so it is"}]
        assert restore_summary({**made, "disks": disks}, NAMES)[3] == f"    written: {words}, so it is"
