# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The manager's own certificate authority and certificate (ovm-rest-api 1.1)."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme


def server_context(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A TLS context for 127.0.0.1 and localhost, and the CA's PEM file, which is written to ``folder``."""
    authority = trustme.CA(organization_name="Simulated Oracle VM Manager", key_type=trustme.KeyType.ECDSA)
    certificate = authority.issue_cert("127.0.0.1", "localhost", key_type=trustme.KeyType.ECDSA)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    path = folder / "ovmca.pem"
    authority.cert_pem.write_to_path(path)
    return context, path
