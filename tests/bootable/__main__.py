# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Build the image: python -m bootable CACHE TARGET [HOST]. Exit code 3 with the reason where it cannot be built."""

from __future__ import annotations

import sys
from pathlib import Path

from .guest import GuestUnavailable, build

try:
    build(Path(sys.argv[1]), Path(sys.argv[2]), **({"host": sys.argv[3]} if len(sys.argv) > 3 else {}))
except GuestUnavailable as problem:
    print(problem, file=sys.stderr)
    sys.exit(3)
