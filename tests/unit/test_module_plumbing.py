# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What all modules have in common: missing libraries, the environment, signals, failures and secrets."""

from __future__ import annotations

import functools
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ovm.backup.plugins.module_utils import _manager, _module, _vault
from ansible_collections.ovm.backup.plugins.module_utils._version import COLLECTION_VERSION
from ansible_collections.ovm.backup.plugins.module_utils.errors import (
    JobFailedError,
    NotFoundError,
    VaultError,
)
from ansible_collections.ovm.backup.plugins.module_utils.manager.client import connect
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Vault

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("[a-z]*.py"))
PASSWORD = "geheim-Passw0rd"
CONNECTION = {"url": "https://127.0.0.1:9", "user": "admin", "password": PASSWORD}
Module = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture
def run(run_module: Any) -> Callable[..., tuple[dict[str, Any], bool]]:
    """Run a module that exists in this file only: its options, and what it does."""

    def run(act: Callable[[AnsibleModule], dict[str, Any]], options: dict[str, Any], args: dict[str, Any]) -> Any:
        class Stub:
            __name__ = "stub"

            @staticmethod
            def main() -> None:
                module = AnsibleModule(argument_spec=options)
                with _module.engine(module):
                    result = act(module)
                module.exit_json(**result)

        return run_module(Stub(), args)

    return run


# --- missing libraries -----------------------------------------------------------------------------------------------

# Every module is loaded and run on a Python without the libraries, in one process, as Ansible would run it.
BARE = """
import contextlib, importlib, io, json, sys
from ansible.module_utils import basic
sys.modules.update(dict.fromkeys(("requests", "zstandard", "blake3", "cryptography", "urllib3", "yaml")))
found = {}
for name, arguments in json.loads(sys.argv[1]).items():
    module = importlib.import_module("ansible_collections.ovm.backup.plugins.modules." + name)
    text = json.dumps({"ANSIBLE_MODULE_ARGS": {**arguments, "_ansible_remote_tmp": sys.argv[2]}}).encode()
    try:
        from ansible.module_utils.testing import patch_module_args
        context = patch_module_args({**arguments, "_ansible_remote_tmp": sys.argv[2]})
    except ImportError:
        basic._ANSIBLE_ARGS, context = text, contextlib.nullcontext()
    output = io.StringIO()
    with context, contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
        module.main()
    result = json.loads(output.getvalue())
    found[name] = [result.get("failed", False), result.get("msg", ""), result.get("exception", "")]
print(json.dumps(found))
"""
VM = {"vm_id": "x", "run_id": "r", "client": "c", "job_id": "j", "plan": {}, "directory": "/d", "started": 1.0}
NEEDS: dict[str, tuple[dict[str, Any], str]] = {
    "backup": ({key: VM[key] for key in ("plan", "run_id")}, "blake3, zstandard"),
    "backup_draft": ({key: VM[key] for key in ("plan", "run_id")}, "blake3, zstandard"),
    "boot_test": ({"client": "c", "pattern": "x"}, "blake3, zstandard"),
    "client_lock": ({key: VM[key] for key in ("client", "run_id")}, "blake3"),
    "client_lock_info": ({}, "blake3"),
    "coverage_info": ({"subclients": {}, **CONNECTION}, "requests, blake3"),
    "guest_file_copy": ({"client": "c", "paths": ["/x"], "destination": "/d"}, "blake3, zstandard"),
    "guest_file_info": ({"client": "c"}, "blake3, zstandard"),
    "job": ({"state": "finished", "job_id": "j"}, "blake3"),
    "job_info": ({"job_id": "j"}, "blake3"),
    "plan_info": ({"subclient": "s", "definition": {}, **CONNECTION}, "requests, blake3"),
    "proxy_check": ({}, "requests, zstandard, blake3"),
    "job_vm": ({key: VM[key] for key in ("job_id", "plan", "started")}, "blake3"),
    "point_copy": ({"target_vault": "/v"}, "blake3, zstandard"),
    "point_export": ({key: VM[key] for key in ("client", "directory")}, "blake3, zstandard"),
    "recovery_point": ({"client": "c", "point": "latest", "pinned": True}, "blake3"),
    "recovery_point_info": ({}, "blake3"),
    "report": ({"format": "json"}, "blake3"),
    "retention": ({"policy": {"keep_last": 1}}, "blake3"),
    "disk_import": (
        {
            "client": "c",
            "slot": 0,
            "run_id": "r",
            "name": "n",
            "repository_id": "x",
            "address": "127.0.0.1",
            **CONNECTION,
        },
        "requests, blake3, zstandard",
    ),
    "restore_disk": ({"client": "c", "slot": 0, "target": {"path": "/d"}}, "blake3, zstandard"),
    "restore_plan_info": ({"client": "c", **CONNECTION}, "requests, blake3, zstandard"),
    "restore_image": ({key: VM[key] for key in ("client", "directory")}, "blake3, zstandard"),
    "served_point": ({"state": "absent", "directory": "/d"}, "blake3, zstandard"),
    "synthetic_full": ({"client": "c"}, "blake3, zstandard"),
    "schedule": ({"state": "absent", "path": "/"}, ""),
    "vault": ({}, ""),
    "vault_key": ({}, "cryptography"),
    "vault_leftovers": ({}, "blake3"),
    "verify": ({}, "blake3, zstandard"),
    "virtual_disk": ({"run_id": "r", "state": "absent", **CONNECTION}, "requests"),
    "vm": ({"run_id": "r", "state": "absent", **CONNECTION}, "requests"),
    "vm_disk_mapping": ({"vm_id": "x", "slot": 0}, "requests"),
    "vm_clone": ({key: VM[key] for key in ("vm_id", "run_id")}, "requests, blake3"),
    "vm_clone_info": ({}, "requests, blake3"),
    "vm_info": ({}, "requests"),
    "vm_power": ({"vm_id": "x", "state": "running"}, "requests"),
}


