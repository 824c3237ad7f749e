# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module vm_info. Which VMs a subclient selects and what is planned for them is tested in the planning room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from unit.vault.builders import MIB

from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import BackupRequest, backup_vm
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Vault
from simulator.testing import Simulator

RUN = "20261123T010203Z-0a1b2c3d-4e5f60"
ALL = {"content": [{"rules": [{"field": "name", "value": "*"}]}]}
PLAN_KEYS = [
    "excluded", "kill", "max_age", "max_outage", "requested_type", "shutdown_timeout", "subclient", "two_pass", "vms",
    "warnings",
]  # fmt: skip


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault.create(str(tmp_path / "vault"))


@pytest.fixture
def args(manager: dict[str, Any], vault: Vault) -> dict[str, Any]:
    """The arguments of a plan."""
    return {**manager, "vault": vault.path, "subclient": "all", "definition": ALL}


def id_of(simulator: Simulator, type_: str, name: str) -> str:
    return str(simulator.find(type_, name)["id"]["value"])


def test_all_vms(foresee: Any, manager: dict[str, Any], simulator: Simulator) -> None:
    found = foresee("vm_info", manager)
    assert sorted(found) == ["changed", "manager", "vms"]
    assert found["changed"] is False
    assert found["manager"]["id"] == simulator.find("Manager", "OVM Manager")["managerUuid"]
    assert found["manager"]["version"] == simulator.find("Manager", "OVM Manager")["managerVersion"]
    assert [(vm["name"], vm["client"], vm["state"], vm["tags"]) for vm in found["vms"]] == [
        ("app 01", "app_01", "RUNNING", []),
        ("db01", "db01", "RUNNING", ["gold"]),
        ("files01", "files01", "STOPPED", []),
    ]
    files = found["vms"][2]
    repository, disk = id_of(simulator, "Repository", "repo-nfs-1"), id_of(simulator, "VirtualDisk", "files01-sys")
    mapping, mac = files["disks"][0].pop("mapping_id"), files["nics"][0].pop("mac")
    vm_id = id_of(simulator, "Vm", "files01")
    assert mapping.startswith("0004fb0000130000") and mac.startswith("00:21:f6:")
    assert files == {
        "id": vm_id,
        "name": "files01",
        "client": "files01",
        "state": "STOPPED",
        "is_template": False,
        "is_our_clone": False,
        "domain_type": "XEN_HVM",
        "os_type": "Other Linux",
        "memory": 1024,
        "cpu_count": 1,
        "description": "",
        "locked": False,
        "repository_id": repository,
        "server_id": id_of(simulator, "Server", "ovs1.example.com"),
        "server_pool_id": id_of(simulator, "ServerPool", "pool1"),
        "tags": [],
        "disks": [
            {
                "slot": 0,
                "kind": "virtual",
                "id": disk,
                "name": "files01-sys",
                "size": 4 * MIB,
                "repository_id": repository,
                "path": f"/VirtualDisks/{disk}",
                "shared": False,
            }
        ],
        "nics": [{"id": simulator.find("Vm", "files01")["virtualNicIds"][0]["value"], "network_id": "10238073c2"}],
        "config_path": f"/VirtualMachines/{vm_id}/vm.cfg",
    }
    assert [disk["kind"] for disk in found["vms"][1]["disks"]] == ["virtual", "virtual", "cdrom"]


def test_plan(succeed: Any, foresee: Any, args: dict[str, Any], simulator: Simulator, vault: Vault) -> None:
    found = succeed("vm_info", args)
    assert foresee("vm_info", args) == found
    assert sorted(found) == ["changed", "manager", "plan", "plan_summary", "vms"]
    plan = found["plan"]
    assert sorted(plan) == PLAN_KEYS
    assert (plan["subclient"], plan["requested_type"], plan["warnings"]) == ("all", "incremental", [])
    assert {(vm["vm_name"], vm["action"], vm["method"], vm["type"]) for vm in plan["vms"]} == {
        ("app 01", "backup", "hot_clone", "full"),
        ("db01", "backup", "hot_clone", "full"),
        ("files01", "backup", "cold", "full"),
    }
    assert [vm["order"] for vm in plan["vms"]] == [1, 2, 3]
    (db01,) = (vm for vm in plan["vms"] if vm["vm_name"] == "db01")
    assert [(disk["slot"], disk["name"], disk["size"]) for disk in db01["disks"]] == [
        (0, "db01-sys", 8 * MIB), (1, "db01-data", 4 * MIB),
    ]  # fmt: skip
    configuration = db01["configuration"]
    assert configuration["manager"] == found["manager"]
    assert configuration["vm_cfg"] == {
        "repository_id": id_of(simulator, "Repository", "repo-iscsi-1"),
        "path": f"/VirtualMachines/{db01['vm_id']}/vm.cfg",
    }
    assert sorted(configuration["document"]) == ["disk_mappings", "virtual_disks", "virtual_nics", "vm"]
    assert configuration["document"]["vm"]["name"] == "db01"
    assert found["plan_summary"][0] == "Plan for subclient all, incremental asked for: 3 back up"


