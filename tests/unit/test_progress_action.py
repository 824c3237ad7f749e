# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lines of progress: what they say, when there are some, and that the result is the module's own."""

from __future__ import annotations

import json
import os
import signal
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.plugins.action.normal import ActionModule as NormalAction
from ansible.plugins.loader import become_loader, connection_loader, shell_loader

from ansible_collections.ovm.backup.plugins.action import backup, restore_image
from ansible_collections.ovm.backup.plugins.plugin_utils import _progress
from ansible_collections.ovm.backup.plugins.plugin_utils._progress import (
    ProgressAction,
    Watch,
    copy_of,
    interval_of,
    progress_line,
)

MIB = 1024 * 1024
STATUS = {"vm": "db 01", "phase": "transfer sys", "done": 42 * MIB, "total": 100 * MIB, "rate": 2.0 * MIB}


# --- lines -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({}, "42 %, 42.0 MiB of 100.0 MiB, 2.0 MiB/s, 29.0 s left"),
        ({"rate": None}, "42 %, 42.0 MiB of 100.0 MiB"),
        ({"rate": 0}, "42 %, 42.0 MiB of 100.0 MiB"),
        ({"rate": MIB / 4}, "42 %, 42.0 MiB of 100.0 MiB, 256.0 KiB/s, 3 min 52 s left"),
        ({"done": 100 * MIB - 1}, "99 %, 100.0 MiB of 100.0 MiB, 2.0 MiB/s, 0.0 s left"),
        ({"done": 100 * MIB}, "100 %, 100.0 MiB of 100.0 MiB, 2.0 MiB/s, 0.0 s left"),
        ({"done": 200 * MIB, "rate": None}, "100 %, 200.0 MiB of 100.0 MiB"),
        ({"done": 0, "total": 0, "rate": None}, "100 %, 0 B of 0 B"),
    ],
)
def test_line(change: dict[str, Any], line: str) -> None:
    assert (
        progress_line("db -> proxy1", {**STATUS, **change}) == f"progress: [db -> proxy1] db 01: transfer sys: {line}"
    )


def test_names_cannot_break_the_line() -> None:
    line = progress_line("h\n", {**STATUS, "vm": "a\n\x1b[2J\u202eb", "phase": "transfer \ud800\r\nx", "rate": None})
    assert line == "progress: [h ] a \ufffd[2J\ufffdb: transfer \ufffd x: 42 %, 42.0 MiB of 100.0 MiB"


@pytest.mark.parametrize(("value", "seconds"), [("2", 2.0), (0, 0.0), ("0.5", 0.5), (7.5, 7.5)])
def test_interval(value: object, seconds: float) -> None:
    assert interval_of(value) == seconds


@pytest.mark.parametrize("value", ["", "often", "-1", -1, "nan", "inf", True, None, [5]])
def test_no_interval(value: object) -> None:
    with pytest.raises(ValueError):
        interval_of(value)


# --- looking ---------------------------------------------------------------------------------------------------------


def watched(answers: list[Any]) -> tuple[list[str], list[str], Watch]:
    """Return the commands and lines of a watch that gets these answers, one after the other, and the watch."""
    commands: list[str] = []
    lines: list[str] = []
    left = list(answers)

    def execute(command: str) -> str:
        commands.append(command)
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, str) else json.dumps(answer)

    watch = Watch(
        "/var/tmp/a b/progress.json",
        host="h",
        interval=5.0,
        execute=execute,
        show=lines.append,
        wait=lambda seconds: not (left and seconds == 5.0),
    )
    watch.look()
    return commands, lines, watch


def test_a_line_for_each_change() -> None:
    later = {**STATUS, "done": 43 * MIB}
    commands, lines, watch = watched(["", STATUS, STATUS, OSError("lost"), "{", later, RuntimeError("?")])
    assert commands == ["cat '/var/tmp/a b/progress.json' 2>/dev/null"] * 7
    assert lines == [progress_line("h", STATUS), progress_line("h", later)]
    assert watch.began


def test_a_short_task_costs_nothing() -> None:
    commands, lines, watch = watched([])
    assert (commands, lines, watch.began) == ([], [], False)


def test_nothing_is_shown_after_the_end() -> None:
    lines: list[str] = []
    watch: Watch

    def execute(_command: str) -> str:
        watch._stopped.set()  # the module ends while its status is on the way
        return json.dumps(STATUS)

    watch = Watch("/p/f", host="h", interval=0.001, execute=execute, show=lines.append)
    with watch:
        watch._stopped.wait(60)
    assert watch.began
    assert lines == []
    assert not watch._thread.is_alive()


def test_signals_are_left_to_the_main_thread() -> None:
    blocked: list[set[int]] = []

    def execute(_command: str) -> str:
        blocked.append(set(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
        return ""

    watch = Watch("/p/f", host="h", interval=0.001, execute=execute, show=print)
    with watch:
        while not blocked:
            os.sched_yield()
    assert {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM, signal.SIGCHLD} <= blocked[0]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


# --- the action plugin -----------------------------------------------------------------------------------------------


class Action(ProgressAction):
    """The action plugin with a task and a connection that are not there."""

    def __init__(self, task: dict[str, Any], connection: Any) -> None:
        values = {"check_mode": False, "async_val": 0, "no_log": False, "args": {"vault": "/v"}, "delegate_to": None}
        self._task = types.SimpleNamespace(**{**values, **task})
        self._connection = connection
        self._templar = types.SimpleNamespace(template=lambda value: value)
        self.commands: list[str] = []

    def get_shell_option(self, option: str, default: Any = None) -> Any:
        assert option == "system_tmpdirs"
        return ["/var/tmp"]

    def _low_level_execute_command(self, cmd: str, **_options: Any) -> dict[str, Any]:
        self.commands.append(cmd)
        return {"rc": 0, "stdout": json.dumps(STATUS) if cmd.startswith("cat ") else ""}


@pytest.fixture
def local() -> Any:
    connection = connection_loader.get(
        "local", types.SimpleNamespace(remote_addr="h", shell=None), shell=shell_loader.get("sh")
    )
    connection.set_become_plugin(become_loader.get("su"))
    return connection


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    kept: dict[str, list[str]] = {"lines": [], "warnings": []}
    display = types.SimpleNamespace(display=kept["lines"].append, warning=kept["warnings"].append)
    monkeypatch.setattr(_progress, "display", display)
    monkeypatch.delenv("OVM_PROGRESS_INTERVAL", raising=False)
    return kept


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], list[dict[str, Any]]]:
    """Let the module be a function: what it is called with is kept."""

    def install(act: Any) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = []

        def run(self: Any, tmp: Any = None, task_vars: Any = None) -> Any:
            calls.append(self._task.args)
            return act()

        monkeypatch.setattr(NormalAction, "run", run)
        return calls

    return install


