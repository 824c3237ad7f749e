# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The version of the collection, as it is written into the vault. A test holds it equal to galaxy.yml."""

from __future__ import annotations

COLLECTION_VERSION = "0.1.0"
