# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What nbdkit calls: the disks of a recovery point as exports of its Python plugin.

nbdkit loads a short script (C(SCRIPT)) into the Python that it is linked to, which need not be the one that started it.
The script finds this file and hands out the methods of C(Plugin) as the functions that nbdkit looks for.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import sys
import threading
from collections.abc import Iterator
from typing import Any

from .._libraries import missing_libraries
from ..errors import OvmBackupError, ServingError
from ..vault.access import VaultAccess
from ..vault.chain import open_chain
from ..vault.points import Vault
from ..vault.processes import this_process
from ..vault.random_access import DiskReader, preferred_size

SETTINGS, SCRIPT_NAME, SOCKET, LOG = "settings.json", "plugin.py", "socket", "log"
PROBLEM, ABOUT = "problem.json", "served.json"
# The largest request that NBD allows in practice.
_LARGEST = 32 * 1024 * 1024

# A package of this name elsewhere, as a whole distribution of collections brings it, must not be taken for ours.
SCRIPT = """\
import sys
import types

import nbdkit

sys.dont_write_bytecode = True
package = types.ModuleType("ansible_collections")
package.__path__ = [{packages!r}]
sys.modules["ansible_collections"] = package
if list(sys.version_info[:2]) == {version!r}:
    # Before those of the distribution, which may be too old.
    at = next((n for n, path in enumerate(sys.path) if path.endswith("-packages")), len(sys.path))
    sys.path[at:at] = {libraries!r}
from {module} import Plugin

plugin = Plugin({directory!r}, nbdkit)
API_VERSION = 2
thread_model = plugin.thread_model
list_exports = plugin.list_exports
default_export = plugin.default_export
open = plugin.open
export_description = plugin.export_description
get_size = plugin.get_size
block_size = plugin.block_size
can_multi_conn = plugin.can_multi_conn
pread = plugin.pread
extents = plugin.extents
cleanup = plugin.cleanup
"""


class _Export:
    def __init__(self, description: str, reader: DiskReader) -> None:
        self.description = description
        self.reader = reader


class Plugin:
    """The functions of a plugin, for the disks that C(settings.json) in C(directory) names.

    C(nbdkit) is the module of this name that only exists inside of nbdkit. All files of the chains are opened at the
    start, so that what is missing is noticed there, and that a recovery point that expires meanwhile stays
    readable where the vault is in a directory.
    """

    def __init__(self, directory: str, nbdkit: Any) -> None:
        self._directory = directory
        self._nbdkit = nbdkit
        self._exports: dict[str, _Export] = {}
        with self._noted():
            with open(os.path.join(directory, SETTINGS), encoding="utf-8") as file:
                settings = json.load(file)
            missing = ", ".join(name for name, _trace in missing_libraries(*settings["libraries"]))
            if missing:
                version = ".".join(map(str, sys.version_info[:2]))
                raise ServingError(
                    f"nbdkit's Python {version} cannot import {missing}: install the Python packages "
                    f"{', '.join(settings['libraries'])} for it, or use a Python {version} as the interpreter of the "
                    "task that has them",
                    package=missing,
                )
            Vault.open(settings["vault"], VaultAccess.from_environment())
            for disk in settings["disks"]:
                chain = open_chain(list(map(tuple, disk["files"])))
                reader = DiskReader(chain, cache_size=settings["cache_size"] // len(settings["disks"]))
                self._exports[disk["export"]] = _Export(disk["description"], reader)
            if settings["about"] is not None:
                about = {**settings["about"], "host": platform.node(), **this_process()}
                _write_whole(os.path.join(directory, ABOUT), about)

    def thread_model(self) -> int:
        """Let requests run side by side: decompressing and hashing do not need Python's lock."""
        return int(self._nbdkit.THREAD_MODEL_PARALLEL)

    def list_exports(self, _readonly: bool, _is_tls: bool) -> list[tuple[str, str]]:
        """Return the names of the exports, with what they are."""
        return [(name, export.description) for name, export in self._exports.items()]

    def default_export(self, _readonly: bool, _is_tls: bool) -> str:
        """Return the name of the first disk: who names no export gets it."""
        return next(iter(self._exports))

    def open(self, _readonly: bool) -> _Export:
        """Return the export that a client has asked for."""
        name = str(self._nbdkit.export_name())
        # Some versions of nbdkit do not resolve the default before they call.
        found = self._exports.get(name or self.default_export(True, False))
        if found is None:
            raise KeyError(f"there is no export {name!r}")
        return found

    def export_description(self, export: _Export) -> str:
        """Return what people are told about a disk."""
        return export.description

    def get_size(self, export: _Export) -> int:
        """Return the size of a disk in bytes."""
        return export.reader.size

    def block_size(self, export: _Export) -> tuple[int, int, int]:
        """Return the smallest, the preferred and the largest size of requests."""
        return 1, preferred_size(export.reader), _LARGEST

    def can_multi_conn(self, _export: _Export) -> bool:
        """Allow several connections: nothing changes, so all see the same."""
        return True

    def pread(self, export: _Export, buffer: Any, offset: int, _flags: int) -> None:
        """Fill the buffer. What is not as it was backed up is an I/O error for the client, and noted for the user."""
        with self._noted(), memoryview(buffer) as view:
            export.reader.read_into(offset, view)

    def extents(self, export: _Export, count: int, offset: int, flags: int) -> Iterator[tuple[int, int, int]]:
        """Yield the parts of a range: those that are nothing but zeros take no space."""
        hole = self._nbdkit.EXTENT_HOLE | self._nbdkit.EXTENT_ZERO
        with self._noted():
            for found in export.reader.extents(offset, count):
                yield found.offset, found.length, hole if found.zero else 0
                if flags & self._nbdkit.FLAG_REQ_ONE:
                    return

    def cleanup(self) -> None:
        """Remove the directory when nbdkit ends: whoever started it may have been killed."""
        shutil.rmtree(self._directory, ignore_errors=True)

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        """Leave the first failure where the user finds it: the protocol carries nothing but a number."""
        try:
            yield
        except OvmBackupError as error:
            note_problem(self._directory, error)
            raise


def note_problem(directory: str, error: OvmBackupError) -> None:
    """Write down a failure, unless there is one already."""
    path = os.path.join(directory, PROBLEM)
    with contextlib.suppress(OSError):
        if not os.path.exists(path):
            _write_whole(path, {"message": error.message, "failure": error.as_failure()})


def _write_whole(path: str, document: Any) -> None:
    """Write a file that nobody sees half of."""
    temporary = f"{path}.{threading.get_ident()}"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(document, file)
    os.replace(temporary, path)
