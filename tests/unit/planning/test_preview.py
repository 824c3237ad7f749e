# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The text of a plan, literally."""

from __future__ import annotations

import dataclasses

from unit.planning.estate import HOUR, NOW, client, disk, group, inventory, rule, subclient, vault, vm

from ansible_collections.ovm.backup.plugins.module_utils.manager.clone_records import Mark
from ansible_collections.ovm.backup.plugins.module_utils.manager.clones import is_ours
from ansible_collections.ovm.backup.plugins.module_utils.planning.access import Access
from ansible_collections.ovm.backup.plugins.module_utils.planning.plan import make_plan
from ansible_collections.ovm.backup.plugins.module_utils.planning.preview import plan_summary

TEXT = """\
Plan for subclient prod, incremental asked for: 2 back up, 1 nothing to do, 1 cannot be backed up, 1 skip

1. old Ñandú: back up
  client: old_Ñandú (new)
  how: cold on proxy p1
  type: full, first backup of this VM
  disk 0: disk0 in iscsi1, full
  read: by path, the proxy does not see storage repository 'iscsi1', and there are no settings for ssh
  why: the VM is powered off; it has no recovery point yet
  selected by: content[0]: name equals '*'

2. web/01: back up
  client: web/01
  how: hot clone on proxy p2
  type: incremental, changes since recovery point P1
  disk 0: disk0 in iscsi1, incremental
  read: by path, the proxy does not see storage repository 'iscsi1', and there are no settings for ssh
  changes: by hash, recovery point P1 does not tell which images it was read from
  disk 1 left out: disk1, taken out by exclude.disks[0]: slot equals 1
  why: the VM is running, all its disks are on storage repository 'iscsi1' (OCFS2 on iSCSI); its newest recovery point \
P1 is 1 d 6 h old, allowed are less than 20 h
  selected by: content[0]: name equals '*'

3. db01: nothing to do
  client: db01
  disk 1 left out: asm1, taken out by exclude.disks[0]: slot equals 1
  why: its newest recovery point P1 is 1 h old, younger than the 20 h that are allowed
  selected by: content[0]: name equals '*'

4. mail 01: cannot be backed up
  client: mail_01
  why: the VM is running and cannot be hot cloned: disk 'Büro' (slot 0) is on the NFS storage repository 'nfs1'; it \
may not be shut down (nfs_policy: fail): allow it with nfs_policy: shutdown
  selected by: content[0]: name equals '*'
  warning: disk 'asm' (slot 3) is not backed up: physical disks are not backed up

5. tpl: skip
  client: tpl
  why: templates are not backed up
  selected by: content[0]: name equals '*'

Left out: test01, by exclude.vms[0]: name equals 'test*'
"""


def test_plan_as_text() -> None:
    web = vm("web/01", disk(0), disk(1, "fc1"))
    current = vm("db01", disk(0), disk(1, None, kind="physical", name="asm1"))
    vms = (
        web,
        current,
        vm("mail 01", disk(0, "nfs1", name="Büro"), disk(3, None, kind="physical", name="asm")),
        vm("old Ñandú", state="STOPPED"),
        vm("tpl", state="TEMPLATE"),
        vm("test01"),
    )
    definition = subclient(
        exclude={"vms": [{"rules": [rule("name", "test*")]}], "disks": [{"field": "slot", "value": "1"}]},
        max_age="20h",
    )
    known = vault(client(current), client(web, age=30 * HOUR))
    plan = make_plan(definition, inventory(*vms), known, now=NOW, **group("p1", "p2"))
    assert plan_summary(plan.as_dict()) == TEXT.splitlines()


def test_where_disks_are_read_and_how_changes_are_found() -> None:
    guest = vm("guest", disk(0), disk(1, "fc1"), disk(2), disk(3, "fc1"))
    clone_disks = [disk(slot, where, path=f"/c{slot}.img") for slot, where in enumerate(("iscsi1", "fc1", "iscsi1"))]
    mark = Mark("clone", "manager", guest.id, "RUN", own_id="id-clone")
    clone = vm("clone", *clone_disks, id="id-clone", state="STOPPED", description=mark.description())
    images = [
        {"clone_id": "id-clone", "repository_id": one.repository_id, "path": one.path, "identity": {"uuid": "u"}}
        for one in clone_disks
    ]
    images[1]["path"] = "/other.img"
    known = client(dataclasses.replace(guest, disks=guest.disks[:3]))
    disks = tuple(dataclasses.replace(one, image=image) for one, image in zip(known.disks, images, strict=True))
    plan = make_plan(
        subclient(),
        inventory(guest, clone),
        vault(dataclasses.replace(known, disks=disks)),
        now=NOW,
        is_ours=is_ours,
        **group("localhost", access=Access(frozenset({"id-fc1"}), True, {"server1": "dom0:22"})),
    )
    lines = plan_summary(plan.as_dict())
    assert lines[lines.index("  disk 3: disk3 in fc1, full") + 1 : -2] == [
        "  read: over ssh from server1 (dom0:22), the proxy does not see storage repository 'iscsi1'; server 'server1' "
        "has it, and is the VM's own",
        "  read: by path, the proxy sees storage repository 'fc1'",
        "  changes of disk 0: by extent maps, compared with the clone of recovery point P1",
        "  changes of disk 1: by hash, the reference clone no longer has the image of disk 'disk1' (slot 1)",
        "  changes of disk 2: by extent maps, compared with the clone of recovery point P1",
    ]


def test_plan_without_vms() -> None:
    plan = make_plan(subclient(rule("name", "none"), allow_empty=True), inventory(vm("web")), vault(), now=NOW)
    assert plan_summary(plan.as_dict()) == [
        "Plan for subclient prod, incremental asked for: no VMs",
        *(f"  Warning: {warning}" for warning in plan.warnings),
    ]
    assert len(plan.warnings) > 0


def test_names_stay_on_their_line() -> None:
    plan = make_plan(subclient(), inventory(vm("two\nlines\x1b[31m")), vault(), now=NOW)
    assert plan_summary(plan.as_dict())[2] == "1. two lines\ufffd[31m: back up"