def test_modules_have_it() -> None:
    assert all(issubclass(module.ActionModule, ProgressAction) for module in (backup, restore_image))


def test_result_is_that_of_the_module(local: Any, shown: Any, module: Any) -> None:
    calls = module(lambda: {"failed": True, "msg": "no"})
    action = Action({"delegate_to": "proxy1"}, local)
    variables = {"inventory_hostname": "db", "ovm_backup_progress_interval": "3600"}
    assert action.run(task_vars=variables) == {"failed": True, "msg": "no"}
    assert (shown, action.commands) == ({"lines": [], "warnings": []}, [])
    assert action._task.args == {"vault": "/v"}
    [arguments] = calls
    path = Path(arguments.pop("progress_file"))
    assert arguments == {"vault": "/v"}
    assert (path.parent.parent, path.name) == (Path("/var/tmp"), "progress.json")
    assert action.run(task_vars=variables) == {"failed": True, "msg": "no"}
    assert calls[1]["progress_file"] != str(path)


def test_lines_while_the_module_runs(local: Any, shown: Any, module: Any) -> None:
    def act() -> dict[str, Any]:
        while not shown["lines"]:
            os.sched_yield()
        return {"changed": True}

    arguments = module(act)
    action = Action({"delegate_to": "proxy1"}, local)
    variables = {"inventory_hostname": "db", "ovm_backup_progress_interval": 0.001}
    assert action.run(task_vars=variables) == {"changed": True}
    assert shown == {"lines": [progress_line("db -> proxy1", STATUS)], "warnings": []}
    directory = os.path.dirname(arguments[0]["progress_file"])
    assert action.commands[0] == f"cat {directory}/progress.json 2>/dev/null"
    assert action.commands[-1] == f"rm -rf {directory}"


@pytest.mark.parametrize(
    ("task", "variables", "environment"),
    [
        ({"check_mode": True}, {}, None),
        ({"async_val": 60}, {}, None),
        ({"no_log": True}, {}, None),
        ({"args": {"progress_file": "/x"}}, {}, None),
        ({}, {"ovm_backup_progress_interval": 0}, "5"),
        ({}, {}, "0"),
    ],
)
def test_stepping_aside(
    local: Any,
    shown: Any,
    module: Any,
    monkeypatch: pytest.MonkeyPatch,
    task: dict[str, Any],
    variables: dict[str, Any],
    environment: str | None,
) -> None:
    if environment is not None:
        monkeypatch.setenv("OVM_PROGRESS_INTERVAL", environment)
    calls = module(lambda: {"changed": False})
    action = Action(task, local)
    assert action.run(task_vars=variables) == {"changed": False}
    assert calls == [task.get("args", {"vault": "/v"})]
    assert (shown, action.commands) == ({"lines": [], "warnings": []}, [])


def test_other_connections_are_left_alone(shown: Any, module: Any) -> None:
    calls = module(lambda: {"changed": False})
    action = Action({}, types.SimpleNamespace(transport="ssh"))
    assert action.run(task_vars={}) == {"changed": False}
    assert calls == [{"vault": "/v"}]


@pytest.mark.parametrize(
    ("variables", "environment", "name"),
    [
        ({"ovm_backup_progress_interval": "often"}, None, "ovm_backup_progress_interval"),
        ({}, "often", "OVM_PROGRESS_INTERVAL of the environment"),
    ],
)
def test_a_wrong_interval_does_not_fail_a_backup(
    local: Any,
    shown: Any,
    module: Any,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, Any],
    environment: str | None,
    name: str,
) -> None:
    if environment is not None:
        monkeypatch.setenv("OVM_PROGRESS_INTERVAL", environment)
    calls = module(lambda: {"changed": True})
    assert Action({}, local).run(task_vars=variables) == {"changed": True}
    assert "progress_file" in calls[0]
    assert shown["warnings"] == [
        f"{name} must be a number of seconds, 0 for no lines of progress, not 'often': 5 seconds are used"
    ]


def test_a_copy_of_the_connection_has_a_state_of_its_own(local: Any) -> None:
    twin = copy_of(local)
    local._shell.tmpdir = "/tmp/of-the-module"
    local.become._id, local.become.success, local.become.prompt = "id", "BECOME-SUCCESS-id", "Password:"
    local._play_context.remote_addr = "other"
    assert type(twin) is type(local)
    assert twin._shell.tmpdir is None
    fresh = become_loader.get("su")
    kept = (twin.become._id, twin.become.success, twin.become.prompt)
    assert kept == (fresh._id, fresh.success, fresh.prompt)
    assert twin._play_context.remote_addr == "h"
