# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What made something in the vault."""

from __future__ import annotations

import platform

from .._libraries import blake3, zstandard
from .._version import COLLECTION_VERSION


def versions() -> dict[str, str]:
    """Return the versions of the collection and of what its results depend on."""
    return {
        "collection": COLLECTION_VERSION,
        "python": platform.python_version(),
        "zstandard": zstandard.__version__,
        "blake3": blake3.__version__,
    }
