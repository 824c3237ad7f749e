# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tools of the build: which interpreter the environment is made of, and what of the stage is the collection."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

from tools.environment import fits, works
from tools.stage import git, synchronise

ROOT = Path(__file__).resolve().parents[2]


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


# --- the stage -------------------------------------------------------------------------------------------------------


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A work tree with the collection's own .gitignore and one file."""
    made = tmp_path / "source"
    (made / "tests" / "integration").mkdir(parents=True)
    shutil.copy(ROOT / ".gitignore", made)
    (made / "tests" / "integration" / "integration.cfg").write_text("[defaults]\n", encoding="utf-8")
    git(made, "init", "--quiet", clean=True)
    return made


def belonging(stage: Path) -> list[str]:
    """Return what ansible-test takes for the collection in a stage."""
    listed = git(stage, "ls-files", "-z", "--cached", "--others", "--exclude-standard", clean=True)
    return sorted(filter(None, listed.split("\0")))


@pytest.mark.parametrize("name", ["integration_config.yml", "inventory"])
def test_what_a_running_integration_target_needs_is_no_part_of_the_collection_and_stays(
    source: Path, tmp_path: Path, name: str
) -> None:
    stage = tmp_path / "stage"
    stage.mkdir()
    synchronise(source, stage)
    in_use = stage / "tests" / "integration" / name
    in_use.write_text("in use\n", encoding="utf-8")
    assert [synchronise(source, stage) for _step in range(2)] == [0, 0]
    assert belonging(stage) == [".gitignore", "tests/integration/integration.cfg"]
    assert in_use.read_text(encoding="utf-8") == "in use\n"


def test_what_vanishes_from_the_work_tree_vanishes_from_the_stage(source: Path, tmp_path: Path) -> None:
    stage = tmp_path / "stage"
    stage.mkdir()
    assert synchronise(source, stage) == 2
    (source / "tests" / "integration" / "integration.cfg").unlink()
    assert synchronise(source, stage) == 1
    assert belonging(stage) == [".gitignore"]
    assert not (stage / "tests").exists()
