# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Marks: whether two hosts see one vault, and how far their clocks are apart."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from ansible_collections.ovm.backup.plugins.module_utils.errors import InvalidInputError
from ansible_collections.ovm.backup.plugins.module_utils.vault.marks import (
    checked_mark,
    make_mark,
    measure_clock,
    remove_mark,
    sees_mark,
)
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Vault

MARK = "12345678-abc"


def test_a_copy_of_a_vault_does_not_have_the_mark(vault: Vault, tmp_path: Path) -> None:
    shutil.copytree(vault.path, tmp_path / "copy")
    copy = Vault.open(str(tmp_path / "copy"))
    assert copy.id == vault.id
    make_mark(vault, MARK)
    assert [sees_mark(seen, MARK) for seen in (vault, Vault.open(vault.path), copy)] == [True, True, False]
    remove_mark(vault, MARK)
    remove_mark(vault, MARK)
    assert os.listdir(f"{vault.path}/proxies") == []


@pytest.mark.parametrize("ahead", [0.0, 3600.0, -42.5])
def test_the_clock_is_compared_with_that_of_the_vault(vault: Vault, ahead: float) -> None:
    found = measure_clock(vault, MARK, clock=lambda: time.time() + ahead)
    assert abs(found.ahead - ahead) <= found.error + 0.1
    assert os.listdir(f"{vault.path}/proxies") == []


def test_what_dead_runs_left_is_removed(vault: Vault) -> None:
    make_mark(vault, MARK)
    make_mark(vault, f"{MARK}-2")
    os.utime(f"{vault.path}/proxies/{MARK}.mark", (1.0, 1.0))
    measure_clock(vault, MARK)
    assert os.listdir(f"{vault.path}/proxies") == [f"{MARK}-2.mark"]


@pytest.mark.parametrize("name", ["", "short", "../../etc/passwd", "a" * 65, "12345678\n", "1234 5678"])
def test_a_mark_names_no_other_file(name: str) -> None:
    assert checked_mark(MARK) == MARK
    with pytest.raises(InvalidInputError, match="mark: must be 8 to 64 letters, digits and hyphens"):
        checked_mark(name)
