# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Python without the third-party libraries can load every file, and says what is missing when it is used."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import blake3
import pytest
import requests

from ansible_collections.ovm.backup.plugins.module_utils import _libraries


def load(monkeypatch: pytest.MonkeyPatch, *absent: str) -> ModuleType:
    """Load the file afresh as a Python would where some libraries are not installed."""
    for name in absent:
        monkeypatch.setitem(sys.modules, name, None)
    assert _libraries.__file__ is not None
    spec = importlib.util.spec_from_file_location("libraries_of_a_bare_python", _libraries.__file__)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_all_are_here() -> None:
    assert _libraries.missing_libraries() == []
    assert _libraries.missing_libraries("requests", "zstandard", "blake3") == []


def test_missing_ones_are_named_with_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = load(monkeypatch, "requests", "blake3")
    assert [name for name, _text in bare.missing_libraries()] == ["requests", "blake3"]
    ((name, text),) = bare.missing_libraries("zstandard", "blake3")
    assert name == "blake3" and "import of blake3 halted" in text


def test_stand_in_says_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = load(monkeypatch, "requests", "blake3")
    with pytest.raises(ImportError, match="the Python library requests is needed"):
        bare.requests.Session()
    with pytest.raises(ImportError, match="the Python library blake3 is needed"):
        bare.blake3.blake3()
    assert not hasattr(bare.requests, "__wrapped__")


def test_libraries_are_imported_when_they_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = load(monkeypatch)
    assert "Session" not in vars(fresh.requests)
    assert fresh.requests.Session is requests.Session
    assert vars(fresh.requests)["Session"] is requests.Session  # no detour from now on
    assert fresh.blake3.__version__ == blake3.__version__
    with pytest.raises(AttributeError, match="nothing"):
        _ = fresh.requests.nothing


def test_unknown_names_are_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="'yaml' is not one of the libraries"):
        _libraries.missing_libraries("yaml")
