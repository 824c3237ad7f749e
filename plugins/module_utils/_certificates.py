# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""CAs that a user names, for whatever we reach by TLS."""

from __future__ import annotations

import os
import ssl

from .errors import InvalidInputError


def check_ca(ca_path: str) -> None:
    """Refuse a CA file or directory that cannot be used, before anything is sent."""
    if os.path.isdir(ca_path):
        return
    try:
        ssl.create_default_context(cafile=ca_path)
    except OSError as error:  # ssl.SSLError is one of them: no certificate inside
        reason = "it holds no certificate in PEM form" if isinstance(error, ssl.SSLError) else error.strerror
        raise InvalidInputError(f"The CA file {ca_path!r} cannot be used: {reason}.", option="ca_path") from error
