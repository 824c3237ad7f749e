# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run a server under make such that a signal to make, however it was sent, ends the server cleanly.

Usage: python supervise.py COMMAND...

make passes SIGTERM on to its children, but not SIGINT and SIGHUP: it trusts the terminal to have signalled all of
the process group. Somebody who sends SIGINT to make alone would wait for ever, as make waits for the server. And who
kills make with SIGKILL would leave the server behind. So this program stands between them: it passes every signal on
once, and looks whether its parent has gone or has been interrupted.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

LOOK_EVERY = 0.5  # seconds
WATCHED = 1 << (signal.SIGINT - 1) | 1 << (signal.SIGHUP - 1)
PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>


def handled_signals(pid: int) -> int:
    """Return which of SIGINT and SIGHUP the process handles, as bits: make drops its handler on the first signal."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    return int(fields.get("SigCgt", "0"), 16) & WATCHED


def prepare_child() -> None:
    """Have the kernel end the server should this program be killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def main() -> int:
    """Run as a program; the exit code is the server's, 0 if it was told to stop and did."""
    parent = os.getppid()
    handled = handled_signals(parent)
    stopping = False

    # In a session of its own, a signal to our process group does not reach the server twice.
    server = subprocess.Popen(
        sys.argv[1:],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=prepare_child,  # noqa: PLW1509 - there are no other threads here
    )

    def stop(_number: int = 0, _frame: object = None) -> None:
        nonlocal stopping
        if not stopping:
            stopping = True
            server.terminate()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    while True:
        try:
            code = server.wait(LOOK_EVERY)
            break
        except subprocess.TimeoutExpired:
            if os.getppid() != parent or handled_signals(parent) != handled:
                stop()
    return 0 if stopping and code in (0, -signal.SIGTERM) else abs(code)


if __name__ == "__main__":
    sys.exit(main())
