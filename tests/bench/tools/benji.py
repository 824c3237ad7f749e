# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""benji: blocks of fixed size, zstd level 1, and told by hints what has changed, exactly: the best case that it has."""

from __future__ import annotations

import json
from pathlib import Path

from ..install import virtual_environment
from ..measure import Step, run
from ..spans import BLOCK, read_blocks
from .base import FULL, INCREMENTAL, RESTORE, UNCHANGED, VERIFY, Place, Tool

# Its last release wants versions that cannot be built any more; newer ones do, as far as it is used here.
_NEEDS = """
    PrettyTable sqlalchemy<2 setproctitle python-dateutil alembic<2 ruamel.yaml<0.18 psycopg2-binary argcomplete<2
    sparsebitfield cerberus<2 pycryptodome pyparsing<4 semantic-version dateparser structlog colorama diskcache
    attrs<22 zstandard
"""
_BLOCK_SIZE = 1 << 20
_CONFIGURATION = """\
configurationVersion: '1'
logFile: {scratch}/log
blockSize: {block_size}
databaseEngine: sqlite:///{repository}/benji.sqlite
defaultStorage: files
storages:
  - name: files
    storageId: 1
    module: file
    configuration: {{path: {repository}/data, activeTransforms: [zstd], simultaneousReads: 2, simultaneousWrites: 2}}
transforms:
  - {{name: zstd, module: zstd, configuration: {{level: 1}}}}
ios:
  - {{name: file, module: file, configuration: {{simultaneousReads: 2, simultaneousWrites: 2}}}}
"""


class Benji(Tool):
    """benji with an SQLite database next to its data."""

    name = "benji"

    def __init__(self) -> None:
        self._program = ""

    def install(self, directory: Path) -> str:
        environment = virtual_environment(directory / "benji", _NEEDS.split(), ["--no-deps", "benji"])
        self._program = str(environment / "bin/benji")
        [found] = environment.glob("lib/python*/site-packages/benji-*.dist-info")
        return (
            f"benji {found.name.removesuffix('.dist-info').split('-')[1]}, blocks of 1 MiB, zstd level 1, exact hints"
        )

    def begin(self, place: Place) -> None:
        (place.repository / "data").mkdir()
        text = _CONFIGURATION.format(scratch=place.scratch, repository=place.repository, block_size=_BLOCK_SIZE)
        (place.scratch / "benji.yaml").write_text(text, encoding="utf-8")
        run(self._step(place, "database-init"))

    def prepare(self, operation: str, place: Place) -> None:
        hints: list[dict[str, object]] = []
        if operation == INCREMENTAL:
            for offset, _data in read_blocks(place.workload.changes):
                hints.append({"offset": offset, "length": BLOCK, "exists": "true"})
        (place.scratch / "hints.json").write_text(json.dumps(hints), encoding="utf-8")

    def step(self, operation: str, place: Place) -> Step | None:
        if operation in (FULL, INCREMENTAL, UNCHANGED):
            base = {INCREMENTAL: FULL, UNCHANGED: INCREMENTAL}.get(operation)
            hints = ["--rbd-hints", str(place.scratch / "hints.json"), "--base-version", base] if base else []
            source = f"file:{self.image(operation, place)}"
            return self._step(place, "backup", "--uid", operation, *hints, source, "disk")
        if operation == RESTORE:
            return self._step(place, "restore", "--sparse", UNCHANGED, f"file:{place.target}/disk.img")
        if operation == VERIFY:
            return self._step(place, "deep-scrub", UNCHANGED)
        return None

    def _step(self, place: Place, *arguments: str) -> Step:
        options = ["--log-level", "WARNING", "--config-file", str(place.scratch / "benji.yaml")]
        return Step([self._program, *options, *arguments])
