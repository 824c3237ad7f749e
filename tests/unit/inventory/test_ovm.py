# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The inventory plugin ovm.backup.ovm, against the simulator. What hosts are told is tested in the planning room."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible import constants
from ansible.errors import AnsibleError, AnsibleParserError
from ansible.inventory.data import InventoryData
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import fragment_loader
from ansible.template import Templar
from ansible.utils.plugin_docs import add_fragments
from unit.transfer.builders import RUN, Estate, vm_plan

from ansible_collections.ovm.backup.plugins.inventory import ovm
from ansible_collections.ovm.backup.plugins.module_utils.manager import clone_making
from ansible_collections.ovm.backup.plugins.module_utils.manager.client import connect
from ansible_collections.ovm.backup.plugins.module_utils.manager.clones import ensure_clone, remove_clone
from ansible_collections.ovm.backup.plugins.module_utils.manager.settings import ConnectionSettings
from ansible_collections.ovm.backup.plugins.module_utils.planning.host_list import Host
from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm
from simulator.testing import Simulator, running

NAME = "ovm.backup.ovm"
Fill = Callable[..., InventoryData]
DATABASES = {"content": [{"rules": [{"field": "name", "value": "db*"}]}], "max_age": "1d"}


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with running("minimal") as made:
        yield made


