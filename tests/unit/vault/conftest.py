# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures for the tests of the vault."""

from __future__ import annotations

from pathlib import Path

import pytest
from unit.vault.builders import make_client

from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Client, Vault


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault.create(str(tmp_path / "vault"), clock=lambda: 1.0)


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return make_client(tmp_path / "vault")


@pytest.fixture
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """That files are durable is tested elsewhere; here it would only take time."""
    monkeypatch.setattr("os.fsync", lambda _descriptor: None)
