# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The inventory from odd data: nulls, missing fields, unknown values, objects that come and go while they are read."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.ovm.backup.plugins.module_utils.errors import NotFoundError
from ansible_collections.ovm.backup.plugins.module_utils.manager.inventory import Inventory, Vm, read_inventory
from ansible_collections.ovm.backup.plugins.module_utils.manager.objects import number, relative_path

MODEL = "com.oracle.ovm.mgr.ws.model."


def ref(kind: str, value: str | None, name: str | None = None) -> dict[str, Any] | None:
    return None if value is None else {"type": MODEL + kind, "value": value, "uri": "https://x/", "name": name}


def item(kind: str, value: str, **fields: Any) -> dict[str, Any]:
    return {"id": ref(kind, value, f"name of {value}"), "name": None, **fields}


class Manager:
    """STAND-IN for ManagerClient: lists and objects from a dictionary; counts what was asked."""

    def __init__(self, **lists: list[dict[str, Any]]) -> None:
        self.lists = lists
        self.single: dict[tuple[str, str], dict[str, Any]] = {}
        self.asked: list[str] = []

    @property
    def manager(self) -> dict[str, Any]:
        return {"id": ref("Manager", "m1"), "managerVersion": "3.4.6.2105", "managerTime": 1448909471527}

    def list(self, kind: str) -> Any:
        self.asked.append(kind)
        return self.lists.get(kind, [])

    def get(self, kind: str, value: str) -> dict[str, Any]:
        self.asked.append(f"{kind}/{value}")
        if (kind, value) not in self.single:
            raise NotFoundError("no such object")
        return self.single[kind, value]


def read(manager: Manager) -> Inventory:
    return read_inventory(manager)  # type: ignore[arg-type]


def only(manager: Manager) -> Vm:
    (vm,) = read(manager).vms.values()
    return vm


def storage(**changes: Any) -> dict[str, list[dict[str, Any]]]:
    """One repository on an iSCSI LUN; ``changes`` replace or remove (None) fields by "Type.field"."""
    ability = {"ability": "CLONE", "value": "FULLY_SUPPORTED"}
    lists = {
        "Repository": item("Repository", "r1", fileSystemId=ref("FileSystem", "f1"), presentedServerIds=None),
        "FileSystem": item(
            "FileSystem", "f1", storageElementId=ref("StorageElement", "e1"), fileServerIds=[ref("FileServer", "s1")]
        ),
        "FileServer": item(
            "FileServer",
            "s1",
            fileServerType="LOCAL",
            fileServerPluginId=ref("FileServerPlugin", "oracle.ocfs2.OCFS2.OCFS2Plugin (0.1.0-42.1)"),
        ),
        "FileServerPlugin": item(
            "FileServerPlugin", "oracle.ocfs2.OCFS2.OCFS2Plugin (0.1.0-42.1)", storageAbilityRecords=[ability]
        ),
        "StorageElement": item("StorageElement", "e1", volumeGroupId=ref("VolumeGroup", "g1")),
        "VolumeGroup": item("VolumeGroup", "g1", storageArrayId=ref("StorageArray", "a 1"), storageElementIds=[]),
        "StorageArray": item("StorageArray", "a 1", storageType="ISCSI"),
    }
    for path, value in changes.items():
        kind, _unused, field = path.partition("__")
        lists[kind][field] = value
    return {kind: [entry] for kind, entry in lists.items()}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("ocfs2", "iscsi", True)),
        ({"StorageArray__storageType": "FIBRECHANNEL"}, ("ocfs2", "fibre_channel", True)),
        ({"StorageArray__storageType": "LOCAL"}, ("ocfs2", "local", True)),
        ({"StorageArray__storageType": "UNKNOWN"}, ("ocfs2", "unknown", True)),
        ({"StorageArray__storageType": "NVME_OF"}, ("ocfs2", "unknown", True)),
        # The volume group knows its LUNs even where the LUN does not know its group.
        (
            {"StorageElement__volumeGroupId": None, "VolumeGroup__storageElementIds": [ref("StorageElement", "e1")]},
            ("ocfs2", "iscsi", True),
        ),
        ({"StorageElement__volumeGroupId": None}, ("ocfs2", "unknown", True)),
        ({"FileSystem__storageElementId": None, "FileServer__fileServerType": "NETWORK"}, ("unknown", "unknown", True)),
        (
            {
                "FileSystem__storageElementId": None,
                "FileServer__fileServerType": "NETWORK",
                "FileServer__fileServerPluginId": ref("FileServerPlugin", "oracle.generic.NFSPlugin (1.1.0)"),
            },
            ("nfs", "nfs", False),
        ),
        ({"FileServer__fileServerType": "NETWORK"}, ("unknown", "unknown", True)),  # a LUN on a network: contradiction
        ({"FileServer__fileServerPluginId": ref("FileServerPlugin", "vendor.X")}, ("unknown", "unknown", False)),
        ({"FileServer__fileServerPluginId": None}, ("ocfs2", "iscsi", False)),
        ({"FileSystem__fileServerIds": None}, ("ocfs2", "iscsi", False)),
        ({"FileSystem__fileServerIds": None, "FileSystem__storageElementId": None}, ("unknown", "unknown", False)),
        ({"Repository__fileSystemId": None}, ("unknown", "unknown", False)),
        ({"FileServerPlugin__storageAbilityRecords": None}, ("ocfs2", "iscsi", False)),
        (
            {"FileServerPlugin__storageAbilityRecords": [{"ability": "CLONE", "value": "OFFLINE_ONLY"}, None]},
            ("ocfs2", "iscsi", False),
        ),
    ],
)
def test_storage_repositories(changes: dict[str, Any], expected: tuple[str, str, bool]) -> None:
    repository = read(Manager(**storage(**changes))).repositories["r1"]
    assert (repository.file_system, repository.transport, repository.thin_clone) == expected
    assert (repository.name, repository.server_ids, repository.size) == ("name of r1", (), None)


