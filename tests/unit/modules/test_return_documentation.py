# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules return and what their RETURN says of it: the same keys, at every depth.

Keys stand in ``contains``. A few descriptions name them in their text, as ``C(key)``, or refer to the form of another
value by ``RV(...)``; each further ``RV(...)`` of such a description is a key that the other value has and this has not.
"""

from __future__ import annotations

import base64
import importlib
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from unit.guest.fake import LINK, FakeGuest
from unit.modules.test_boot_test import pretend_to_start
from unit.reporting.builders import add_client, add_job, boot, job_id, made, planned, verify
from unit.transfer.builders import NEXT_RUN, RUN, Estate, incremental, vm_plan

from ansible_collections.ovm.backup.plugins import modules
from ansible_collections.ovm.backup.plugins.module_utils.guest import lasting
from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm
from ansible_collections.ovm.backup.plugins.module_utils.vault.jobs import JobStore, new_job
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Vault
from simulator.testing import Simulator

Results = list[dict[str, Any]]
MODULES = sorted(path.stem for path in Path(next(iter(modules.__path__))).glob("[a-z]*.py"))
TYPES: dict[str, Any] = {"str": str, "int": int, "float": (float, int), "bool": bool, "list": list, "dict": dict}
SKIPPED = {"slot": 1, "name": "raw", "kind": "physical", "reason": "physical disks are not backed up"}
PLAN = vm_plan(skipped_disks=[SKIPPED], slots=[{"name": "proxy-p1", "limit": 2}])
REFERENCE = {"clone_id": "0004fb0000060000c1", "run_id": RUN, "point_id": "P"}
JOB_PLAN = {
    "subclient": "nightly",
    "requested_type": "incremental",
    "warnings": [],
    "vms": [{**PLAN, "reference": REFERENCE}],
}
DEFINITION = {
    "content": [{"rules": [{"field": "name", "value": "*"}]}],
    "limits": {"proxy": 2},
    "exclude": {
        "vms": [{"rules": [{"field": "name", "value": "files01"}]}],
        "disks": [{"field": "name", "value": "db01-data"}],
    },
}


# --- a real result of each module, or two where the state decides what it returns ------------------------------------


@pytest.fixture
def backup_results(succeed: Any, estate: Estate) -> Results:
    args = {"vault": estate.vault.path, "plan": PLAN, "run_id": RUN, "repositories_path": str(estate.repositories)}
    return [succeed("backup", args)]


@pytest.fixture
def backup_draft_results(succeed: Any, estate: Estate) -> Results:
    plan = {**PLAN, "method": "shutdown"}
    args = {"vault": estate.vault.path, "plan": plan, "run_id": RUN, "repositories_path": str(estate.repositories)}
    made = succeed("backup_draft", args)
    succeed("backup", {**args, "publish": False})
    return [made, succeed("backup_draft", {**args, "state": "published"})]


@pytest.fixture
def boot_test_results(succeed: Any, estate: Estate, monkeypatch: pytest.MonkeyPatch) -> Results:
    pretend_to_start(monkeypatch)
    args = {"vault": estate.vault.path, "client": "web_01", "point": bad_disk(succeed, estate), "pattern": "x"}
    return [succeed("boot_test", args)]


@pytest.fixture
def client_lock_results(succeed: Any, estate: Estate) -> Results:
    return [succeed("client_lock", {"vault": estate.vault.path, "client": "web_01", "run_id": RUN})]


@pytest.fixture
def client_lock_info_results(succeed: Any, estate: Estate) -> Results:
    estate.vault.prepare_client("web_01").lock(owner="a run", run_id=RUN).hold(60.0)
    return [succeed("client_lock_info", {"vault": estate.vault.path})]


@pytest.fixture
def coverage_info_results(succeed: Any, manager: dict[str, Any], simulator: Simulator, estate: Estate) -> Results:
    manager_id = succeed("vm_info", manager)["manager"]["id"]
    db01 = vm_plan(vm_id=simulator.find("Vm", "db01")["id"]["value"], client="db01")
    for plan in (db01, PLAN):  # the VM of the second one is not on the manager
        backup_vm(estate.vault, estate.request(plan, manager={"id": manager_id, "version": "3.4"}))
    return [succeed("coverage_info", {**manager, "vault": estate.vault.path, "subclients": {"x": DEFINITION}})]


@pytest.fixture
def job_results(succeed: Any, estate: Estate) -> Results:
    opened = succeed("job", {"vault": estate.vault.path, "state": "running", "plan": JOB_PLAN})
    args = {"vault": estate.vault.path, "state": "finished", "job_id": opened["job"]["id"]}
    return [opened, succeed("job", args)]


@pytest.fixture
def job_vm_results(succeed: Any, estate: Estate) -> Results:
    args = {"vault": estate.vault.path, "job_id": RUN, "plan": PLAN, "started": 1.0}
    return [succeed("job_vm", args, check_mode=True)]


def bad_points(succeed: Any, estate: Estate) -> Results:
    """Make a point that a verification finds bad and one with a damaged manifest; return what it says."""
    bad, damaged = (backup_vm(estate.vault, estate.request(PLAN, run_id=run)).point for run in (RUN, NEXT_RUN))
    (Path(estate.client.directory) / bad.id / "vm.cfg").write_bytes(b"other")
    (Path(estate.client.directory) / damaged.id / "point.json").write_text("{}")
    return [succeed("verify", {"vault": estate.vault.path, "fail_on_bad": False})]


@pytest.fixture
def point_copy_results(succeed: Any, estate: Estate, tmp_path: Path) -> Results:
    backup_vm(estate.vault, estate.request(PLAN, run_id=RUN))
    backup_vm(estate.vault, estate.request(incremental(PLAN), run_id=NEXT_RUN))
    copy = Vault.create(str(tmp_path / "copy"))
    args = {"vault": estate.vault.path, "target_vault": copy.path, "points": "fulls"}
    return [succeed("point_copy", args)]


@pytest.fixture
def point_export_results(succeed: Any, estate: Estate, tmp_path: Path) -> Results:
    args = {"vault": estate.vault.path, "client": "web_01", "point": bad_disk(succeed, estate)}
    return [succeed("point_export", {**args, "directory": str(tmp_path / "exported")}, check_mode=True)]


def bad_disk(succeed: Any, estate: Estate) -> str:
    """Make a point of a VM with a network card, whose disk a verification finds bad behind its first bytes."""
    nic = {"macAddress": "00:21:f6:00:00:01", "networkId": {"value": "10238073c2", "name": "vm-net"}}
    point = backup_vm(estate.vault, estate.request(PLAN, document={"virtual_nics": [nic]})).point
    path = Path(estate.client.directory) / point.id / point.disks[0].file
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + b"damage" + content[middle + 6 :])
    succeed("verify", {"vault": estate.vault.path, "fail_on_bad": False})
    return point.id


@pytest.fixture
def recovery_point_results(succeed: Any, estate: Estate) -> Results:
    bad_points(succeed, estate)
    bad = estate.client.scan()[0][0].id
    args = {"vault": estate.vault.path, "client": "web_01", "point": bad, "pinned": True}
    return [succeed("recovery_point", args)]


@pytest.fixture
def retention_results(succeed: Any, estate: Estate) -> Results:
    for number in range(2):
        backup_vm(estate.vault, estate.request(PLAN, run_id=f"20261123T010203Z-0a1b2c3d-00000{number}"))
    return [succeed("retention", {"vault": estate.vault.path, "policy": {"keep_last": 1}})]


@pytest.fixture
def recovery_point_info_results(succeed: Any, estate: Estate) -> Results:
    bad_points(succeed, estate)
    return [succeed("recovery_point_info", {"vault": estate.vault.path})]


@pytest.fixture
def report_results(succeed: Any, tmp_path: Path) -> Results:
    vault = Vault.create(str(tmp_path / "vault"))
    client, points = add_client(Path(vault.path), "db01")
    verify(client, points[0])
    boot(client, points[0])
    job = add_job(vault, 0, (planned("db01", skipped_disks=[SKIPPED]), {"point": made(id=points[0].id)}))
    (Path(vault.path) / "jobs" / f"{job_id(1)}.json").write_text("{}")
    args = {"vault": vault.path, "format": "json"}
    return [succeed("report", {**args, "job_id": job["id"]}), succeed("report", args)]


@pytest.fixture
def guest_file_info_results(succeed: Any, guest: FakeGuest, estate: Estate) -> Results:
    backup_vm(estate.vault, estate.request(PLAN))
    guest.add(b"/etc/motd", b"hello")
    args = {"vault": estate.vault.path, "client": "web_01"}
    return [succeed("guest_file_info", {**args, "paths": paths}) for paths in ([], ["/etc"])]


@pytest.fixture
def guest_file_copy_results(succeed: Any, guest: FakeGuest, estate: Estate, tmp_path: Path) -> Results:
    backup_vm(estate.vault, estate.request(PLAN))
    guest.add(b"/etc/link", b"/", LINK)
    args = {"vault": estate.vault.path, "client": "web_01", "paths": ["/etc"], "destination": str(tmp_path / "copies")}
    return [succeed("guest_file_copy", args)]


@pytest.fixture
def served_point_results(succeed: Any, estate: Estate, monkeypatch: pytest.MonkeyPatch) -> Results:
    monkeypatch.setattr(lasting, "find_nbdkit", lambda: "nbdkit")
    backup_vm(estate.vault, estate.request(PLAN))
    args = {"vault": estate.vault.path, "client": "web_01", "directory": "/tmp/ovm-test-not-there"}
    return [succeed("served_point", args, check_mode=True)]


@pytest.fixture
def restore_image_results(succeed: Any, estate: Estate, tmp_path: Path) -> Results:
    bad_points(succeed, estate)
    (bad,), (damaged,) = estate.client.scan()
    shutil.rmtree(Path(estate.client.directory) / damaged.id)
    where = {"vault": estate.vault.path, "client": "web_01", "point": bad.id}
    args = {**where, "directory": str(tmp_path / "restored")}
    return [succeed("restore_image", args, check_mode=True)]


@pytest.fixture
def disk_import_results(succeed: Any, manager: dict[str, Any], simulator: Simulator, estate: Estate) -> Results:
    backup_vm(estate.vault, estate.request(PLAN))
    place = {"name": "n", "repository_id": simulator.find("Repository", "repo-iscsi-1")["id"]["value"], "run_id": RUN}
    args = {**manager, "vault": estate.vault.path, "client": "web_01", "slot": 0, **place, "address": "127.0.0.1"}
    made = succeed("disk_import", args)
    succeed("virtual_disk", {**manager, "run_id": RUN, "state": "absent"})
    return [made]


@pytest.fixture
def restore_disk_results(succeed: Any, estate: Estate, tmp_path: Path) -> Results:
    backup_vm(estate.vault, estate.request(PLAN))
    target = {"path": str(tmp_path / "disk.img")}
    return [succeed("restore_disk", {"vault": estate.vault.path, "client": "web_01", "slot": 0, "target": target})]


@pytest.fixture
def synthetic_full_results(succeed: Any, estate: Estate) -> Results:
    backup_vm(estate.vault, estate.request(PLAN))
    backup_vm(estate.vault, estate.request(incremental(PLAN), run_id=NEXT_RUN))
    return [succeed("synthetic_full", {"vault": estate.vault.path, "client": "web_01"})]


@pytest.fixture
def schedule_results(succeed: Any, tmp_path: Path) -> Results:
    subclients = {"db": {"content": DEFINITION["content"], "schedule": [{"calendar": "daily", "backup_type": "full"}]}}
    args = {"subclients": subclients, "ansible_playbook": "/bin/true", "directory": "/", "path": str(tmp_path)}
    return [succeed("schedule", args)]


@pytest.fixture
def vault_leftovers_results(succeed: Any, estate: Estate) -> Results:
    estate.vault.prepare_client("web_01").new_point(now=1.0)
    living = estate.vault.prepare_client("db_01")
    living.new_point(now=1.0)
    living.lock(owner="a run", run_id=RUN).hold(60.0)
    return [succeed("vault_leftovers", {"vault": estate.vault.path})]


@pytest.fixture
def vault_results(succeed: Any, tmp_path: Path) -> Results:
    return [succeed("vault", {"vault": str(tmp_path / "vault")})]


@pytest.fixture
def vault_key_results(succeed: Any, tmp_path: Path) -> Results:
    args = {"vault": str(tmp_path / "vault"), "vault_access": {"encryption_key": base64.b64encode(bytes(32)).decode()}}
    succeed("vault", {**args, "encrypted": True})
    return [succeed("vault_key", args)]


@pytest.fixture
def vm_clone_info_results(succeed: Any, manager: dict[str, Any], simulator: Simulator, estate: Estate) -> Results:
    args = {**manager, "vm_id": simulator.find("Vm", "db01")["id"]["value"], "run_id": RUN}
    succeed("vm_clone", args)
    repository_id = simulator.find("Repository", "repo-iscsi-1")["id"]["value"]
    disk = {**manager, "run_id": "restore-1", "name": "new", "repository_id": repository_id, "size": 4096}
    purpose = {"slot": 0, "point": "P", "vm_id": args["vm_id"], "previous": "old.img"}
    succeed("virtual_disk", {**disk, "vm_id": args["vm_id"], "purpose": purpose})
    results = [succeed("vm_clone_info", {**manager, "vault": estate.vault.path})]
    succeed("virtual_disk", {**disk, "state": "absent"})
    succeed("vm_clone", {**args, "state": "absent"})
    return results


@pytest.fixture
def verify_results(succeed: Any, estate: Estate) -> Results:
    return bad_points(succeed, estate)


@pytest.fixture
def vm_clone_results(succeed: Any, manager: dict[str, Any], simulator: Simulator) -> Results:
    args = {**manager, "vm_id": simulator.find("Vm", "db01")["id"]["value"], "run_id": RUN}
    return [succeed("vm_clone", args), succeed("vm_clone", {**args, "state": "absent"})]


@pytest.fixture
def plan_info_results(succeed: Any, manager: dict[str, Any], keep_clone: Any, estate: Estate) -> Results:
    store = JobStore(estate.vault)
    store.start(new_job(RUN, {**JOB_PLAN, "subclient": "x"}, now=1.0))
    store.finish(RUN, now=2.0)
    args = {**manager, "vault": estate.vault.path, "subclient": "x", "definition": DEFINITION}
    args["proxies"] = ["p1", "p2"]
    plan = next(vm for vm in succeed("plan_info", args)["plan"]["vms"] if vm["vm_name"] == "db01")
    keep_clone(estate.vault, plan, RUN)
    estate.vault.prepare_client("web_01").lock(owner="a run", run_id=RUN).hold(60.0)
    return [succeed("plan_info", args)]


@pytest.fixture
def proxy_check_results(succeed: Any, estate: Estate) -> Results:
    return [succeed("proxy_check", {"vault": estate.vault.path, "mark": "a-mark-of-a-run", "state": "present"})]


@pytest.fixture
def vm_info_results(succeed: Any, manager: dict[str, Any]) -> Results:
    return [succeed("vm_info", manager)]


@pytest.fixture
def job_info_results(succeed: Any, estate: Estate) -> Results:
    opened = succeed("job", {"vault": estate.vault.path, "state": "running", "plan": JOB_PLAN})
    return [succeed("job_info", {"vault": estate.vault.path, "job_id": opened["job"]["id"]})]


@pytest.fixture
def virtual_disk_results(succeed: Any, manager: dict[str, Any], simulator: Simulator) -> Results:
    repository_id = simulator.find("Repository", "repo-iscsi-1")["id"]["value"]
    args = {**manager, "run_id": RUN, "vm_id": "v", "name": "new", "repository_id": repository_id, "size": 4096}
    made = succeed("virtual_disk", args)
    return [made, succeed("virtual_disk", {**args, "state": "absent"})]


@pytest.fixture
def vm_results(succeed: Any, manager: dict[str, Any], simulator: Simulator) -> Results:
    vm_id = simulator.find("Vm", "db01")["id"]["value"]
    args = {**manager, "run_id": RUN, "vm_id": vm_id, "definition": {"memory": 2048}}
    return [succeed("vm", args, check_mode=True)]


@pytest.fixture
def vm_disk_mapping_results(succeed: Any, manager: dict[str, Any], simulator: Simulator) -> Results:
    vm_id = simulator.find("Vm", "files01")["id"]["value"]
    return [succeed("vm_disk_mapping", {**manager, "vm_id": vm_id, "slot": 0}, check_mode=True)]


@pytest.fixture
def restore_plan_info_results(succeed: Any, manager: dict[str, Any], simulator: Simulator, estate: Estate) -> Results:
    vm = simulator.find("Vm", "db01")
    places = [{"id": {"value": "disk0.img"}, "repositoryId": simulator.find("Repository", "repo-iscsi-1")["id"]}]
    nics = [nic for nic in simulator._get("/VirtualNic") if nic["vmId"]["value"] == vm["id"]["value"]]
    document = {"vm": vm, "virtual_disks": places, "virtual_nics": nics}
    backup_vm(estate.vault, estate.request(vm_plan(vm_id=vm["id"]["value"]), document=document))
    args = {**manager, "vault": estate.vault.path, "client": "web_01", "name": "x", "repositories_path": "/nowhere"}
    return [succeed("restore_plan_info", {**args, "ssh": {"user": "root"}})]


@pytest.fixture
def vm_power_results(succeed: Any, manager: dict[str, Any], simulator: Simulator) -> Results:
    vm_id = simulator.find("Vm", "db01")["id"]["value"]
    return [succeed("vm_power", {**manager, "vm_id": vm_id, "state": "running"})]


# --- the comparison --------------------------------------------------------------------------------------------------


def documented(module: str) -> dict[str, Any]:
    """Return what a module's RETURN says, by key."""
    found = importlib.import_module(f"ansible_collections.ovm.backup.plugins.modules.{module}")
    keys: dict[str, Any] = yaml.safe_load(found.RETURN)
    return keys


