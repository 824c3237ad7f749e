# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which interpreter the environment of the project is made of."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from tools.environment import fits, works


def test_an_interpreter_that_is_new_enough_and_has_all_parts_fits() -> None:
    assert fits()


def test_an_older_interpreter_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 14))
    assert not fits()


def test_an_interpreter_without_python3_venv_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", {"venv": "spec"}.get)
    assert not fits()


def test_an_environment_of_the_same_interpreter_works(tmp_path: Path) -> None:
    interpreter = tmp_path / "python"
    interpreter.symlink_to(Path(sys.executable).resolve())
    assert works(sys.executable, str(interpreter))


def test_an_environment_of_another_interpreter_is_made_anew(tmp_path: Path) -> None:
    interpreter = tmp_path / "python"
    interpreter.write_bytes(Path(sys.executable).resolve().read_bytes())
    assert not works(sys.executable, str(interpreter))


def test_an_environment_whose_interpreter_is_gone_is_made_anew(tmp_path: Path) -> None:
    gone = tmp_path / "python"
    gone.symlink_to(tmp_path / "removed")
    assert not works(str(gone), str(gone))