def test_missing_libraries_are_named(tmp_path: Path) -> None:
    assert sorted(NEEDS) == MODULES
    arguments: dict[str, dict[str, Any]] = {}
    for name, (own, _libraries) in NEEDS.items():
        manager = name.startswith(("vm", "virtual_"))
        shared = CONNECTION if manager else {"vault": str(tmp_path / "vault")}
        shared = {} if name == "schedule" else shared
        arguments[name] = {**own, **shared}
    done = subprocess.run(
        [sys.executable, "-c", BARE, json.dumps(arguments), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for name, (_own, libraries) in NEEDS.items():
        failed, message, trace = found[name]
        assert (name, failed) == (name, bool(libraries))
        if libraries:
            assert f"Python library ({libraries})" in message  # missing_required_lib() says the rest
            # Since ansible-core 2.19 a traceback is shown only where the user wants it.
            assert not trace or f"import of {libraries.partition(',')[0]} halted" in trace
    assert (tmp_path / "vault" / "vault.json").is_file()  # made without any library


# --- options and the environment -------------------------------------------------------------------------------------

ENVIRONMENT = {
    "OVM_URL": "https://ovmm.example.com:7002",
    "OVM_USER": "backup",
    "OVM_PASSWORD": PASSWORD,
    "OVM_CA_PATH": None,
    "OVM_FINGERPRINT": "ab" * 32,
    "OVM_VALIDATE_CERTS": "no",
    "OVM_REQUEST_TIMEOUT": "7.5",
    "OVM_JOB_TIMEOUT": "99",
}


def settings(module: AnsibleModule) -> dict[str, Any]:
    """Return what the options come to, without the password, which must not come back."""
    found = _manager.connection_settings(module.params)
    assert found.password == PASSWORD
    return {**{key: value for key, value in vars(found).items() if key != "password"}, "shown": repr(found),
            "job_timeout": module.params["job_timeout"]}  # fmt: skip


@pytest.mark.parametrize("given", [False, True])
def test_connection_from_the_environment(
    run: Module, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: bool
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value or str(tmp_path))
    args = {"user": "other", "request_timeout": 3, "validate_certs": True} if given else {}  # these come first
    result, failed = run(settings, _manager.manager_options(), args)
    assert not failed
    result.pop("invocation", None)  # ansible-core 2.21 adds it on the controller
    assert PASSWORD not in json.dumps(result)
    result.pop("shown")
    assert result == {
        "url": "https://ovmm.example.com:7002/ovm/core/wsapi/rest",
        "user": "other" if given else "backup",
        "ca_path": str(tmp_path),
        "fingerprint": "ab" * 32,
        "validate_certs": given,
        "request_timeout": 3.0 if given else 7.5,
        "job_timeout": 99.0,
    }


def test_defaults_of_the_connection(run: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    result, _failed = run(settings, _manager.manager_options(), CONNECTION)
    found = {key: result[key] for key in ("ca_path", "fingerprint", "validate_certs", "request_timeout", "job_timeout")}
    assert found == {
        "ca_path": None, "fingerprint": None, "validate_certs": True, "request_timeout": 60.0, "job_timeout": 3600.0,
    }  # fmt: skip


def test_vault_from_the_environment(run: Module, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = Vault.create(str(tmp_path / "vault"))
    monkeypatch.setenv("OVM_VAULT", made.path)
    result, _failed = run(lambda module: {"id": _vault.open_vault(module).id}, _vault.vault_options(), {})
    assert result["id"] == made.id
    assert _vault.vault_options(required=False)["vault"]["required"] is False


# --- failures and secrets --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (NotFoundError("not there", vm_id="x", reason=None), {"kind": "NotFoundError", "vm_id": "x"}),
        (JobFailedError("failed", job_id="7", error_code="GEN_000001"),
            {"kind": "JobFailedError", "retryable": True, "job_id": "7", "error_code": "GEN_000001"}),
        (VaultError("no"), {"kind": "VaultError"}),
    ],
)  # fmt: skip
def test_failure_of_the_engine(run: Module, error: Exception, failure: dict[str, Any]) -> None:
    def act(_module: AnsibleModule) -> dict[str, Any]:
        raise error

    result, failed = run(act, {}, {})
    assert failed
    assert (result["msg"], result["failure"]) == (str(error), failure)
    assert "exception" not in result


def test_many_files_may_be_open(run: Module) -> None:
    """A chain is read with all of its files open."""
    kept = resource.getrlimit(resource.RLIMIT_NOFILE)

    def act(_module: AnsibleModule) -> dict[str, Any]:
        return {"limits": resource.getrlimit(resource.RLIMIT_NOFILE)}

    resource.setrlimit(resource.RLIMIT_NOFILE, (256, kept[1]))
    try:
        assert run(act, {}, {})[0]["limits"] == [kept[1], kept[1]]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, kept)


def test_open_files_that_cannot_be_more(run: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert run(lambda _module: {"done": True}, {}, {})[0]["done"]


def test_other_exceptions_are_left_to_ansible(run: Module) -> None:
    def act(_module: AnsibleModule) -> dict[str, Any]:
        raise ZeroDivisionError("a defect")

    with pytest.raises(ZeroDivisionError, match="a defect"):
        run(act, {}, {})


def test_the_password_is_masked_wherever_it_turns_up(run: Module) -> None:
    def act(module: AnsibleModule) -> dict[str, Any]:
        raise VaultError(f"with {module.params['password']}", deep={"list": [PASSWORD]})

    result, failed = run(act, _manager.manager_options(), CONNECTION)
    assert failed
    assert PASSWORD not in json.dumps(result)


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("vm_")])
def test_no_secret_when_the_manager_cannot_be_reached(
    run_module: Any, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_manager, "connect", functools.partial(connect, sleep=lambda _seconds: None))
    own, _libraries = NEEDS[module]
    own = {**own, "run_id": "20261123T010203Z-0a1b2c3d-4e5f60"} if "run_id" in own else dict(own)
    own.update({"state": "stopped"} if module == "vm_power" else {})  # a start would wait for the manager
    result, failed = run_module(module, {**own, **CONNECTION})
    assert failed
    assert result["failure"]["kind"] == "ManagerUnreachableError"
    assert PASSWORD not in json.dumps(result)


