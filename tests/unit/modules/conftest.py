# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running the modules: exact results, a simulated manager in its first state, proof of check mode."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils import basic
from unit.guest.fake import FakeGuest
from unit.transfer.builders import Estate
from unit.vault.builders import read_from_images

from ansible_collections.ovm.backup.plugins.module_utils import _guest, _manager
from ansible_collections.ovm.backup.plugins.module_utils.manager import clone_making
from ansible_collections.ovm.backup.plugins.module_utils.manager.client import connect
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Vault
from simulator.testing import Simulator, running

Run = Callable[..., dict[str, Any]]
VMS = ("db01", "app 01", "files01")


@pytest.fixture(autouse=True)
def own_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a module finds in and does to its own process: the environment, and the handlers of signals."""
    for name in [name for name in os.environ if name.startswith("OVM_")]:
        monkeypatch.delenv(name)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def succeed(run_module: Callable[..., tuple[dict[str, Any], bool]]) -> Run:
    """Run a module that must succeed, without warnings; return its result without what Ansible adds."""

    def run(module: str, args: dict[str, Any], **options: Any) -> dict[str, Any]:
        result, failed = run_module(module, args, **options)
        assert not failed, result
        assert "warnings" not in result and "deprecations" not in result
        result.pop("invocation", None)  # ansible-core 2.21 adds it on the controller
        return result

    return run


@pytest.fixture
def fail(run_module: Callable[..., tuple[dict[str, Any], bool]]) -> Run:
    """Run a module that must fail; return its message and structured cause. A traceback is no message."""

    def run(module: str, args: dict[str, Any], **options: Any) -> dict[str, Any]:
        result, failed = run_module(module, args, **options)
        assert failed, result
        assert "Traceback" not in json.dumps(result)
        assert args.get("password") is None or args["password"] not in json.dumps(result)
        return {key: result[key] for key in ("msg", "failure") if key in result}

    return run


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the warnings of the modules that run; where Ansible puts them depends on what else the process does."""
    said: list[str] = []
    monkeypatch.setattr(basic.AnsibleModule, "warn", lambda _module, text: said.append(text))
    return said


@pytest.fixture
def estate(tmp_path: Path) -> Estate:
    return Estate(tmp_path)


@pytest.fixture
def guest(monkeypatch: pytest.MonkeyPatch) -> FakeGuest:
    """What the modules find in place of an appliance over the disks of a guest, which are not served either."""
    made = FakeGuest()
    served = SimpleNamespace(check=lambda: None)
    monkeypatch.setattr(_guest, "serve_point", lambda *_args, **_options: contextlib.nullcontext(served))
    monkeypatch.setattr(_guest, "Appliance", lambda *_args: made)
    return made


# --- the manager -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def running_simulator() -> Iterator[Simulator]:
    with running("minimal") as made:
        yield made


@pytest.fixture
def simulator(running_simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """The simulator in its first state. Time runs ahead in the module under test; nothing of ours may stay behind."""
    made, now = running_simulator, [0.0]

    def sleep(seconds: float) -> None:
        time.sleep(min(seconds, 0.02))
        now[0] += seconds

    monkeypatch.setattr(_manager, "connect", functools.partial(connect, clock=lambda: now[0], sleep=sleep))
    states = {vm: made.find("Vm", vm)["vmRunState"] for vm in VMS}
    made.clear_calls()
    yield made
    made.clear_faults()
    made.read_only(False)
    for vm, state in states.items():
        made.ignore_shutdown(vm, False)
        made.set_state(vm, state)
    assert sorted(vm["name"] for vm in made.state()["vms"].values()) == sorted(VMS), "VMs left behind"


@pytest.fixture
def manager(simulator: Simulator) -> dict[str, Any]:
    """The options of the connection."""
    return {
        "url": simulator.url,
        "user": simulator.user,
        "password": simulator.password,
        "ca_path": simulator.ca,
    }


@pytest.fixture
def keep_clone(succeed: Run, manager: dict[str, Any], simulator: Simulator) -> Iterator[Callable[..., dict[str, Any]]]:
    """Back a running VM up by a hot clone that stays, as on a file system whose extents can be compared."""
    kept: list[dict[str, Any]] = []

    def run(vault: Vault, plan: dict[str, Any], run_id: str) -> dict[str, Any]:
        kept.append({**manager, "vm_id": plan["vm_id"], "run_id": run_id})
        slots = [disk["slot"] for disk in plan["disks"]]
        clone: dict[str, Any] = succeed("vm_clone", {**kept[-1], "slots": slots})["clone"]
        args = {"plan": plan, "clone": clone, "run_id": run_id, "repositories_path": str(simulator.repositories)}
        succeed("backup", {**args, "vault": vault.path})
        client = vault.client(plan["client"])
        point = client.point()
        # The directories of the simulator lie on any file system: what the images would be is put in their place.
        images = {
            disk["slot"]: {
                "clone_id": clone["id"],
                "repository_id": disk["repository_id"],
                "path": disk["path"],
                "identity": {"file_system": "ocfs2", "uuid": "u", "inode": 1, "size": 1, "mtime": 1, "ctime": 1},
            }
            for disk in clone["disks"]
        }
        read_from_images(client, point, images)
        return {"clone": clone, "point_id": point.id}

    yield run
    for args in kept:
        succeed("vm_clone", {**args, "state": "absent"})


@pytest.fixture
def beside_a_new_clone(succeed: Run, manager: dict[str, Any], simulator: Simulator, monkeypatch: Any) -> Run:
    """Run a module while another run has just made the clone C(db01.0), which has no mark of ours yet."""

    def run(module: str, args: dict[str, Any]) -> dict[str, Any]:
        results: list[dict[str, Any]] = []
        mark = clone_making.mark_clone

        def marked_late(*given: Any, **named: Any) -> str:
            assert "db01.0" in {vm["name"] for vm in simulator.state()["vms"].values()}
            results.append(succeed(module, args))
            return mark(*given, **named)

        monkeypatch.setattr(clone_making, "mark_clone", marked_late)
        vm_id = simulator.find("Vm", "db01")["id"]["value"]
        clone = {**manager, "vm_id": vm_id, "run_id": "20261123T010203Z-0a1b2c3d-4e5f60"}
        succeed("vm_clone", clone)
        succeed("vm_clone", {**clone, "state": "absent"})
        [result] = results
        return result

    return run


@pytest.fixture
def foresee(simulator: Simulator, succeed: Run) -> Run:
    """Run a module in check mode while the manager refuses to be changed; prove that it was not even asked to."""

    def run(module: str, args: dict[str, Any], **options: Any) -> dict[str, Any]:
        simulator.read_only()
        simulator.clear_calls()
        result = succeed(module, args, check_mode=True, **options)
        assert simulator.calls(writing=True) == []
        simulator.read_only(False)
        return result

    return run
