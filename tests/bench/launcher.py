# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run one command and say what it cost: wall, CPU and memory of it and all that it started, bytes that they read.

Usage: python -I -S launcher.py RESULT DIRECTORY STDIN COMMAND...

A process of its own, and a small one: the kernel takes the memory of whoever starts a command for the least that the
command needed. What the command has left to the kernel to write to the file system of DIRECTORY is written before the
clock stops: some tools do that themselves.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time

PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>
PR_SET_CHILD_SUBREAPER = 36


def read_bytes(pid: int) -> int | None:
    """Return what a process that has ended, and its children, asked the kernel to read."""
    try:
        with open(f"/proc/{pid}/io", encoding="ascii") as file:
            return int(dict(line.split(": ") for line in file.read().splitlines())["rchar"])
    except OSError:
        return None


def busy() -> tuple[float, float]:
    """Return the seconds that all processors together have worked since boot, and that their host kept them from it."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _idle, _iowait, irq, softirq, stolen = map(int, file.readline().split()[1:9])
    tick = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + softirq) / tick, stolen / tick


def main() -> int:
    """Run as a program."""
    result, directory, source, *command = sys.argv[1:]
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    library.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    disk = os.open(directory, os.O_RDONLY)
    library.syncfs(disk)
    worked, kept = busy()
    started = time.monotonic()
    pid = os.fork()
    if not pid:
        library.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        os.dup2(os.open(source, os.O_RDONLY), 0)
        os.execvp(command[0], command)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    command_ended = time.monotonic()
    read = read_bytes(pid)
    _pid, status, usage = os.wait4(pid, 0)
    library.syncfs(disk)
    worked_then, kept_then = busy()
    measured = {
        "wall": time.monotonic() - started,
        "durable": time.monotonic() - command_ended,
        "cpu": usage.ru_utime + usage.ru_stime,
        "rss": usage.ru_maxrss * 1024,
        "read": read,
        "busy": worked_then - worked,
        "stolen": kept_then - kept,
    }
    with open(result, "w", encoding="utf-8") as file:
        json.dump(measured, file)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())
