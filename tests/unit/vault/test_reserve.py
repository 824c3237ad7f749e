# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a vault keeps for the removal of recovery points."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.ovm.backup.plugins.module_utils.vault import reserve
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.directory import (
    DirectoryStorage,
    DirectoryWriter,
)

MIB = 1 << 20


def free(monkeypatch: pytest.MonkeyPatch, amount: int | None) -> None:
    monkeypatch.setattr(DirectoryStorage, "free_space", lambda *_arguments: amount)


def test_it_takes_blocks_and_gives_them_back(tmp_path: Path) -> None:
    reserve.keep_reserve(str(tmp_path))
    [kept] = tmp_path.iterdir()
    assert kept.name == reserve.RESERVE_NAME
    assert kept.stat().st_blocks * 512 >= 4 * MIB
    assert reserve.give_up_reserve(str(tmp_path))
    assert list(tmp_path.iterdir()) == []
    assert not reserve.give_up_reserve(str(tmp_path))


def test_it_is_set_aside_once(tmp_path: Path) -> None:
    reserve.keep_reserve(str(tmp_path))
    before = (tmp_path / reserve.RESERVE_NAME).stat().st_mtime_ns
    reserve.keep_reserve(str(tmp_path))
    assert (tmp_path / reserve.RESERVE_NAME).stat().st_mtime_ns == before


def test_a_part_of_it_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / reserve.RESERVE_NAME).write_bytes(b"killed")
    reserve.keep_reserve(str(tmp_path))
    assert (tmp_path / reserve.RESERVE_NAME).stat().st_size == 4 * MIB


@pytest.mark.parametrize(("amount", "kept"), [(68 * MIB, True), (68 * MIB - 1, False), (0, False), (None, False)])
def test_it_takes_no_room_from_backups_and_needs_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, amount: int | None, kept: bool
) -> None:
    free(monkeypatch, amount)
    reserve.keep_reserve(str(tmp_path))
    assert (tmp_path / reserve.RESERVE_NAME).exists() == kept


def test_a_vault_that_fills_up_meanwhile_keeps_no_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_self: DirectoryWriter, _data: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(DirectoryWriter, "write", full)
    reserve.keep_reserve(str(tmp_path))
    assert list(tmp_path.iterdir()) == []
