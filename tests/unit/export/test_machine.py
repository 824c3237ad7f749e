# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The VM of a recovery point, from the manager's JSON, from vm.cfg, from both, and from hardly anything."""

from __future__ import annotations

from unit.export.machines import UUID, VM_ID, document, machine, point, point_disk

from ansible_collections.ovm.backup.plugins.module_utils.export.machine import (
    Machine,
    MachineDisk,
    MachineNic,
    parse_machine,
    parse_vm_cfg,
)

VM_CFG = f"""\
vif = ['mac=00:21:f6:5b:b5:f7,bridge=10238073c2',
       'bridge=other']
OVM_simple_name = 'web 01'
OVM_os_type = 'Microsoft Windows Server 2012'
OVM_domain_type = 'xen_hvm'
disk = ['file:/OVS/Repositories/r/VirtualDisks/a.img,xvda,w', ',xvdb:cdrom,r']
uuid = '{UUID}'
memory = 2048
maxmem = 4096
vcpus = 3
maxvcpus = 3
boot = 'cn'
keymap = 'en-us'
localtime = 1
on_crash = 'restart'
evil = __import__('os').system('false')
"""


def test_from_the_manager() -> None:
    disks = (point_disk(0), point_disk(3))
    found = parse_machine(point(*disks), document((0, 3)), {})
    assert found == Machine(
        name="web 01",
        vm_id=VM_ID,
        uuid=UUID,
        description="a <web> server",
        domain_type="XEN_HVM_PV_DRIVERS",
        os_type="Oracle Linux 7",
        memory=4096,
        memory_limit=8192,
        cpu_count=2,
        cpu_limit=4,
        boot_order=("CDROM", "DISK"),
        mouse="OS_DEFAULT",
        keymap="de",
        local_time=None,
        restart_on_crash=True,
        disks=(MachineDisk(disks[0]), MachineDisk(disks[1], shared=True)),
        nics=(MachineNic("00:21:f6:5b:b5:f7", "vm-net"),),
        cdroms=1,
        skipped_disks=(),
        consistency="crash_consistent",
        guessed=(),
    )


def test_from_vm_cfg_alone() -> None:
    found = parse_machine(point(vm_id="x"), {}, parse_vm_cfg(VM_CFG))
    assert (found.domain_type, found.family, found.uuid) == ("XEN_HVM", "windows", UUID)
    assert (found.memory, found.memory_limit, found.cpu_count, found.cpu_limit) == (2048, 4096, 3, 3)
    assert (found.boot_order, found.keymap, found.local_time) == (("DISK", "PXE"), "en-us", True)
    assert found.nics == (MachineNic("00:21:f6:5b:b5:f7", "10238073c2"), MachineNic(None, "other"))
    assert (found.cdroms, found.restart_on_crash, found.guessed) == (1, True, ())


def test_from_hardly_anything() -> None:
    found = parse_machine(point(vm_id="x"), {"vm": [], "virtual_nics": 3}, parse_vm_cfg("memory = \n'vcpus = ["))
    assert (found.uuid, found.domain_type, found.memory, found.cpu_count) == (None, "XEN_HVM", 1024, 1)
    assert found.guessed == ("memory", "vcpus", "domain_type")
    assert (found.family, found.nics, found.boot_order) == ("other", (), ("DISK",))


def test_domain_types() -> None:
    assert machine(vmDomainType="XEN_PVM").is_pvm
    for line, kind in (("builder = 'hvm'", "XEN_HVM"), ("bootloader = '/usr/bin/pygrub'", "XEN_PVM")):
        assert parse_machine(point(), {}, parse_vm_cfg(line)).domain_type == kind


def test_vm_cfg_is_not_run_and_loses_only_what_cannot_be_read() -> None:
    found = parse_vm_cfg(VM_CFG)
    assert "evil" not in found
    assert found["vif"] == ["mac=00:21:f6:5b:b5:f7,bridge=10238073c2", "bridge=other"]
    assert parse_vm_cfg("a = 1\nb = (\nc = 3\n") == {"a": 1, "c": 3}
