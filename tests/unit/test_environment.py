# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options that fall back to the environment."""

from __future__ import annotations

import pytest
from ansible.module_utils.errors import AnsibleFallbackNotFound

from ansible_collections.ovm.backup.plugins.module_utils._environment import env_fallback
from ansible_collections.ovm.backup.plugins.module_utils.vault.access import VaultAccess


def test_first_variable_that_says_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVM_ONE", "")
    monkeypatch.setenv("OVM_TWO", "two")
    assert env_fallback("OVM_NONE", "OVM_ONE", "OVM_TWO") == "two"


def test_empty_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVM_ONE", "")
    with pytest.raises(AnsibleFallbackNotFound):
        env_fallback("OVM_ONE")


def test_access_to_a_vault_without_a_module() -> None:
    given = {"OVM_VAULT_REGION": "", "OVM_VAULT_VALIDATE_CERTS": "", "OVM_VAULT_ACCESS_KEY_ID": "key"}
    assert VaultAccess.from_environment(given) == VaultAccess(access_key_id="key")
