# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module boot_test, with a stand-in for the machine. Guests really start in the tests of the export room."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from unit.export.machines import document
from unit.transfer.builders import MOMENT, Estate

from ansible_collections.ovm.backup.plugins.module_utils.export import boot_test as engine
from ansible_collections.ovm.backup.plugins.module_utils.export import qemu
from ansible_collections.ovm.backup.plugins.module_utils.export.boot_test import BootPlan, BootTestRequest, Started
from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm
from ansible_collections.ovm.backup.plugins.module_utils.vault.boot_test_record import BootTest, read_boot_test
from ansible_collections.ovm.backup.plugins.module_utils.vault.format import digest
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point
from ansible_collections.ovm.backup.plugins.modules import boot_test

PNG, LOG = b"\x89PNG...", b"a log"
VERSIONS = {"collection": "0.1.0", "qemu": "7.2.0"}


def pretend_to_start(monkeypatch: pytest.MonkeyPatch, *, ok: bool = True, at: float = MOMENT) -> list[BootTestRequest]:
    """Put something in the place of qemu, nbdkit and the machine; return the requests, as they come."""
    requests: list[BootTestRequest] = []

    def run(_client: Any, plan: BootPlan, request: BootTestRequest, **_options: Any) -> Started:
        requests.append(request)
        verdict = "up after 3 s: its consoles say 'x'" if ok else "not up after 3 s: its consoles do not say 'x'"
        return Started(BootTest(at, ok, verdict, 3.5, plan.as_dict(), VERSIONS), PNG, LOG)

    monkeypatch.setattr(boot_test, "run_boot_test", run)
    monkeypatch.setattr(qemu, "find_qemu", lambda: "/usr/bin/qemu-system-x86_64")
    monkeypatch.setattr(engine, "find_nbdkit", lambda: "/usr/bin/nbdkit")
    return requests


@pytest.fixture
def point(estate: Estate) -> Point:
    return backup_vm(estate.vault, estate.request(document=document(memory=64, cpuCount=1))).point


@pytest.fixture
def args(estate: Estate, point: Point) -> dict[str, Any]:
    return {"vault": estate.vault.path, "client": "web_01", "pattern": "x", "accelerator": "tcg"}


@pytest.fixture
def folder(estate: Estate, point: Point) -> str:
    return os.path.join(estate.client.directory, point.id)


def test_result_is_kept(succeed: Any, args: dict[str, Any], folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = pretend_to_start(monkeypatch)
    machine = {"accelerator": "tcg", "chipset": "pc", "firmware": "bios", "disk_bus": "ide", "nic_model": "e1000"}
    machine.update(memory=64, cpus=1)
    foreseen = succeed("boot_test", args, check_mode=True)
    assert (foreseen["changed"], foreseen["machine"], foreseen["boot_test"]) == (True, machine, None)
    assert requests == [] and read_boot_test(folder) is None
    found = succeed("boot_test", args)
    assert found["boot_test"] == {
        "tested_at": MOMENT,
        "ok": True,
        "verdict": "up after 3 s: its consoles say 'x'",
        "duration": 3.5,
        "machine": machine,
        "versions": VERSIONS,
        "screenshot": digest(PNG),
        "log": digest(LOG),
    }
    assert Path(found["screenshot"]).read_bytes() == PNG and Path(found["log"]).read_bytes() == LOG
    assert found["screenshot"] == f"{folder}/boot_test.png"
    assert read_boot_test(folder).as_dict() == found["boot_test"]


def test_bad_one_fails_after_it_was_stored(
    fail: Any, succeed: Any, args: dict[str, Any], folder: str, point: Point, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_to_start(monkeypatch, ok=False)
    assert fail("boot_test", args) == {
        "msg": f"Recovery point {point.id} of client web_01 is not up after 3 s: its consoles do not say 'x'",
        "failure": {"kind": "BootTestError", "client": "web_01", "point": point.id},
    }
    assert read_boot_test(folder).ok is False
    assert succeed("boot_test", {**args, "fail_on_bad": False})["boot_test"]["ok"] is False


def test_young_good_result_is_not_made_again(
    succeed: Any, args: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boot_test, "time", SimpleNamespace(time=lambda: MOMENT + 100))
    pretend_to_start(monkeypatch, ok=False)
    succeed("boot_test", {**args, "fail_on_bad": False, "max_age": "2m"})
    requests = pretend_to_start(monkeypatch)
    for max_age, changed in (("2m", True), ("2m", False), (100, True), (101, False), (None, True)):
        found = succeed("boot_test", {**args, **({"max_age": max_age} if max_age else {})})
        assert found["changed"] is changed, max_age
    assert len(requests) == 3


def test_options_reach_the_engine(succeed: Any, args: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    requests = pretend_to_start(monkeypatch)
    options = {"port": 22, "address": "192.168.5.20/24", "disk_bus": "virtio", "memory": 128, "cpus": 2, "timeout": 7}
    found = succeed("boot_test", {**args, **options, "failure_patterns": ["a", "b"], "screen_seconds": 2})
    conditions = requests[0].conditions
    assert (conditions.pattern, conditions.port, conditions.screen_seconds) == ("x", 22, 2.0)
    assert (conditions.failures, requests[0].timeout) == (("a", "b"), 7.0)
    machine = found["machine"]
    assert (machine["disk_bus"], machine["memory"], machine["cpus"], machine["chipset"]) == ("virtio", 128, 2, "q35")


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"client": "nobody"}, "PointNotFoundError", "has no client 'nobody'"),
        ({"pattern": None}, "InvalidInputError", "Say what counts as up: one or more of pattern, port and screen_sec"),
        ({"pattern": "("}, "InvalidInputError", "pattern must be a regular expression, and '(' is none: "),
        ({"port": 0}, "InvalidInputError", "port must be from 1 to 65535, not 0"),
        ({"port": 22, "isolated_network": False}, "InvalidInputError", "port needs the network"),
        ({"max_age": "soon"}, "InvalidInputError", "max_age: "),
        ({"slots": [4]}, "InvalidInputError", "has no disk in slot 4; it has 0"),
        ({"disk_bus": "ide", "firmware": "uefi"}, "InvalidInputError", "disk_bus ide does not go with firmware uefi"),
    ],
)
def test_wrong_values(
    fail: Any,
    args: dict[str, Any],
    folder: str,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
    kind: str,
    message: str,
    check_mode: bool,
) -> None:
    requests = pretend_to_start(monkeypatch)
    failed = fail("boot_test", {**args, **change}, check_mode=check_mode)
    assert message in failed["msg"]
    assert failed["failure"]["kind"] == kind
    assert requests == [] and read_boot_test(folder) is None


def test_without_qemu(fail: Any, args: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qemu, "_PROGRAMS", ("no-such-program",))
    for check_mode in (False, True):
        failed = fail("boot_test", args, check_mode=check_mode)
        assert failed["failure"] == {"kind": "BootTestError", "package": "qemu-system-x86"}
        assert failed["msg"].startswith("qemu is not installed: install the package")
