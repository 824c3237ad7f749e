# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever is measured leaves nothing behind, also after Ctrl-C and kill -9: as root, all of it runs in namespaces.

When the first process of a PID namespace ends, the kernel ends all others in it; with the last of them goes the mount
namespace, with that the mounts, and with those the loop devices.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable

_CLONE_NEWNS, _CLONE_NEWPID = 0x00020000, 0x20000000
_PR_SET_PDEATHSIG = 1


def isolated(work: Callable[[], int], tidy: Callable[[], None]) -> int:
    """Run C(work) in namespaces of its own if that is allowed here, else as it is; return its exit code.

    C(tidy) removes files that C(work) has left, and is called in any case but that of kill -9.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if os.getuid() != 0 or library.unshare(_CLONE_NEWNS | _CLONE_NEWPID) != 0:
        try:
            return work()
        finally:
            tidy()
    sys.stdout.flush()
    child = os.fork()
    if not child:
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        subprocess.run(["mount", "-t", "proc", "proc", "/proc"], check=True)
        code = 1
        try:
            code = work()
        except SystemExit as error:
            print(error, file=sys.stderr)
        except KeyboardInterrupt:
            code = 130
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def end(number: int, _frame: object) -> None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise SystemExit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    try:
        _pid, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status)
    finally:
        tidy()
