# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What of an encrypted vault is read before there is a key, and without what encryption needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KEYS_NAME = "keys.json"
# What is read to find out that the vault is encrypted, and how; and the scripts that help where nothing is installed.
PLAIN_FILES = ("vault.json", KEYS_NAME, "restore.py", "decrypt.py")
PLAIN_FOLDER = "turns"
# What vault.json says of an encrypted vault, under this key.
SETTING = "encryption"


def is_encrypted(settings: Mapping[str, Any]) -> bool:
    """Return whether a vault with these settings, its C(vault.json), is encrypted."""
    return settings.get(SETTING) is not None
