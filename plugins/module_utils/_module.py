# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What all modules share: what their work needs before it begins, and how failures are reported."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import stat
import sys
import threading
from collections.abc import Iterator
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ._libraries import missing_libraries
from .errors import OvmBackupError

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def engine(module: AnsibleModule, *libraries: str) -> Iterator[None]:
    """Check the libraries, let an interruption clean up, and turn a failure of the engine into one of the module."""
    missing = missing_libraries(*libraries) if libraries else []
    if missing:
        names = ", ".join(name for name, _error in missing)
        module.fail_json(msg=missing_required_lib(names), exception=missing[0][1])
    _allow_many_files()
    # A terminated run, or one whose connection is lost, must remove its clone and its half-made point: make that an
    # exception like that of Ctrl-C. Who ignores the loss of the connection (async, nohup) goes on doing so.
    for number in _ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _terminated)
    try:
        with _loss_noticed():
            yield
    except OvmBackupError as error:
        module.fail_json(msg=error.message, failure=error.as_failure())


def _allow_many_files() -> None:
    """Raise the soft limit of open files to the hard one: all files of a chain are open while it is read."""
    with contextlib.suppress(OSError, ValueError):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextlib.contextmanager
def _loss_noticed() -> Iterator[None]:
    """Take it for the loss of the connection when nobody is left to read the result.

    The control node may have been interrupted or killed, or the network is gone. A ssh server tells programs that have
    a terminal, but modules have none. They would go on, and what they have stopped would stay so until they end.
    """
    output = sys.__stdout__.fileno() if sys.__stdout__ is not None else -1
    kind = os.fstat(output).st_mode if output >= 0 else 0
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN or not (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)):
        yield
        return
    ended, end = os.pipe()
    main = threading.get_ident()

    def watch() -> None:
        # Other signals are for the main thread: in here they would not wake it up.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        events = select.poll()
        events.register(output, 0)  # errors and hang-ups are reported in any case
        events.register(ended, 0)
        found = dict(events.poll())
        if ended not in found and found[output] & (select.POLLERR | select.POLLHUP):
            signal.pthread_kill(main, signal.SIGHUP)

    thread = threading.Thread(target=watch, name="ovm-loss", daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.close(end)
        thread.join()
        os.close(ended)


def _terminated(_signal: int, _frame: Any) -> NoReturn:
    # Whoever ends a whole group of processes may send it twice, and the loss of the connection may follow: the clean-up
    # is not interrupted.
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt("terminated")
