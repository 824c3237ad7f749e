# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Lines that tell how far a long module is, printed by its action plugin while it runs.

The module runs as any other: the task waits for it, and whatever ends the task ends the module. Meanwhile a thread of
the task looks at the module's status file, over a copy of the connection.
"""

from __future__ import annotations

import contextlib
import contextvars
import copy
import math
import os
import secrets
import shlex
import signal
import threading
from collections.abc import Callable, Mapping
from typing import Any

from ansible.plugins.action.normal import ActionModule as NormalAction
from ansible.utils.display import Display

from ..module_utils._progress import parse_status
from ..module_utils.vault.summary import format_bytes, format_seconds
from ..module_utils.vault.text import one_line

OPTION = "progress_file"
VARIABLE = "ovm_backup_progress_interval"
ENVIRONMENT = "OVM_PROGRESS_INTERVAL"
DEFAULT_SECONDS = 5.0
# How long a last look at the status may still take when the module has ended.
GRACE_SECONDS = 10.0
# Connections that are a process for each command. Others keep sockets, which a copy would share.
CONNECTIONS = ("ansible.plugins.connection.local", "ansible.plugins.connection.ssh")

display = Display()


def interval_of(value: object) -> float:
    """Return the seconds between two lines, 0 for none; C(ValueError) for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(value)
    seconds = float(value)
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(value)
    return seconds


def progress_line(host: str, status: Mapping[str, Any]) -> str:
    """Return a status as one line without control characters, whatever the VM is called."""
    done, total, rate = status["done"], status["total"], status.get("rate")
    parts = [f"{100 * min(done, total) // total if total else 100} %", f"{format_bytes(done)} of {format_bytes(total)}"]
    if rate:
        parts += [f"{format_bytes(rate)}/s", f"{format_seconds(max(total - done, 0) / rate)} left"]
    return one_line(f"progress: [{host}] {status['vm']}: {status['phase']}: {', '.join(parts)}")


def copy_of(connection: Any) -> Any:
    """Return a connection to the same host that another thread can use.

    Shell and become plugin keep the state of the command that they work on, so they are copied, too.
    """
    twin = copy.copy(connection)
    twin._shell = copy.copy(connection._shell)
    twin._play_context = copy.copy(connection._play_context)
    if connection.become is not None:
        twin.set_become_plugin(copy.copy(connection.become))
    return twin


class Watch:
    """Looks at a status file every now and then while the block runs.

    C(execute) runs a shell command on the module's host and returns its output, C(show) prints a line. A block that is
    shorter than the interval costs nothing.
    """

    def __init__(
        self,
        path: str,
        *,
        host: str,
        interval: float,
        execute: Callable[[str], str],
        show: Callable[[str], None],
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self._command = f"cat {shlex.quote(path)} 2>/dev/null"
        self._host = host
        self._interval = interval
        self._execute = execute
        self._show = show
        self._stopped = threading.Event()
        # Returns early, and true, when the module has ended.
        self._wait = wait or self._stopped.wait
        self._showing = threading.Lock()
        self._last: str | None = None
        self.began = False

    def __enter__(self) -> Watch:
        # What core keeps about the task that runs is in context variables, which threads do not inherit.
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._run,), name="ovm-progress", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        # Nothing is shown after this: whoever prints while the worker process ends takes the queue's lock with it.
        with self._showing:
            self._stopped.set()
        self._thread.join(GRACE_SECONDS)

    def _run(self) -> None:
        # Python handles signals in the main thread. One that comes here does not wake it up while it waits for the
        # module, and an interrupted run would go on.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        self.look()

    def look(self) -> None:
        """Print how far the module is, until it has ended."""
        while not self._wait(self._interval):
            self.began = True
            # A lost connection is the module's affair; the next look may succeed.
            with contextlib.suppress(Exception):
                self._print(parse_status(self._execute(self._command)))

    def _print(self, status: Mapping[str, Any] | None) -> None:
        line = progress_line(self._host, status) if status is not None else None
        if line is None or line == self._last:
            return
        self._last = line
        with self._showing:
            if not self._stopped.is_set():
                self._show(line)


class ProgressAction(NormalAction):
    """Runs the module of the same name, and prints how far it is."""

    _parent: int

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return precisely what the module returns."""
        del tmp
        variables = task_vars or {}
        interval = self._interval(variables)
        if self._steps_aside(interval):
            return dict(super().run(task_vars=task_vars))
        arguments = self._task.args
        directory = f"{self.get_shell_option('system_tmpdirs')[0]}/ansible-tmp-ovm-backup-{secrets.token_hex(16)}"
        path = f"{directory}/progress.json"
        twin = copy.copy(self)
        twin._connection, twin._parent = copy_of(self._connection), os.getppid()
        watch = Watch(path, host=self._host(variables), interval=interval, execute=twin._look, show=display.display)
        self._task.args = {**arguments, OPTION: path}
        try:
            with watch:
                result = dict(super().run(task_vars=task_vars))
        finally:
            self._task.args = arguments  # the task may be tried again
        if watch.began:
            # The module does that itself, unless it was killed.
            with contextlib.suppress(Exception):
                self._output_of(f"rm -rf {shlex.quote(directory)}")
        return result

    def _steps_aside(self, interval: float) -> bool:
        """Tell whether the task is to run as one of a module without action plugin."""
        return bool(
            interval == 0
            or self._task.check_mode
            or self._task.async_val
            or self._task.no_log
            or OPTION in self._task.args
            or type(self._connection).__module__ not in CONNECTIONS
        )

    def _interval(self, variables: Mapping[str, Any]) -> float:
        name, value = VARIABLE, variables.get(VARIABLE)
        if value is None:
            name, value = f"{ENVIRONMENT} of the environment", os.environ.get(ENVIRONMENT)
        if value is None:
            return DEFAULT_SECONDS
        try:
            value = self._templar.template(value)
            return interval_of(value)
        except Exception:
            # A backup does not fail for that, least of all while a VM is shut down.
            display.warning(
                f"{name} must be a number of seconds, 0 for no lines of progress, not {value!r}: "
                f"{DEFAULT_SECONDS:g} seconds are used"
            )
            return DEFAULT_SECONDS

    def _host(self, variables: Mapping[str, Any]) -> str:
        host, proxy = variables.get("inventory_hostname"), self._task.delegate_to
        return f"{host} -> {proxy}" if proxy and proxy != host else str(host)

    def _look(self, command: str) -> str:
        if os.getppid() != self._parent:
            # Ansible was killed. This process would wait for the module all the same, and so keep it going.
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        return self._output_of(command)

    def _output_of(self, command: str) -> str:
        return str(self._low_level_execute_command(command)["stdout"])
