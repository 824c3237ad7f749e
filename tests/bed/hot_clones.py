# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One VM whose disks lie on the bed, backed up over ssh from reflinks: as the playbooks do it, without a manager."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unit.transfer.builders import Estate, clone_of, disk, vm_plan

from ansible_collections.ovm.backup.plugins.module_utils.images.ssh import SshSettings
from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm
from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_restore import plan_images, restore_images
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point
from bed.bed import Bed


def digest(path: Path) -> str:
    """SHA-256 of a file on this side, as that of the bed."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass
class HotClones:
    """C(images) are the disks by slot, paths in the guest; C(ssh) are changes of the settings."""

    bed: Bed
    estate: Estate
    images: Mapping[int, str]
    size: int
    user: str = "root"
    legacy: bool = False
    ssh: dict[str, Any] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)
    clones: dict[str, list[str]] = field(default_factory=dict)
    runs: int = 0

    def clone(self) -> str:
        """Reflink all disks; return the id of the clone."""
        self.runs += 1
        name = f"clone{self.runs}"
        self.clones[name] = []
        for image in self.images.values():
            self.bed.reflink(image, f"{image}.{name}")
            self.clones[name].append(f"{image}.{name}")
        return name

    def adopt(self, name: str) -> None:
        """Take over reflinks of all disks that the caller has made, under the names that clone() gives them."""
        self.runs += 1
        self.clones[name] = [f"{image}.{name}" for image in self.images.values()]

    def remove(self, clone: str) -> None:
        """Delete a clone, as the manager does."""
        for path in self.clones.pop(clone):
            self.bed.remove(path)

    def back_up(self, clone: str | None = None, *, use: bool = True, **changes: Any) -> Point:
        """Back a clone up, a new one by default, and remove what the result says; C(use): plan with the reference."""
        clone = clone or self.clone()
        newest = self.points[-1] if self.points else None
        reference = (newest.disks[0].image or {}).get("clone_id") if newest else None
        settings = {**self.bed.ssh_settings(self.user, legacy=self.legacy), **self.ssh}
        server = {"id": "0004fb0000010000bed0", "name": "ovs1", "address": f"127.0.0.1:{settings['port']}"}
        kind = "incremental" if newest else "full"
        disks = [
            disk(
                slot,
                repository_id=self.bed.repository_id(),
                path=self._relative(path),
                size=self.size,
                type=kind,
                type_reason="a test",
                source="ssh",
                server=server,
                changes="extent_maps" if newest and use else "hash",
                changes_reason="a test",
            )
            for slot, path in self.images.items()
        ]
        known = {"clone_id": reference, "run_id": "", "point_id": newest.id} if newest and reference and use else None
        plan = vm_plan(*disks, method="hot_clone", type=kind, type_reason="a test", reference=known)
        run_id = f"20261123T01{self.runs // 60:02}{self.runs % 60:02}Z-0a1b2c3d-4e5f60"
        copy = clone_of(*disks, id=clone, run_id=run_id)
        for copied in copy["disks"]:
            copied.update(
                repository_id=self.bed.repository_id(), path=self._relative(f"{self.images[copied['slot']]}.{clone}")
            )
        request = self.estate.request(plan, clone=copy, run_id=run_id, ssh=SshSettings.parse(settings), **changes)
        try:
            point = backup_vm(self.estate.vault, request).point
        except BaseException:
            self.remove(clone)
            raise
        self.points.append(point)
        assert point.clone is not None
        kept = [clone] if point.clone["keep"] else []
        kept += [reference] if reference and not point.clone["obsolete"] else []
        for name in [name for name in self.clones if name not in kept]:
            self.remove(name)
        return point

    def restored(self, point: Point, target: Path) -> list[Path]:
        """Restore the disks of a recovery point; return their images."""
        plans = plan_images(self.estate.client, point, str(target))
        restore_images(self.estate.client, point, plans)
        return [Path(plan.path) for plan in plans]

    def _relative(self, path: str) -> str:
        return path.removeprefix(self.bed.repository())