def test_options_of_the_plan(succeed: Any, args: dict[str, Any]) -> None:
    plan = succeed("vm_info", {**args, "backup_type": "full", "proxies": ["p1", "p2"]})["plan"]
    assert plan["requested_type"] == "full"
    assert [vm["proxy"] for vm in plan["vms"]] == ["p1", "p2", "p1"]


def test_plan_after_a_backup(succeed: Any, args: dict[str, Any], simulator: Simulator, vault: Vault) -> None:
    """What the module returns is what the backup takes, and the next plan knows it."""
    only = {"content": [{"rules": [{"field": "name", "value": "files01"}]}], "max_age": "1d"}
    args = {**args, "definition": only}
    (vm,) = succeed("vm_info", args)["plan"]["vms"]
    configuration = vm["configuration"]
    request = BackupRequest(
        plan=vm,
        document=configuration["document"],
        vm_cfg=(configuration["vm_cfg"]["repository_id"], configuration["vm_cfg"]["path"]),
        run_id=RUN,
        subclient="all",
        owner="a test",
        repositories_path=str(simulator.repositories),
        manager=configuration["manager"],
    )
    point = backup_vm(vault, request).point
    assert (point.type, point.warnings, point.disks[0].size) == ("full", (), 4 * MIB)
    (vm,) = succeed("vm_info", args)["plan"]["vms"]
    assert (vm["action"], vm["client"], vm["new_client"]) == ("current", "files01", False)
    (vm,) = succeed("vm_info", {**args, "force": True})["plan"]["vms"]
    assert (vm["action"], vm["type"]) == ("backup", "incremental")
    assert vm["type_reason"] == f"changes since recovery point {point.id}"


def test_environment(succeed: Any, args: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("url", "user", "password", "ca_path", "vault"):
        monkeypatch.setenv(f"OVM_{name.upper()}", args.pop(name))
    assert len(succeed("vm_info", args)["plan"]["vms"]) == 3


# --- failures --------------------------------------------------------------------------------------------------------


def rule(**values: Any) -> dict[str, Any]:
    return {"content": [{"rules": [values]}]}


def test_a_wrong_definition_is_told_before_anybody_is_asked(
    fail: Any, args: dict[str, Any], simulator: Simulator
) -> None:
    failed = fail("vm_info", {**args, "definition": rule(field="nam", value="*")})
    assert failed["failure"]["kind"] == "SubclientError"
    assert failed["failure"]["key"] == "content[0].rules[0].field"
    assert simulator.calls() == []


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"definition": rule(field="name", value="nobody*")}, "NothingSelectedError", "set allow_empty: true if"),
        ({"backup_type": "differential"}, "InvalidInputError", "differential"),
        ({"proxies": []}, "InvalidInputError", "proxies: one proxy at least is needed to run backups"),
        ({"vault": "/nowhere"}, "NotAVaultError", "/nowhere is not a vault: there is no /nowhere/vault.json"),
        ({"password": "wrong-Passw0rd"}, "AuthenticationError", ""),
        ({"ca_path": "/nowhere.pem"}, "InvalidInputError",
            "The CA file '/nowhere.pem' cannot be used: No such file or directory."),
        ({"fingerprint": "00" * 32}, "ManagerCertificateError", ""),
        ({"url": "http://127.0.0.1"}, "InvalidInputError", "is reached by https only, not by 'http'"),
    ],
)  # fmt: skip
def test_wrong_values(fail: Any, args: dict[str, Any], change: dict[str, Any], kind: str, message: str) -> None:
    failed = fail("vm_info", {**args, **change})
    assert failed["failure"]["kind"] == kind
    assert message in failed["msg"]


def test_a_manager_that_is_not_well(fail: Any, manager: dict[str, Any], simulator: Simulator) -> None:
    simulator.fault("html_500", path="/Vm", times=0)
    failed = fail("vm_info", manager)
    assert (failed["failure"]["kind"], failed["failure"]["status"]) == ("ManagerResponseError", 500)
    simulator.clear_faults()
    simulator.fault("not_json", path="/Vm", times=0)
    assert fail("vm_info", manager)["failure"]["kind"] == "ManagerResponseError"


def test_arguments_that_need_each_other(fail: Any, manager: dict[str, Any], args: dict[str, Any]) -> None:
    for wrong in ({**manager, "subclient": "x"}, {**manager, "definition": ALL}, {**args, "vault": None}, {}):
        assert "failure" not in fail("vm_info", wrong)
