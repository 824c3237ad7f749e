# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures for the tests of reports."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Vault


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault.create(str(tmp_path / "vault"), clock=lambda: 1.0)
