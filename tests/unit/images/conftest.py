# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures for images on servers."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from unit.images.stand_in import StandIn


@pytest.fixture
def stand_in(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """Clients that stand in for ssh. After the test none of them runs, and no socket of theirs is left."""
    folder = tmp_path_factory.mktemp("stand-in")
    made = StandIn(folder)
    with tempfile.TemporaryDirectory(prefix="ovm-test-", dir="/tmp") as sockets:
        # A path that is short enough for a socket, and nobody else's.
        monkeypatch.setattr(tempfile, "tempdir", sockets)
        yield made
        assert os.listdir(sockets) == []
    assert [pid for pid in made.pids() if Path(f"/proc/{pid}").exists() and _is(pid, folder)] == []


def _is(pid: int, folder: Path) -> bool:
    try:
        return str(folder) in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False
