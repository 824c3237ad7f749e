# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""C(python -m bed start|stop)."""

from __future__ import annotations

import json
import shlex
import sys

from .bed import Bed
from .layout import BedError
from .machine import start, stop


def main() -> int:
    """Run as a program. Exit code 1 with a reason if it did not work."""
    if sys.argv[1:] not in (["start"], ["stop"]):
        print("Usage: python -m bed start|stop", file=sys.stderr)
        return 2
    try:
        if sys.argv[1] == "start":
            info = start()
            print(json.dumps(info), flush=True)
            print(f"Look around: {shlex.join(Bed(info).ssh_command())}", file=sys.stderr)
        else:
            stop()
    except BedError as problem:
        print(f"bed: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