def parts_of(entry: dict[str, Any]) -> dict[str, Any] | None:
    """Return what is said of the keys of a value, or nothing if its description has to name them."""
    if "contains" in entry:
        return dict(entry["contains"])
    text = str(entry["description"]).replace("[]", "")
    references = re.findall(r"RV\(ovm\.backup\.(\w+)#module:([\w.]+)\)", text)
    if not references:
        return None
    module, path = references[0]
    keys = documented(module)
    for name in path.split("."):
        keys = parts_of(keys[name]) or {}
    missing = [name.removeprefix(f"{path}.") for _module, name in references[1:]]
    return {name: what for name, what in keys.items() if name not in missing}


def differences(keys: dict[str, Any], found: Results, path: str) -> list[str]:
    """Compare all values at one place with what is said of them."""
    wrong = [f"{path}.{name} is not documented" for name in sorted(set().union(*found) - set(keys))]
    for name, entry in keys.items():
        place, values = f"{path}.{name}", [one[name] for one in found if one.get(name) is not None]
        if entry["returned"] in ("always", "success") and not all(name in one for one in found):
            wrong.append(f"{place} is not returned")
        if not all(isinstance(value, TYPES[entry["type"]]) for value in values):
            wrong.append(f"{place} is not of type {entry['type']}")
            continue
        inner = [item for value in values for item in value] if entry.get("elements") == "dict" else values
        if entry["returned"] == "failure" or "dict" not in (entry["type"], entry.get("elements")):
            continue
        parts = parts_of(entry)
        if not inner:
            wrong.append(f"{place} has nothing to compare")
        elif parts is not None:
            wrong += differences(parts, inner, place)
        else:
            named = re.findall(r"[CV]\(([^)]+)\)", str(entry["description"]))
            wrong += [f"{place} does not name {part}" for part in sorted(set().union(*inner) - set(named))]
    return wrong


@pytest.mark.parametrize("module", MODULES)
def test_keys(module: str, request: pytest.FixtureRequest) -> None:
    results = [dict(result) for result in request.getfixturevalue(f"{module}_results")]
    for result in results:
        assert isinstance(result.pop("changed"), bool)  # what Ansible itself documents
    assert differences(documented(module), results, module) == []


def test_differences() -> None:
    keys = {
        "a": {"returned": "always", "type": "int", "description": "A number."},
        "b": {"returned": "when it is known", "type": "dict", "description": "Something with C(x)."},
    }
    assert differences(keys, [{"a": 1, "b": {"x": 1}}, {"a": 2}], "m") == []
    assert differences(keys, [{"b": {"y": 1}, "c": 0}, {"a": "2"}], "m") == [
        "m.c is not documented", "m.a is not returned", "m.a is not of type int", "m.b does not name y",
    ]  # fmt: skip
