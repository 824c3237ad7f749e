# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Import every module and the whole engine with this interpreter, as a proxy does. It may be as old as Python 3.9.

Usage: python import_all.py, in the collection
"""

from __future__ import annotations

import importlib
import sys
import warnings
from pathlib import Path

PACKAGE = "ansible_collections.ovm.backup"


def main() -> int:
    """Run as a program."""
    # What a newer interpreter is about to drop is an error, unless it is ansible-core's own.
    warnings.simplefilter("error")
    warnings.filterwarnings("default", module=r"ansible\.")
    files = sorted(path for part in ("modules", "module_utils") for path in Path("plugins", part).rglob("*.py"))
    failed = 0
    for path in files:
        name = ".".join([PACKAGE, *path.with_suffix("").parts]).removesuffix(".__init__")
        try:
            # The source itself: a compiled file may be older than the warnings of this run.
            compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
            importlib.import_module(name)
        except Exception as problem:
            print(f"{name}: {type(problem).__name__}: {problem}", file=sys.stderr)
            failed += 1
    print(f"{len(files) - failed} of {len(files)} files import on Python {sys.version.split()[0]}")
    return 1 if failed or not files else 0


if __name__ == "__main__":
    sys.exit(main())
