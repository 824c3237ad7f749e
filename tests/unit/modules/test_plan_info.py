# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module plan_info. Which VMs a subclient selects and what is planned for them is tested in the planning room."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from unit.vault.builders import MIB

from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import BackupRequest, backup_vm
from ansible_collections.ovm.backup.plugins.module_utils.vault.jobs import JobStore, new_job, vm_record
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Vault
from simulator.testing import Simulator

RUN = "20261123T010203Z-0a1b2c3d-4e5f60"
OTHER_RUN = "20261124T010203Z-0a1b2c3d-4e5f61"
NEXT_RUN = "20261125T010203Z-0a1b2c3d-4e5f62"
POINT = {"id": "P1", "type": "full", "reason": "r", "method": "cold", "consistency": "powered_off", "warnings": []}
ALL = {"content": [{"rules": [{"field": "name", "value": "*"}]}]}
PLAN_KEYS = [
    "change_detection", "excluded", "gone", "kill", "last_job", "limits", "max_age", "max_failed_percent",
    "max_outage", "new", "requested_type", "retries", "retry_delay", "shutdown_timeout", "subclient", "two_pass", "vms",
    "warnings",
]  # fmt: skip


def rule(**values: Any) -> dict[str, Any]:
    return {"content": [{"rules": [values]}]}


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault.create(str(tmp_path / "vault"))


@pytest.fixture
def args(manager: dict[str, Any], vault: Vault) -> dict[str, Any]:
    """The arguments of a plan."""
    return {**manager, "vault": vault.path, "subclient": "all", "definition": ALL}


def id_of(simulator: Simulator, type_: str, name: str) -> str:
    return str(simulator.find(type_, name)["id"]["value"])


def test_plan(succeed: Any, foresee: Any, args: dict[str, Any], simulator: Simulator, vault: Vault) -> None:
    found = succeed("plan_info", args)
    assert foresee("plan_info", args) == found
    assert sorted(found) == ["changed", "locks", "manager", "plan", "plan_summary"]
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
        "source": "path",
        "server": None,
    }
    assert sorted(configuration["document"]) == ["disk_mappings", "virtual_disks", "virtual_nics", "vm"]
    assert configuration["document"]["vm"]["name"] == "db01"
    assert found["plan_summary"][0] == "Plan for subclient all, incremental asked for: 3 back up"


def test_a_clone_that_has_no_mark_yet_is_no_vm(beside_a_new_clone: Any, args: dict[str, Any]) -> None:
    plan = beside_a_new_clone("plan_info", args)["plan"]
    assert {vm["vm_name"] for vm in plan["vms"]} == {"app 01", "db01", "files01"}


def test_options_of_the_plan(succeed: Any, args: dict[str, Any]) -> None:
    plan = succeed("plan_info", {**args, "backup_type": "full", "proxies": ["p1", "p2"]})["plan"]
    assert plan["requested_type"] == "full"
    assert [vm["proxy"] for vm in plan["vms"]] == ["p1", "p2", "p1"]


def backed_up(vault: Vault, vm: dict[str, Any], simulator: Simulator) -> Point:
    """Back up a VM that is switched off, as its plan says."""
    configuration = vm["configuration"]
    request = BackupRequest(
        plan=vm,
        document=configuration["document"],
        vm_cfg=configuration["vm_cfg"],
        run_id=RUN,
        subclient="all",
        owner="a test",
        repositories_path=str(simulator.repositories),
        manager=configuration["manager"],
    )
    return backup_vm(vault, request).point


def test_plan_after_a_backup(succeed: Any, args: dict[str, Any], simulator: Simulator, vault: Vault) -> None:
    """What the module returns is what the backup takes, and the next plan knows it."""
    only = {"content": [{"rules": [{"field": "name", "value": "files01"}]}], "max_age": "1d"}
    args = {**args, "definition": only}
    (vm,) = succeed("plan_info", args)["plan"]["vms"]
    point = backed_up(vault, vm, simulator)
    assert (point.type, point.warnings, point.disks[0].size) == ("full", (), 4 * MIB)
    (vm,) = succeed("plan_info", args)["plan"]["vms"]
    assert (vm["action"], vm["client"], vm["new_client"]) == ("current", "files01", False)
    (vm,) = succeed("plan_info", {**args, "force": True})["plan"]["vms"]
    assert (vm["action"], vm["type"]) == ("backup", "incremental")
    assert vm["type_reason"] == f"changes since recovery point {point.id}"


def test_synthetic_fulls_without_the_manager(
    succeed: Any, args: dict[str, Any], simulator: Simulator, vault: Vault
) -> None:
    """Before any recovery point the manager is asked, because the first backup is a full; after that it is not."""
    args = {**args, "backup_type": "synthetic_full", "definition": rule(field="name", value="files01")}
    first = succeed("plan_info", args)
    (vm,) = first["plan"]["vms"]
    assert (vm["method"], vm["requested_type"], vm["type"]) == ("cold", "synthetic_full", "full")
    point = backed_up(vault, vm, simulator)
    simulator.clear_calls()
    (vm,) = succeed("plan_info", args)["plan"]["vms"]
    assert simulator.calls() == []
    assert (vm["action"], vm["method"], vm["client"], vm["vm_name"]) == ("current", "consolidate", "files01", "files01")
    assert vm["reason"] == f"its newest recovery point {point.id} is a full already"
    assert "configuration" not in vm