@pytest.fixture
def site(tmp_path: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory for configuration files; the environment tells where the manager is, as an AWX credential does."""
    simulator.clear_calls()
    simulator.read_only()
    values = {"URL": simulator.url, "USER": simulator.user, "PASSWORD": simulator.password, "CA_PATH": simulator.ca}
    for name, value in values.items():
        monkeypatch.setenv(f"OVM_{name}", value)
    return tmp_path


@pytest.fixture
def fill(site: Path, monkeypatch: pytest.MonkeyPatch) -> Fill:
    """Fill an inventory as Ansible does."""
    documentation = yaml.safe_load(ovm.DOCUMENTATION)
    add_fragments(documentation, str(Path(ovm.__file__)), fragment_loader)
    # The connection is tried again after some seconds, which are not waited for here.
    monkeypatch.setattr(ovm, "connect", functools.partial(connect, sleep=lambda _seconds: None))
    constants.config.initialize_plugin_configuration_definitions("inventory", NAME, documentation["options"])

    def run(config: dict[str, Any] | str | None = None, *, cache: bool = True) -> InventoryData:
        path = site / "test.ovm.yml"
        text = config if isinstance(config, str) else yaml.safe_dump({"plugin": NAME, **(config or {})})
        path.write_text(text, encoding="utf-8")
        plugin = ovm.InventoryModule()
        plugin._load_name = plugin._original_path = plugin.ansible_name = NAME
        plugin._redirected_names = [NAME]
        assert plugin.verify_file(str(path))
        data = InventoryData()
        plugin.parse(data, DataLoader(), str(path), cache=cache)
        plugin.update_cache_if_changed()
        data.reconcile_inventory()
        return data

    return run


@pytest.fixture
def vault(tmp_path: Path, simulator: Simulator, fill: Fill) -> Estate:
    """A vault with a recovery point of db01."""
    estate = Estate(tmp_path / "estate")
    host = fill().hosts["db01"]
    plan = vm_plan(vm_id=host.vars["ovm_id"], vm_name="db01", client="db01")
    backup_vm(estate.vault, estate.request(plan, manager=host.vars["ovm_manager"]))
    return estate


def groups(data: InventoryData) -> dict[str, list[str]]:
    found = {name: sorted(host.name for host in group.hosts) for name, group in data.groups.items()}
    return {name: hosts for name, hosts in found.items() if hosts}


def test_everything_out_of_the_environment(fill: Fill, simulator: Simulator) -> None:
    data = fill()
    assert groups(data) == {
        "ovm_vms": ["app 01", "db01", "files01"],
        "pool_pool1": ["app 01", "db01", "files01"],
        "server_ovs1_example_com": ["app 01", "db01", "files01"],
        "repository_repo_iscsi_1": ["app 01", "db01"],
        "repository_repo_nfs_1": ["files01"],
        "state_running": ["app 01", "db01"],
        "state_stopped": ["files01"],
        "tag_gold": ["db01"],
    }
    assert data.hosts["app 01"].vars["ovm_client"] == "app_01"
    assert "ovm_protection" not in data.hosts["db01"].vars
    assert simulator.calls(writing=True) == []


def test_variables_that_a_credential_leaves_blank_are_not_set(fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWX sets all variables of a type of credential."""
    for name in ("FINGERPRINT", "REQUEST_TIMEOUT", "VALIDATE_CERTS", "VAULT"):
        monkeypatch.setenv(f"OVM_{name}", "")
    assert groups(fill())["ovm_vms"] == ["app 01", "db01", "files01"]


def test_constructed(fill: Fill) -> None:
    config = {
        "strict": True,
        "hostname": "client",
        "group_by": ["tag"],
        "compose": {"ansible_host": "ovm_ip_addresses | first | default('none')", "disks": "ovm_disks | length"},
        "groups": {"two": "ovm_disks | selectattr('kind', 'equalto', 'virtual') | length == 2"},
        "keyed_groups": [{"key": "ovm_os_type", "prefix": "os"}],
    }
    data = fill(config)
    found = groups(data)
    systems = {name: hosts for name, hosts in found.items() if name.startswith("os_")}
    assert sorted(host for hosts in systems.values() for host in hosts) == ["app_01", "db01", "files01"]
    assert systems["os_Oracle_Linux_7"] == ["db01"]
    assert {name: hosts for name, hosts in found.items() if name not in systems} == {
        "ovm_vms": ["app_01", "db01", "files01"], "tag_gold": ["db01"], "two": ["db01"],
    }  # fmt: skip
    hosts = data.hosts
    assert hosts["db01"].vars["ansible_host"].startswith("192.0.2.")
    # Before ansible-core 2.19 every template gives a string, unless native types are asked for.
    assert (hosts["files01"].vars["ansible_host"], int(hosts["db01"].vars["disks"])) == ("none", 3)


@pytest.mark.parametrize("strict", [False, True])
def test_an_expression_that_does_not_work(fill: Fill, strict: bool) -> None:
    config = {"strict": strict, "groups": {"bad": "nothing_of_this_name > 1"}}
    if not strict:
        assert "bad" not in groups(fill(config))
        return
    with pytest.raises(AnsibleParserError, match="nothing_of_this_name"):
        fill(config)


def test_protection(fill: Fill, vault: Estate, site: Path) -> None:
    given = {"vault": vault.vault.path}
    found = groups(fill({**given, "group_by": ["protection", "subclient"]}))
    assert found == {
        "ovm_vms": ["app 01", "db01", "files01"], "protection_protected": ["db01"],
        "protection_never": ["app 01", "files01"],
    }  # fmt: skip
    assert groups(fill({**given, "max_age": "0"}))["protection_protected"] == ["db01"]
    found = groups(fill({**given, "subclients": {"databases": DATABASES}, "group_by": ["protection", "subclient"]}))
    assert found == {
        "ovm_vms": ["app 01", "db01", "files01"], "protection_protected": ["db01"],
        "protection_unprotected": ["app 01", "files01"], "subclient_databases": ["db01"],
    }  # fmt: skip
    (site / "definitions").mkdir()
    (site / "definitions" / "files.yml").write_text("content: [{rules: [{field: name, value: files01}]}]\n")
    data = fill({**given, "subclients": {"databases": DATABASES}, "subclients_path": ["definitions"]})
    assert (groups(data)["subclient_files"], groups(data)["protection_never"]) == (["files01"], ["files01"])
    assert data.hosts["db01"].vars["ovm_newest_point"] == vault.vault.client("db01").point().id


def test_a_clone_that_has_no_mark_yet_is_no_vm(
    fill: Fill, vault: Estate, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup has made it a moment ago: it is neither a host nor a VM without protection."""
    seen: list[dict[str, list[str]]] = []
    mark = clone_making.mark_clone

    def marked_late(*given: Any, **named: Any) -> str:
        assert "db01.0" in {vm["name"] for vm in simulator.state()["vms"].values()}
        seen.append(groups(fill({"vault": vault.vault.path, "group_by": ["protection"]})))
        return mark(*given, **named)

    monkeypatch.setattr(clone_making, "mark_clone", marked_late)
    simulator.read_only(False)
    settings = ConnectionSettings(simulator.url, simulator.user, simulator.password, ca_path=simulator.ca)
    with connect(settings, sleep=simulator.advance) as client:
        clone, _created = ensure_clone(client, simulator.find("Vm", "db01")["id"]["value"], run_id=RUN)
        remove_clone(client, clone.id)
    assert seen == [
        {
            "ovm_vms": ["app 01", "db01", "files01"],
            "protection_protected": ["db01"],
            "protection_never": ["app 01", "files01"],
        }
    ]


def test_the_cache(fill: Fill, site: Path, simulator: Simulator) -> None:
    config = {
        "cache": True,
        "cache_plugin": "jsonfile",
        "cache_connection": str(site / "cache"),
        "compose": {"late": "ovm_memory"},
    }
    first = fill(config)
    calls = len(simulator.calls())
    assert calls > 0
    again = fill({**config, "group_by": ["tag"]})
    assert len(simulator.calls()) == calls
    assert again.hosts["db01"].vars == first.hosts["db01"].vars
    assert sorted(groups(again)) == ["ovm_vms", "tag_gold"]  # what there are groups for is not in the cache
    fill(config, cache=False)
    assert len(simulator.calls()) > calls
    (stored,) = (site / "cache").iterdir()
    assert simulator.password not in stored.read_text()


def test_what_comes_from_the_manager_is_no_template(fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    evil = "{{ lookup('pipe', 'exit 1') }}"
    header = "#jinja2: variable_start_string: '<<', variable_end_string: '>>'\n<< 1 + 1 >>"
    host = Host(evil, {"ovm_description": evil, "ovm_tags": [{"deep": evil}, header, "plain"]}, (("tag", evil),))
    monkeypatch.setattr(ovm, "host_list", lambda *_given, **_options: [host])
    data = fill({"compose": {"copy": "ovm_description"}, "keyed_groups": [{"key": "ovm_description", "prefix": "x"}]})
    assert data.hosts[evil].vars["copy"] == evil
    templar = Templar(loader=DataLoader(), variables=data.hosts[evil].vars)
    assert templar.template(data.hosts[evil].vars["ovm_tags"]) == [{"deep": evil}, header, "plain"]
    assert templar.template(data.hosts[evil].name) == evil
    made = evil.translate({ord(char): "_" for char in "{}(),' ."})
    assert groups(data) == {"ovm_vms": [evil], f"tag_{made}": [evil], f"x_{made}": [evil]}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"subclient": {}}, "subclient: unknown option (did you mean 'subclients'?)"),
        ({"password": "{{ secret }}"},
            "password: templates are not evaluated here; leave it out and set the environment variable OVM_PASSWORD"),
        ({"subclients": {}}, "subclients needs vault: without it nothing is known of protection"),
        ({"vault": "/nowhere"}, "/nowhere is not a vault: there is no /nowhere/vault.json. Is the file system"),
        ({"vault": "/nowhere", "subclients": {"one": {}}}, "ovm_backup_subclients.one.content: is missing"),
        ({"vault": "/nowhere", "subclients_path": ["none"]}, "subclients_path: there is no directory {site}/none"),
        ({"vault": "/nowhere", "subclients": {}, "max_age": "1d"},
            "max_age is for where no subclient is defined: theirs counts"),
        ({"grace": "soon"}, "grace: a duration is a whole number of seconds, or a number with a unit"),
        ({"url": "https://127.0.0.1:1"}, "Oracle VM Manager"),
        ({"user": "somebody"}, "refused"),
    ],
)  # fmt: skip
def test_wrong_configuration(fill: Fill, site: Path, config: dict[str, Any], message: str) -> None:
    with pytest.raises(AnsibleParserError) as caught:
        fill(config)
    text = str(caught.value)
    assert text.startswith(f"{site}/test.ovm.yml: ")
    assert message.format(site=site) in text


def test_no_address(fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OVM_URL")
    with pytest.raises(AnsibleError, match="url"):
        fill()


def test_missing_libraries(fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ovm, "missing_libraries", lambda *names: [(name, "") for name in names])
    with pytest.raises(AnsibleParserError, match="The control node's Python has no requests, blake3: install it there"):
        fill({"vault": "/nowhere"})


def test_other_files_are_left_alone(site: Path) -> None:
    for name in ("hosts.yml", "ovm.json"):
        (site / name).touch()
        assert ovm.InventoryModule().verify_file(str(site / name)) is False
