# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run make targets one after the other, all of them even if some fail, and close with a table of their times.

Usage: python run_steps.py TARGET...
"""

from __future__ import annotations

import os
import subprocess
import sys
import time


def main() -> int:
    """Run as a program."""
    steps = sys.argv[1:]
    make = os.environ.pop("MAKE", "") or "make"
    # What an outer make tells inner ones is about its own options; the steps are runs of their own.
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
        os.environ.pop(name, None)
    table: list[tuple[str, float, bool]] = []
    for step in steps:
        print(f"\n=== {step} " + "=" * (74 - len(step)), flush=True)
        begin = time.monotonic()
        done = subprocess.run([make, "--no-print-directory", step], stdin=subprocess.DEVNULL, check=False)
        table.append((step, time.monotonic() - begin, done.returncode == 0))
    failed = [step for step, _seconds, passed in table if not passed]
    print("\n=== summary " + "=" * 67)
    for step, seconds, passed in table:
        print(f"{step:<12} {'ok' if passed else 'FAILED':<6} {seconds:7.1f} s")
    total = sum(seconds for _step, seconds, _passed in table)
    print(f"{'all':<12} {'FAILED' if failed else 'ok':<6} {total:7.1f} s")
    if failed:
        print(f"Failed: {', '.join(failed)}. Run one alone with: make {failed[0]}")
    sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