def test_restart_of_synthetic_fulls_without_the_manager(
    succeed: Any, args: dict[str, Any], simulator: Simulator, vault: Vault
) -> None:
    args = {**args, "definition": rule(field="name", value="files01")}
    backed_up(vault, succeed("plan_info", args)["plan"]["vms"][0], simulator)
    plan = succeed("plan_info", {**args, "backup_type": "synthetic_full"})["plan"]
    store = JobStore(vault)
    store.start(new_job(RUN, plan, now=1.0))
    store.put_vm(RUN, vm_record(plan["vms"][0], started=1.0, finished=2.0, failure="no space"))
    store.finish(RUN, now=3.0)
    simulator.clear_calls()
    again = succeed("plan_info", {**args, "restart_job": "latest"})["plan"]
    assert simulator.calls() == []
    assert again["requested_type"] == "synthetic_full"
    assert [(vm["vm_name"], vm["action"], vm["method"]) for vm in again["vms"]] == [
        ("files01", "current", "consolidate")
    ]


def test_restart_of_a_job(succeed: Any, fail: Any, args: dict[str, Any], vault: Vault) -> None:
    failed = fail("plan_info", {**args, "restart_job": "latest"})
    assert failed["msg"] == "restart_job: subclient 'all' has no finished job: run it without"
    plan = succeed("plan_info", args)["plan"]
    store = JobStore(vault)
    store.start(new_job(RUN, plan, now=1.0))
    failed = fail("plan_info", {**args, "restart_job": RUN})
    assert failed["msg"] == f"Job {RUN} still runs: name a finished job of subclient 'all'"
    db01, *others = plan["vms"]
    for vm in others:
        store.put_vm(RUN, vm_record(vm, started=1.0, finished=2.0, point={**POINT, "disks": []}))
    store.finish(RUN, now=3.0)
    for job_id in ("latest", RUN):
        again = succeed("plan_info", {**args, "restart_job": job_id})["plan"]
        assert {vm["vm_name"]: vm["action"] for vm in again["vms"]} == {
            db01["vm_name"]: "backup",
            **{vm["vm_name"]: "current" for vm in others},
        }
    # A later run died without a trace but its job: what failed there is not what is restarted.
    store.start(new_job(NEXT_RUN, plan, now=4.0))
    warning = (
        f"job {NEXT_RUN} of this subclient is later than {RUN}, which is restarted, and is not closed: what failed in "
        "it is not repeated"
    )
    assert succeed("plan_info", {**args, "restart_job": "latest"})["plan"]["warnings"] == [warning]
    assert succeed("plan_info", {**args, "restart_job": RUN})["plan"]["warnings"] == []
    assert succeed("plan_info", args)["plan"]["warnings"] == []
    assert fail("plan_info", {**args, "restart_job": OTHER_RUN})["failure"]["kind"] == "PointNotFoundError"
    failed = fail("plan_info", {**args, "subclient": "other", "restart_job": RUN})
    assert failed["msg"] == f"Job {RUN} is one of subclient 'all': name a finished job of subclient 'other'"


def test_differences_from_the_last_job(succeed: Any, args: dict[str, Any], vault: Vault) -> None:
    some = {**args, "definition": rule(field="name", value=["db01", "files01"])}
    plan = succeed("plan_info", some)["plan"]
    assert (plan["last_job"], plan["new"], plan["gone"]) == (None, [], [])
    store = JobStore(vault)
    store.start(new_job(RUN, plan, now=1.0))
    store.finish(RUN, now=2.0)
    names = {vm["vm_name"]: vm["vm_id"] for vm in plan["vms"]}
    found = succeed("plan_info", {**args, "definition": rule(field="name", value=["db01", "app*"])}, diff=True)
    plan = found["plan"]
    assert plan["last_job"] == RUN
    assert [vm["vm_name"] for vm in plan["new"]] == ["app 01"]
    assert plan["gone"] == [{"vm_id": names["files01"], "vm_name": "files01"}]
    assert found["plan_summary"][1] == f"  compared with the last job, {RUN}: new: app 01; gone: files01"
    kept = {"action": "backup", "method": "hot_clone", "type": "full"}
    assert found["diff"] == {
        "before": {"db01": kept, "files01": "in the last job"},
        "after": {"db01": kept, "app 01": kept},
        "before_header": RUN,
        "after_header": "this plan",
    }


