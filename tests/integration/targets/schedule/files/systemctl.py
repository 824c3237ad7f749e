# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stand in for systemctl where no systemd runs: keep which units are enabled and started, and what was asked."""

from __future__ import annotations

import os
import pathlib
import sys

UNITS = pathlib.Path(os.environ["FAKE_UNITS"])
STATE = pathlib.Path(os.environ["FAKE_STATE"])


def main() -> int:
    """Run as a program."""
    verb, *rest = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    with (STATE / "calls").open("a", encoding="utf-8") as calls:
        print(verb, *rest, file=calls)
    if "FAKE_OFF" in os.environ:
        print("System has not been booted with systemd as init system (PID 1). Can't operate.", file=sys.stderr)
        return 1
    if verb == "show" and not rest:
        print("252")
    if not rest:
        return 0
    unit = rest[0]
    known = (UNITS / unit).is_file()
    enabled, active = STATE / f"{unit}.enabled", STATE / f"{unit}.active"
    if verb == "show":
        print(f"Id={unit}")
        print(f"LoadState={'loaded' if known else 'not-found'}")
        print(f"ActiveState={'active' if active.exists() else 'inactive'}")
        print(f"UnitFileState={'enabled' if enabled.exists() else 'disabled'}")
        return 0
    if not known:
        print(f"Unit {unit} does not exist", file=sys.stderr)
        return 1
    if verb in ("is-enabled", "is-active"):
        return 0 if (enabled if verb == "is-enabled" else active).exists() else 1
    changed = {"enable": enabled, "disable": enabled, "start": active, "stop": active}[verb]
    if verb in ("enable", "start"):
        changed.touch()
    else:
        changed.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
