# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The functions of nbdkit's plugin, called as nbdkit calls them. Its own module is stood in for by its constants."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from unit.guest.conftest import DATA
from unit.transfer.builders import Estate
from unit.vault.builders import KIB, MIB

from ansible_collections.ovm.backup.plugins.module_utils.errors import CorruptVaultError, ServingError
from ansible_collections.ovm.backup.plugins.module_utils.guest import plugin as plugin_file
from ansible_collections.ovm.backup.plugins.module_utils.guest import serving
from ansible_collections.ovm.backup.plugins.module_utils.guest.plugin import Plugin
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point

asked = [""]
NBDKIT = SimpleNamespace(
    THREAD_MODEL_PARALLEL=3, EXTENT_HOLE=1, EXTENT_ZERO=2, FLAG_REQ_ONE=8, export_name=lambda: asked[0]
)


@pytest.fixture
def directory(estate: Estate, point: Point, tmp_path: Path) -> Path:
    made = tmp_path / "private"
    made.mkdir()
    serving.prepare(estate.client, point, str(made), slots=None, cache_size=64 * MIB)
    return made


@pytest.fixture
def plugin(directory: Path) -> Plugin:
    return Plugin(str(directory), NBDKIT)


def test_exports(plugin: Plugin, point: Point) -> None:
    assert plugin.thread_model() == 3
    assert plugin.list_exports(True, False) == [
        ("0", f"web 01, recovery point {point.id}, slot 0: system"),
        ("2", f"web 01, recovery point {point.id}, slot 2: data"),
    ]
    assert plugin.default_export(True, False) == "0"
    for name, size in (("", 2 * MIB), ("0", 2 * MIB), ("2", len(DATA))):
        asked[0] = name
        assert plugin.get_size(plugin.open(True)) == size
    asked[0] = "../1"
    with pytest.raises(KeyError, match=r"there is no export '../1'"):
        plugin.open(True)


def test_reading(plugin: Plugin) -> None:
    asked[0] = "2"
    export = plugin.open(True)
    assert plugin.can_multi_conn(export)
    assert plugin.block_size(export) == (1, 64 * KIB, 32 * MIB)
    buffer = bytearray(100 * KIB)
    plugin.pread(export, buffer, MIB, 0)
    assert buffer == DATA[MIB : MIB + 100 * KIB]
    whole = [(0, 64 * KIB, 0), (64 * KIB, MIB, 3), (MIB + 64 * KIB, 64 * KIB, 0), (MIB + 128 * KIB, MIB, 3)]
    assert list(plugin.extents(export, 2 * MIB + 128 * KIB, 0, 0)) == whole
    assert list(plugin.extents(export, 2 * MIB, 0, 8)) == whole[:1]


def test_the_first_failure_is_noted(plugin: Plugin, directory: Path, estate: Estate, point: Point) -> None:
    path = Path(estate.client.directory, str(point.disks[1].base), "2-data.img.zst")
    with path.open("r+b") as file:
        file.truncate(100)
    asked[0] = "2"
    export = plugin.open(True)
    for offset in (0, MIB):
        with pytest.raises(CorruptVaultError):
            plugin.pread(export, bytearray(512), offset + 64 * KIB if offset else 0, 0)
    noted = json.loads((directory / "problem.json").read_text(encoding="utf-8"))
    assert noted["failure"] == {"kind": "CorruptVaultError", "path": str(path), "offset": 100}
    with pytest.raises(CorruptVaultError, match="the file ends too early") as raised:
        serving.raise_problem(str(directory))
    assert raised.value.as_failure() == noted["failure"]


def test_another_python_without_our_libraries(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin_file, "missing_libraries", lambda *names: [(names[0], "a trace")])
    with pytest.raises(ServingError, match=r"nbdkit's Python 3\.\d+ cannot import blake3: install the Python packages"):
        Plugin(str(directory), NBDKIT)
    with pytest.raises(ServingError) as raised:
        serving.raise_problem(str(directory))
    assert raised.value.as_failure() == {"kind": "ServingError", "package": "blake3"}


def test_the_directory_goes_with_nbdkit(plugin: Plugin, directory: Path) -> None:
    assert sorted(os.listdir(directory)) == ["plugin.py", "settings.json"]
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}
    plugin.cleanup()
    assert not directory.exists()
