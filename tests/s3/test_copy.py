# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copies of recovery points from a directory to a bucket, encrypted there, and back."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from unit.vault.builders import restored
from unit.vault.pair import Pair

from ansible_collections.ovm.backup.plugins.module_utils.errors import VaultError
from ansible_collections.ovm.backup.plugins.module_utils.vault import copying
from ansible_collections.ovm.backup.plugins.module_utils.vault.access import VaultAccess
from ansible_collections.ovm.backup.plugins.module_utils.vault.copy_plan import NEWEST, Wishes
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Vault
from s3.fixtures import new_root
from s3.server import ACCESS_KEY, SECRET_KEY, Server


def test_to_a_bucket_and_back(s3_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    access = VaultAccess(
        endpoint_url=s3_server.endpoint,
        access_key_id=ACCESS_KEY,
        secret_access_key=SECRET_KEY,
        addressing_style="path",
        encryption_key=base64.b64encode(bytes(range(32))).decode(),
    )
    pair = Pair(tmp_path, Vault.create(new_root(), access, encrypted=True))

    def fail(*_args: object) -> None:
        raise VaultError("the connection is lost")

    with monkeypatch.context() as patch:
        patch.setattr(copying, "publish_copy", fail)
        assert pair.copy().errors == ["the connection is lost"]
    assert pair.there == []
    pair.target = Vault.open(pair.target.path, access)  # as another host finds it
    done = pair.copy()
    assert [one.reused for one in done.points] == [pair.points[0].stored, 0, 0]
    assert (done.errors, pair.copy().points) == ([], [])
    pair.assert_whole()

    pair.source, pair.client = pair.target, pair.twin
    pair.target = Vault.create(str(tmp_path / "back"))
    assert pair.statuses(pair.copy(Wishes(points=NEWEST))) == ["copied"]
    assert restored(pair.twin, pair.points[2]) == pair.images[2][0]
