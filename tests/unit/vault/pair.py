# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two vaults: one that holds recovery points, and one that they are copied to."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from unit.transfer.builders import MOMENT, NEXT_RUN, RUN, VM_CFG, Estate, disk, incremental, ticking, vm_plan
from unit.vault.builders import MIB, noise, restored

from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm
from ansible_collections.ovm.backup.plugins.module_utils.vault.copy_plan import Wishes
from ansible_collections.ovm.backup.plugins.module_utils.vault.copy_result import ClientCopy
from ansible_collections.ovm.backup.plugins.module_utils.vault.copying import Copier, CopyRequest
from ansible_collections.ovm.backup.plugins.module_utils.vault.files import is_folder, names
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Client, Vault

LAST_RUN = "20261124T020203Z-0a1b2c3d-4e5f63"
COPY = "20261125T010203Z-0a1b2c3d-4e5f62"
NAME = "web_01"


class Pair:
    """A vault with three points of a VM with two disks (a full, an incremental on it, a full), and one for the copy."""

    def __init__(self, directory: Path, target: Vault | None = None) -> None:
        self.estate = estate = Estate(directory)
        estate.write(1, noise(MIB + 4096, seed=1))
        plan = vm_plan(disk(0), disk(1, "data"))
        self.images: list[tuple[bytes, bytes]] = []
        for number, wanted in enumerate((plan, incremental(plan), plan)):
            estate.change(0, number * 4096, noise(4096, seed=number + 5))
            run = (RUN, NEXT_RUN, LAST_RUN)[number]
            backup_vm(estate.vault, estate.request(wanted, run_id=run), clock=ticking(MOMENT + 60 * number))
            self.images.append((estate.image(0).read_bytes(), estate.image(1).read_bytes()))
        self.source = estate.vault
        self.target = target or Vault.create(str(directory / "copy"), clock=lambda: 2.0)
        self.client = self.source.client(NAME)
        self.points = self.client.scan()[0]
        self.seen: list[tuple[str, int, int]] = []

    @property
    def twin(self) -> Client:
        return self.target.client_folder(NAME)

    def copy(self, wishes: Wishes | None = None, *, check: bool = False, **changes: Any) -> ClientCopy:
        request = replace(CopyRequest(wishes or Wishes(), "a test", COPY, workers=1), **changes)
        clock = ticking(MOMENT + 3600)

        def note(*step: Any) -> None:
            self.seen.append(step)

        return Copier(self.source, self.target, request, check=check, copying=note, clock=clock).run(NAME)

    def statuses(self, result: ClientCopy) -> list[str]:
        return [one.status for one in result.points]

    @property
    def there(self) -> list[str]:
        """The points of the copy, which are all in order and exactly those of the source."""
        if not is_folder(self.twin.directory):
            return []
        points, damaged = self.twin.scan()
        assert damaged == []
        for point in points:
            assert point == self.client.point(point.id)
            assert self.twin.problem_of(point) is None
        return [point.id for point in points]

    def assert_whole(self) -> None:
        """Prove that the copy is complete, restores to the images, and holds nothing else."""
        assert self.there == [point.id for point in self.points]
        for point, images in zip(self.points, self.images, strict=True):
            assert tuple(restored(self.twin, point, number) for number in (0, 1)) == images
            assert self.twin.read_file(point, "vm_cfg") == VM_CFG
            assert names(os.path.join(self.twin.directory, point.id)) == names(
                os.path.join(self.client.directory, point.id)
            )
        assert names(self.twin.directory) == names(self.client.directory)
        assert self.twin.document == self.client.document
