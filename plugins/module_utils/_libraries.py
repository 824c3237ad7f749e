# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The third-party libraries of the engine, imported when they are first used.

The engine writes ``from .._libraries import requests`` and uses the library as if it had imported it. So a bare Python
can load every file, and a module pays only for what it uses: importing requests costs more CPU than most modules need
for their work. A module asks missing_libraries() before it starts and tells the user what to install.
"""

from __future__ import annotations

import importlib
import traceback
from typing import TYPE_CHECKING, Any


class _Library:
    """Takes the place of a library, and becomes like it on first use."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        # Introspection (copy, pickle, inspect) asks for names like this; it wants an AttributeError.
        if attribute.startswith("__") and attribute != "__version__":
            raise AttributeError(attribute)
        try:
            library = importlib.import_module(self._name)
        except ImportError as error:
            text = f"the Python library {self._name} is needed here and is not installed"
            raise ImportError(text, name=self._name) from error
        self.__dict__.update({name: value for name, value in vars(library).items() if not name.startswith("__")})
        return getattr(library, attribute)


if TYPE_CHECKING:
    import blake3
    import requests
    import zstandard
    from cryptography import exceptions as crypto_exceptions
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import x25519
    from cryptography.hazmat.primitives.ciphers import aead
    from cryptography.hazmat.primitives.kdf import hkdf

    # These say nothing of types.
    boto3: Any
    botocore_config: Any
    botocore_exceptions: Any
else:
    blake3, requests, zstandard = _Library("blake3"), _Library("requests"), _Library("zstandard")
    boto3 = _Library("boto3")
    botocore_config, botocore_exceptions = _Library("botocore.config"), _Library("botocore.exceptions")
    crypto_exceptions = _Library("cryptography.exceptions")
    hashes = _Library("cryptography.hazmat.primitives.hashes")
    serialization = _Library("cryptography.hazmat.primitives.serialization")
    x25519 = _Library("cryptography.hazmat.primitives.asymmetric.x25519")
    aead = _Library("cryptography.hazmat.primitives.ciphers.aead")
    hkdf = _Library("cryptography.hazmat.primitives.kdf.hkdf")

# Libraries that every user of the vault or the manager needs, and those that only some vaults need.
_ALWAYS = ("requests", "zstandard", "blake3")
_SOMETIMES = ("boto3", "cryptography")


def missing_libraries(*names: str) -> list[tuple[str, str]]:
    """Return (name, traceback text) of each named library that cannot be imported, in the order asked.

    Without names those are checked that are always needed. A name that this file does not offer is a ValueError.
    """
    offered = (*_ALWAYS, *_SOMETIMES)
    for name in names:
        if name not in offered:
            raise ValueError(f"{name!r} is not one of the libraries of the engine: {', '.join(offered)}")
    missing = []
    for name in names or _ALWAYS:
        try:
            importlib.import_module(name)
        except ImportError:
            missing.append((name, traceback.format_exc()))
    return missing


__all__ = [
    "aead",
    "blake3",
    "boto3",
    "botocore_config",
    "botocore_exceptions",
    "crypto_exceptions",
    "hashes",
    "hkdf",
    "missing_libraries",
    "requests",
    "serialization",
    "x25519",
    "zstandard",
]
