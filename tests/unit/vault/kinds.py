# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kinds of vault that there are: in a directory or in a bucket of a real S3 server, and each of them encrypted."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.ovm.backup.plugins.module_utils.vault.access import VaultAccess
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Vault
from s3.fixtures import new_root, without_pauses
from s3.server import ACCESS_KEY, SECRET_KEY, Server

PLAIN, ENCRYPTED, BUCKET, ENCRYPTED_BUCKET = KINDS = ("plain", "encrypted", "bucket", "encrypted bucket")
KEY = base64.b64encode(bytes(range(100, 132))).decode()


def access_options(kind: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return the option C(vault_access) for a vault of this kind. One in a bucket needs the fixture C(s3_server)."""
    options: dict[str, Any] = {"encryption_key": KEY} if "encrypted" in kind else {}
    if "bucket" in kind:
        server: Server = request.getfixturevalue("s3_server")
        options.update(endpoint_url=server.endpoint, addressing_style="path")
        options.update(access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY)
    return options


def make_vault(kind: str, directory: Path, request: pytest.FixtureRequest) -> Vault:
    """Make an empty vault of a kind, in C(directory) if it is in any."""
    path = new_root() if "bucket" in kind else str(directory / "vault")
    access = VaultAccess.from_options(access_options(kind, request))
    with pytest.MonkeyPatch.context() as patch:
        if "bucket" in kind:
            without_pauses(patch)
        return Vault.create(path, access, encrypted="encrypted" in kind, clock=lambda: 1.0)