def test_bare_objects_are_no_reason_to_fail() -> None:
    kinds = """ServerPool Server Repository FileSystem FileServer FileServerPlugin StorageElement VolumeGroup
        StorageArray Vm VmDiskMapping VirtualDisk VirtualNic ResourceGroup""".split()
    found = read(Manager(**{kind: [{"id": ref(kind, f"{kind}-1")}, {"id": None}] for kind in kinds}))
    vm = found.vms["Vm-1"]
    assert (vm.name, vm.state, vm.memory, vm.cpu_count, vm.repository_id) == ("", "", 0, 0, None)
    assert (vm.disks, vm.nics, vm.tags, vm.config_path, vm.locked) == ((), (), (), None, False)
    assert found.taken_at == 1448909471.527
    assert found.manager_id == "m1"


def test_unknown_values_are_passed_on() -> None:
    vm = only(Manager(Vm=[item("Vm", "v1", vmRunState="HIBERNATING", vmDomainType="XEN_PVH", memory="2048", osType=7)]))
    assert (vm.state, vm.domain_type, vm.memory, vm.os_type, vm.is_template) == (
        "HIBERNATING",
        "XEN_PVH",
        2048,
        "",
        False,
    )


def mapping(value: str, disk: str | None, slot: int | None = 0, vm: str = "v1", **fields: Any) -> dict[str, Any]:
    made = {"vmId": ref("Vm", vm), "virtualDiskId": ref("VirtualDisk", disk), "diskTarget": slot}
    return item("VmDiskMapping", value, **{"storageElementId": None, **made, **fields})


def disk(value: str, **fields: Any) -> dict[str, Any]:
    made = {"diskType": "VIRTUAL_DISK", "size": 4096, "repositoryId": ref("Repository", "r1"), "shareable": False}
    return item("VirtualDisk", value, **{**made, "path": f"/VirtualDisks/{value}", **fields})


def test_disks_are_sorted_by_slot_and_told_apart() -> None:
    vm = only(
        Manager(
            Vm=[item("Vm", "v1")],
            VmDiskMapping=[
                mapping("m3", None, 3, storageElementId=ref("StorageElement", "e1")),
                mapping("m2", "EMPTY_CDROM", 2),
                mapping("m0", "d0.img", 0),
                mapping("m1", "d1.iso", 1),
            ],
            VirtualDisk=[
                disk("d0.img", diskType="SOMETHING_NEW"),
                disk("d1.iso", diskType="VIRTUAL_CDROM", path="/ISOs/d1.iso"),
                disk("EMPTY_CDROM", path=None, repositoryId=None, size=0),
            ],
            StorageElement=[item("StorageElement", "e1", size=1 << 30, shareable=True)],
        )
    )
    assert [(one.slot, one.kind, one.id, one.size, one.path, one.shared) for one in vm.disks] == [
        (0, "virtual", "d0.img", 4096, "/VirtualDisks/d0.img", False),  # in doubt a disk, never lost
        (1, "cdrom", "d1.iso", 4096, "/ISOs/d1.iso", False),
        (2, "cdrom", "EMPTY_CDROM", 0, None, False),
        (3, "physical", "e1", 1 << 30, None, True),
    ]
    assert [entry["id"]["value"] for entry in vm.document["disk_mappings"]] == ["m0", "m1", "m2", "m3"]
    assert [entry["id"]["value"] for entry in vm.document["virtual_disks"]] == ["d0.img", "d1.iso", "EMPTY_CDROM"]


