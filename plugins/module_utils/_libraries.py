# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The third-party libraries of the engine, imported so that a bare Python can still load every file.

The engine writes ``from .._libraries import requests`` and uses the library as if it had imported it. Where the library
is absent, the name is a stand-in that raises ImportError on first use. A module asks missing_libraries() before it
starts and tells the user what to install.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

_tracebacks: dict[str, str] = {}


class _Absent:
    """Takes the place of a library that could not be imported."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith(
            "__"
        ):  # introspection (copy, pickle, inspect) asks for these; it wants an AttributeError
            raise AttributeError(attribute)
        raise ImportError(f"the Python library {self._name} is needed here and is not installed", name=self._name)

    def __call__(self, *_args: Any, **_kwargs: Any) -> Any:
        raise ImportError(f"the Python library {self._name} is needed here and is not installed", name=self._name)


if TYPE_CHECKING:
    import blake3
    import requests
    import zstandard
else:
    try:
        import requests
    except ImportError:
        _tracebacks["requests"] = traceback.format_exc()
        requests = _Absent("requests")

    try:
        import zstandard
    except ImportError:
        _tracebacks["zstandard"] = traceback.format_exc()
        zstandard = _Absent("zstandard")

    try:
        import blake3
    except ImportError:
        _tracebacks["blake3"] = traceback.format_exc()
        blake3 = _Absent("blake3")


def missing_libraries(*names: str) -> list[tuple[str, str]]:
    """Return (name, traceback text) of each named library that cannot be imported, in the order asked.

    Without names all libraries of the engine are checked. A name that this file does not offer is a ValueError.
    """
    offered = ("requests", "zstandard", "blake3")
    for name in names:
        if name not in offered:
            raise ValueError(f"{name!r} is not one of the libraries of the engine: {', '.join(offered)}")
    return [(name, _tracebacks[name]) for name in names or offered if name in _tracebacks]


__all__ = ["blake3", "missing_libraries", "requests", "zstandard"]
