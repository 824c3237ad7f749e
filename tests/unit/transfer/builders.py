# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""VMs to back up without a manager: their entry in a plan, their images in storage repositories, a vault."""

from __future__ import annotations

import builtins
import os
import re
from pathlib import Path
from typing import Any

import pytest
from unit.vault.builders import MIB, noise, write_image

from ansible_collections.ovm.backup.plugins.module_utils.transfer.request import BackupRequest
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Client, Vault
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage import directory

REPOSITORY = "0004fb0000030000a1b2"
VM_ID = "0004fb0000060000c3d4"
VM_CFG = b"OVM_simple_name = 'web 01'\nvcpus = 2\n"
RUN = "20261123T010203Z-0a1b2c3d-4e5f60"
NEXT_RUN = "20261124T010203Z-0a1b2c3d-4e5f61"
MOMENT = 1795395723.0  # that of RUN
FULL, CHANGES = "first backup of this VM", "changes since recovery point P"


def ticking(start: float = MOMENT, step: float = 0.25) -> Any:
    """Return a clock whose every look is a bit later."""
    now = start - step

    def clock() -> float:
        nonlocal now
        now += step
        return now

    return clock


def disk(slot: int = 0, name: str = "system", **changes: Any) -> dict[str, Any]:
    """Return a disk of a plan."""
    values = {
        "slot": slot,
        "disk_id": f"disk{slot}.img",
        "name": name,
        "size": MIB,  # at least: the tests have larger images, too
        "repository_id": REPOSITORY,
        "repository": "repo one",
        "path": f"/VirtualDisks/disk{slot}.img",
        "type": "full",
        "type_reason": FULL,
        "base": None,
        "source": "path",
        "server": None,
        "source_reason": "a test",
        "changes": "hash",
        "changes_reason": "a test",
    }
    return {**values, **changes}


def vm_plan(*disks: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a VM of a plan, as plan_info returns it: one that is off and backed up in full for the first time."""
    values: dict[str, Any] = {
        "vm_id": VM_ID,
        "vm_name": "web 01",
        "client": "web_01",
        "new_client": True,
        "selected_by": "content[0]",
        "action": "backup",
        "method": "cold",
        "reason": "the VM is off",
        "requested_type": "incremental",
        "type": "full",
        "type_reason": FULL,
        "disks": list(disks) or [disk()],
        "skipped_disks": [],
        "repositories": ["repo one"],
        "slots": [],
        "order": 1,
        "proxy": "localhost",
        "expected_outage": None,
        "outage_until": None,
        "pause": "not_needed",
        "reference": None,
        "reference_reason": "a test",
        "warnings": [],
        "configuration": {
            "document": {"vm": {"name": "web 01"}, "disk_mappings": []},
            "vm_cfg": {
                "repository_id": REPOSITORY,
                "path": f"/VirtualMachines/{VM_ID}/vm.cfg",
                "source": "path",
                "server": None,
            },
            "manager": {"id": "0004fb0000010000e5f6", "version": "3.4.6.2105"},
        },
    }
    return {**values, **changes}


def incremental(plan: dict[str, Any]) -> dict[str, Any]:
    """Return the plan of the next run, which builds on the newest recovery point."""
    disks = [{**item, "type": "incremental", "type_reason": CHANGES} for item in plan["disks"]]
    return {**plan, "type": "incremental", "type_reason": CHANGES, "disks": disks, "new_client": False}


def clone_of(*disks: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a hot clone of disks of a plan, as vm_clone returns it; its images are called clone0.img and so on."""
    copies = [
        {
            "slot": item["slot"],
            "source_disk_id": item["disk_id"],
            "id": f"clone{item['slot']}.img",
            "name": f"{item['name']} (2)",
            "repository_id": REPOSITORY,
            "path": f"/VirtualDisks/clone{item['slot']}.img",
            "size": item["size"],
        }
        for item in disks
    ]
    return {"id": "0004fb0000060000ffff", "name": "a clone", "vm_id": VM_ID, "run_id": RUN, "disks": copies, **changes}


class Estate:
    """Storage repositories with one VM's images and configuration, and an empty vault, by itself a plain one."""

    def __init__(self, directory: Path, vault: Vault | None = None) -> None:
        self.repositories = directory / "repositories"
        self.folder = self.repositories / REPOSITORY
        (self.folder / "VirtualDisks").mkdir(parents=True)
        self.vm_cfg = self.folder / "VirtualMachines" / VM_ID / "vm.cfg"
        self.vm_cfg.parent.mkdir(parents=True)
        self.vm_cfg.write_bytes(VM_CFG)
        self.write(0, noise(2 * MIB))
        self.vault = vault or Vault.create(str(directory / "vault"), clock=lambda: 1.0)

    def image(self, which: int | str) -> Path:
        """Return the image of a slot, or another one by its name."""
        return self.folder / "VirtualDisks" / (f"disk{which}.img" if isinstance(which, int) else which)

    def write(self, which: int | str, data: bytes) -> bytes:
        """Give an image this content."""
        write_image(self.image(which), data)
        return data

    def change(self, which: int, offset: int, data: bytes) -> bytes:
        """Overwrite a part of an image as its guest would; return the whole content."""
        with self.image(which).open("r+b") as file:
            file.seek(offset)
            file.write(data)
        return self.image(which).read_bytes()

    @property
    def client(self) -> Client:
        return self.vault.client("web_01")

    @property
    def tree(self) -> list[str]:
        """What there is in the vault."""
        top = Path(self.vault.path)
        return sorted(str(path.relative_to(top)) for path in top.rglob("*"))

    def request(self, plan: dict[str, Any] | None = None, **changes: Any) -> BackupRequest:
        """Return the request to back a VM up."""
        plan = vm_plan() if plan is None else plan
        configuration = plan["configuration"]
        values: dict[str, Any] = {
            "plan": plan,
            "document": configuration["document"],
            "vm_cfg": configuration["vm_cfg"],
            "run_id": RUN,
            "subclient": "nightly",
            "owner": "a test",
            "repositories_path": str(self.repositories),
            "manager": configuration["manager"],
        }
        return BackupRequest(**{**values, **changes})


def fill_up(monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    """Let the vault write files of this name to a full device: the kernel refuses the data.

    Of a small file it is what has the name until it is complete.
    """

    def opened(path: str, mode: str = "r", **options: Any) -> Any:
        name = re.sub(r"^\.(.*)\.[0-9a-f]{8}\.new$", r"\1", os.path.basename(path))
        if "r" not in mode and name.endswith(ending):
            return builtins.open("/dev/full", "wb")
        return builtins.open(path, mode, **options)

    monkeypatch.setattr(directory, "open", opened, raising=False)