def test_differential_has_to_be_offered(succeed: Any, fail: Any, args: dict[str, Any], simulator: Simulator) -> None:
    on = {"bEnableVSADifferentialBackup": True}
    asked = {**args, "backup_type": "differential"}
    found = succeed("plan_info", {**asked, "additional_settings": on})["plan"]
    assert found["requested_type"] == "differential"
    failed = fail("plan_info", {**args, "additional_settings": {"bEnableVSADifferentalBackup": True}})
    assert failed["msg"] == (
        "additional settings: bEnableVSADifferentalBackup: unknown key; known here are bEnableVSADifferentialBackup "
        "(did you mean 'bEnableVSADifferentialBackup'?)"
    )


def test_environment(succeed: Any, args: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("url", "user", "password", "ca_path", "vault"):
        monkeypatch.setenv(f"OVM_{name.upper()}", args.pop(name))
    assert len(succeed("plan_info", args)["plan"]["vms"]) == 3


def test_where_disks_are_read(
    succeed: Any, args: dict[str, Any], simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By path what this host sees, all else over ssh if there are settings for it."""
    args = {**args, "definition": rule(field="name", value="db01")}
    repository_id = id_of(simulator, "Repository", "repo-iscsi-1")
    ssh = {"user": "backup", "addresses": {f"ovs{number}.example.com": f"192.0.2.{number}:2222" for number in (1, 2)}}
    monkeypatch.setenv("OVM_REPOSITORIES_PATH", str(simulator.repositories))
    for given in ({}, {"ssh": ssh}, {"repositories_path": str(simulator.repositories), "ssh": ssh}):
        (vm,) = succeed("plan_info", {**args, **given})["plan"]["vms"]
        assert {disk["source"] for disk in vm["disks"]} == {"path"}
        assert vm["configuration"]["vm_cfg"]["source"] == "path"
    (tmp_path / "seen" / repository_id).mkdir(parents=True)  # nothing is mounted there
    elsewhere = {**args, "repositories_path": str(tmp_path / "seen")}
    (vm,) = succeed("plan_info", elsewhere)["plan"]["vms"]
    assert vm["disks"][0]["source_reason"] == (
        "the proxy does not see storage repository 'repo-iscsi-1', and there are no settings for ssh"
    )
    found = succeed("plan_info", {**elsewhere, "ssh": ssh})
    (vm,) = found["plan"]["vms"]
    (server,) = {json.dumps(disk["server"]) for disk in vm["disks"]}
    own = simulator.find("Vm", "db01")["serverId"]
    assert json.loads(server) == {"id": own["value"], "name": own["name"], "address": ssh["addresses"][own["name"]]}
    assert vm["configuration"]["vm_cfg"]["server"] == json.loads(server)
    assert any(line.startswith(f"  read: over ssh from {own['name']} (") for line in found["plan_summary"])


def test_reference_clone(
    succeed: Any, args: dict[str, Any], simulator: Simulator, vault: Vault, keep_clone: Any
) -> None:
    args = {**args, "definition": rule(field="name", value="db01")}
    (vm,) = succeed("plan_info", args)["plan"]["vms"]
    kept = keep_clone(vault, vm, RUN)
    (vm,) = succeed("plan_info", args)["plan"]["vms"]
    assert vm["reference"] == {"clone_id": kept["clone"]["id"], "run_id": RUN, "point_id": kept["point_id"]}
    assert [disk["changes"] for disk in vm["disks"]] == ["extent_maps", "extent_maps"]
    assert vm["pause"] == "not_needed"
    simulator.set_state(kept["clone"]["name"], "RUNNING")
    found = succeed("plan_info", args)
    simulator.set_state(kept["clone"]["name"], "STOPPED")
    (vm,) = found["plan"]["vms"]
    reason = f"the reference clone of recovery point {kept['point_id']} is RUNNING: somebody uses it"
    assert (vm["reference"], vm["reference_reason"]) == (None, reason)
    assert f"  changes: by hash, {reason}" in found["plan_summary"]


def test_change_detection_of_the_subclient(succeed: Any, args: dict[str, Any]) -> None:
    definition = {**ALL, "reference_clone": "remove", "reference_space": 30, "sample": 1}
    plan = succeed("plan_info", {**args, "definition": definition})["plan"]
    assert plan["change_detection"] == {"keep_reference": False, "reference_space": 30, "sample": 1.0}


# --- failures --------------------------------------------------------------------------------------------------------


def test_a_wrong_definition_is_told_before_anybody_is_asked(
    fail: Any, args: dict[str, Any], simulator: Simulator
) -> None:
    failed = fail("plan_info", {**args, "definition": rule(field="nam", value="*")})
    assert failed["failure"]["kind"] == "SubclientError"
    assert failed["failure"]["key"] == "content[0].rules[0].field"
    assert simulator.calls() == []


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"definition": rule(field="name", value="nobody*")}, "NothingSelectedError", "set allow_empty: true if"),
        ({"backup_type": "differential"}, "InvalidInputError", "differential"),
        ({"definition": {**ALL, "source": "ssh"}}, "InvalidInputError",
            "source: 'ssh' needs settings for ssh: set ovm_backup_ssh, or use auto or path"),
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
    failed = fail("plan_info", {**args, **change})
    assert failed["failure"]["kind"] == kind
    assert message in failed["msg"]
