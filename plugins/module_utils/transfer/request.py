# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What is asked for when a VM is backed up, and whether that can work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidInputError
from ..images.spans import image_path
from ..images.ssh import SshSettings

CONSISTENCY = {"hot_clone": "crash_consistent", "shutdown": "clean_shutdown", "cold": "powered_off"}


@dataclass(frozen=True)
class BackupRequest:
    """What to transfer. C(plan) is one VM of the plan, C(clone) the hot clone's disks by slot.

    C(document) and C(vm_cfg) are the VM's configuration, the latter by its C(repository_id), C(path), C(source) and
    C(server), or nothing. C(owner) says who holds the client's lock, C(killed) that the VM did not shut down and
    was switched off. C(sample) is the share of the unchanged data that is read again where extent maps are
    compared, C(reference_space) the share of a storage repository that has to be free for a reference clone to stay
    there, both in per cent.
    """

    plan: Mapping[str, Any]
    document: Mapping[str, Any]
    vm_cfg: Mapping[str, Any] | None
    run_id: str
    subclient: str | None
    owner: str
    repositories_path: str
    manager: Mapping[str, str]
    clone: Mapping[str, Any] | None = None
    killed: bool = False
    compression_level: int = 1
    break_lock: bool = False
    ssh: SshSettings | None = None
    sample: float = 0.1
    keep_reference: bool = True
    reference_space: int = 10

    @property
    def consistency(self) -> str:
        """Return what state the disks are in. A VM that was switched off is no better than one that crashed."""
        return "crash_consistent" if self.killed else CONSISTENCY[self.plan["method"]]

    def image_of(self, disk: Mapping[str, Any]) -> dict[str, str]:
        """Return C(repository_id) and C(path) of the image to read for a planned disk: its clone's if there is one."""
        source = self._read_from(disk)
        if not source["repository_id"] or not source["path"]:
            raise InvalidInputError(f"The manager does not say where disk {disk['name']!r} lies", disk=disk["disk_id"])
        image_path(self.repositories_path, source["repository_id"], source["path"])
        return {"repository_id": source["repository_id"], "path": source["path"]}

    def size_of(self, disk: Mapping[str, Any]) -> int:
        """Return the bytes that this image has as the manager knows it, 0 if it does not say."""
        return int(self._read_from(disk).get("size") or 0)

    def _read_from(self, disk: Mapping[str, Any]) -> Mapping[str, Any]:
        source = disk
        if self.clone is not None:
            clones = {item["slot"]: item for item in self.clone["disks"]}
            if disk["slot"] not in clones or clones[disk["slot"]]["source_disk_id"] != disk["disk_id"]:
                raise InvalidInputError(
                    f"The clone {self.clone['id']} has no copy of disk {disk['name']!r} (slot {disk['slot']}, "
                    f"{disk['disk_id']}) of VM {self.plan['vm_name']!r}",
                    clone=self.clone["id"],
                )
            source = clones[disk["slot"]]
        return source


def check_request(request: BackupRequest, *, clone_to_come: bool = False) -> None:
    """Raise C(InvalidInputError) for a request that cannot work, before anything is touched.

    C(clone_to_come): the clone need not be there yet.
    """
    plan = request.plan
    if plan["action"] != "backup" or plan["method"] not in CONSISTENCY:
        raise InvalidInputError(
            f"VM {plan['vm_name']!r} is not planned for a backup: action {plan['action']!r}, method {plan['method']!r}"
        )
    hot = plan["method"] == "hot_clone"
    if hot != (request.clone is not None) and not (hot and clone_to_come):
        raise InvalidInputError(
            f"VM {plan['vm_name']!r} is planned with method {plan['method']}: a clone is given only, and always, for a "
            "hot_clone"
        )
    if not plan["disks"]:
        raise InvalidInputError(f"VM {plan['vm_name']!r} is planned without any disk")
    for disk in plan["disks"]:
        request.image_of(disk)
    if request.vm_cfg is not None:
        image_path(request.repositories_path, request.vm_cfg["repository_id"], request.vm_cfg["path"])
