# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a process needs to get at a vault, and what it passes on. The library is stood in for by its version."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ansible_collections.ovm.backup.plugins.module_utils.errors import VaultError
from ansible_collections.ovm.backup.plugins.module_utils.vault import attaching


@pytest.mark.parametrize(
    ("version", "refused"), [(None, True), ("1.26.27", True), ("1.35.99", True), ("1.36.0", False), ("2.0", False)]
)
def test_version_of_the_library_for_buckets(
    monkeypatch: pytest.MonkeyPatch, version: str | None, refused: bool
) -> None:
    monkeypatch.setattr(attaching, "missing_libraries", lambda name: [(name, "a trace")] if version is None else [])
    monkeypatch.setattr(attaching, "boto3", SimpleNamespace(__version__=version))
    if not refused:
        attaching._check_boto3("s3://bucket/vault")
        return
    with pytest.raises(VaultError) as error:
        attaching._check_boto3("s3://bucket/vault")
    needs = "The vault s3://bucket/vault needs the Python library boto3, 1.36 or newer, and here is "
    assert error.value.message == needs + (version or "none")
