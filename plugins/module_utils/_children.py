# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The environment of the programs that the engine starts."""

from __future__ import annotations

import os


def child_environment() -> dict[str, str]:
    """Return the variables of this process without ours, which hold keys and passwords.

    A program needs none, and may pass them on: ssh sends to a server what C(SendEnv) of its configuration names.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("OVM_")}