def test_disk_mapped_to_two_vms_is_shared() -> None:
    found = read(
        Manager(
            Vm=[item("Vm", "v1"), item("Vm", "v2")],
            VmDiskMapping=[mapping("m1", "d.img"), mapping("m2", "d.img", vm="v2")],
            VirtualDisk=[disk("d.img")],
        )
    )
    assert [vm.disks[0].shared for vm in found.vms.values()] == [True, True]


def test_mapping_and_disk_that_appeared_while_reading_are_fetched() -> None:
    ids = [ref("VmDiskMapping", "m1"), ref("VmDiskMapping", "gone")]
    manager = Manager(Vm=[item("Vm", "v1", vmDiskMappingIds=ids)])
    manager.single["VmDiskMapping", "m1"] = mapping("m1", "d.img", 5)
    manager.single["VirtualDisk", "d.img"] = disk("d.img")
    (one,) = only(manager).disks
    assert (one.slot, one.id, one.size) == (5, "d.img", 4096)


def test_disk_that_vanished_while_reading_is_still_a_disk() -> None:
    (one,) = only(Manager(Vm=[item("Vm", "v1")], VmDiskMapping=[mapping("m1", "d.img", None)])).disks
    assert (one.slot, one.kind, one.id, one.size, one.path, one.repository_id) == (
        -1,
        "virtual",
        "d.img",
        None,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({}, "/VirtualDisks/d.img"),
        ({"path": None}, "/VirtualDisks/d.img"),
        ({"path": None, "mountedPath": "/OVS/Repositories/r1/VirtualDisks/other.img"}, "/VirtualDisks/other.img"),
        ({"path": None, "mountedPath": "/OVS/Repositories/r2/VirtualDisks/d.img"}, None),  # another repository's
        ({"path": "/VirtualDisks/../../etc/shadow"}, None),
        ({"path": "VirtualDisks/d.img"}, None),
        ({"repositoryId": None}, None),
    ],
)
def test_paths_of_disks(fields: dict[str, Any], path: str | None) -> None:
    manager = Manager(
        Vm=[item("Vm", "v1")], VmDiskMapping=[mapping("m1", "d.img")], VirtualDisk=[disk("d.img", **fields)]
    )
    assert only(manager).disks[0].path == path


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({}, "/VirtualMachines/v1/vm.cfg"),
        ({"vmRunState": "TEMPLATE"}, "/Templates/v1/vm.cfg"),
        ({"vmConfigFileMountedPath": "/OVS/Repositories/r1/Templates/x/vm.cfg"}, "/Templates/x/vm.cfg"),
        ({"vmConfigFileMountedPath": "/OVS/Repositories/r1/../../vm.cfg"}, "/VirtualMachines/v1/vm.cfg"),
        ({"repositoryId": None}, None),
    ],
)
def test_paths_of_vm_cfg(fields: dict[str, Any], path: str | None) -> None:
    vm = item("Vm", "v1", **{"repositoryId": ref("Repository", "r1"), **fields})
    assert only(Manager(Vm=[vm])).config_path == path


def test_tags_from_either_side() -> None:
    groups = [
        item("ResourceGroup", "t1", name="gold", type="USER_LABEL", resourceIds=[ref("Vm", "v1")]),
        item("ResourceGroup", "t2", name="alpha", type="USER_LABEL", resourceIds=None),
        item("ResourceGroup", "t3", name="apart", type="VM_ISOLATION_GROUP", resourceIds=[ref("Vm", "v1")]),
    ]
    ids = [ref("ResourceGroup", "t2"), ref("ResourceGroup", "t1"), ref("ResourceGroup", "t3")]
    assert only(Manager(Vm=[item("Vm", "v1", resourceGroupIds=ids)], ResourceGroup=groups)).tags == ("alpha", "gold")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(5, 5), ("6900", 6900), ("-1", -1), (2.0, 2), (True, None), (None, None), ("", None), ("x", None), ([], None)],
)
def test_numbers(value: Any, expected: int | None) -> None:
    assert number({"field": value}, "field") == expected


@pytest.mark.parametrize("path", [None, "", "relative", "/a/../b", "/a\0b", "/OVS/Repositories/r2/x"])
def test_paths_that_must_never_be_opened(path: str | None) -> None:
    assert relative_path(path, "r1") is None