# --- signals ---------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def heeded_signals() -> Iterator[None]:
    """Whoever started the tests in the background may have them ignore Ctrl-C, and whoever used nohup a hangup."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_an_interruption(run: Module, number: signal.Signals) -> None:
    seen = []

    def act(_module: AnsibleModule) -> dict[str, Any]:
        try:
            os.kill(os.getpid(), number)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)  # does not disturb the clean-up
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGINT)
            seen.append("cleaned up")
        return {}

    with pytest.raises(KeyboardInterrupt, match="terminated"):
        run(act, {}, {})
    assert seen == ["cleaned up"]


def test_a_lost_connection_that_is_ignored_stays_ignored(run: Module) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def act(_module: AnsibleModule) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGHUP)
        return {"went_on": True}

    result, failed = run(act, {}, {})
    assert (failed, result["went_on"]) == (False, True)


def test_owner_of_a_lock(run: Module) -> None:
    result, _failed = run(lambda module: {"owner": _vault.lock_owner(module)}, {}, {})
    assert result["owner"] == f"ovm.backup.stub on {os.uname().nodename}"


# --- the version -----------------------------------------------------------------------------------------------------


def test_version() -> None:
    assert yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["version"] == COLLECTION_VERSION


# A module that waits in its engine for ever, as long as somebody reads what it prints.
UNREAD = """
import contextlib, json, signal, sys, time
from ansible.module_utils import basic
from ansible_collections.ovm.backup.plugins.module_utils._module import engine
if sys.argv[2] == "ignore":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
arguments = {"_ansible_remote_tmp": sys.argv[1]}
try:
    from ansible.module_utils.testing import patch_module_args
    context = patch_module_args(arguments)
except ImportError:
    basic._ANSIBLE_ARGS, context = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode(), contextlib.nullcontext()
with context:
    module = basic.AnsibleModule(argument_spec={})
with engine(module):
    try:
        print("begun", flush=True)
        for _look in range(3000 if sys.argv[2] == "end" else 5):
            time.sleep(0.01)
        print("not interrupted", file=sys.stderr)
    finally:
        print("cleaned up", file=sys.stderr)
"""


@pytest.mark.parametrize(("manner", "told"), [("end", "cleaned up\n"), ("ignore", "not interrupted\ncleaned up\n")])
def test_a_module_ends_when_nobody_is_left_to_read_its_result(tmp_path: Path, manner: str, told: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", UNREAD, str(tmp_path), manner], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "begun\n"
        process.stdout.close()
        assert process.stderr.read().startswith(told)
        assert (process.wait() == 0) == (manner == "ignore")
