# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One operation of the engine on one disk, as its module would do it, in a process of its own.

Usage: python engine.py OPERATION VAULT [name=value...]

OPERATION is create, full, incremental, restore, verify or synthetic_full. The engine is that of the stage, which has to
be on PYTHONPATH. Prints one line of JSON: what the engine says it has done.

With profile=FILE all work is done in one thread, and what cProfile says of it, in CPU seconds, goes to a file.
"""

from __future__ import annotations

import cProfile
import functools
import json
import os
import sys
import time
from typing import Any

from ansible_collections.ovm.backup.plugins.module_utils.images.ssh import SshSettings
from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm
from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_restore import plan_images, restore_images
from ansible_collections.ovm.backup.plugins.module_utils.transfer.request import BackupRequest
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Vault
from ansible_collections.ovm.backup.plugins.module_utils.vault.pool import OrderedPool
from ansible_collections.ovm.backup.plugins.module_utils.vault.synthetic_full import (
    SyntheticRequest,
    make_synthetic_full,
)
from ansible_collections.ovm.backup.plugins.module_utils.vault.verification_run import survey, verify_targets

CLIENT, VM, DISK = "bench", "0004fb0000060000be4c", "disk0.img"
REPOSITORY = "images"
WHY = "the benchmark wants it"


def run_id(vault: Vault, number: int) -> str:
    """Return the id of a run, another for each recovery point."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    return f"{stamp}-{vault.id.replace('-', '')[:8]}-{number:06x}"


def told(point: Point) -> dict[str, Any]:
    """Return what a recovery point says of its one disk."""
    disk = point.disks[0]
    changes = disk.changes or {}
    return {
        **disk.statistics,
        "type": disk.type,
        "reason": disk.reason,
        "changes": changes,
        "clone": point.clone,
    }


def reference(vault: Vault) -> dict[str, Any]:
    """Return the clone that the newest recovery point was read from, as a plan names it."""
    point = vault.client(CLIENT).point()
    image = point.disks[0].image or {}
    return {"clone_id": image.get("clone_id"), "run_id": point.run_id, "point_id": point.id}


def place_of(image: str) -> tuple[str, str, str]:
    """Return the directory of all repositories, the name of the image's one, and the path of the image in that."""
    folder, name = os.path.split(os.path.abspath(image))
    if os.path.basename(folder) == "VirtualDisks":
        folder, name = os.path.dirname(folder), f"VirtualDisks/{name}"
    return os.path.dirname(folder), os.path.basename(folder), f"/{name}"


def backup(
    vault: Vault, kind: str, image: str, method: str = "hash", server: str | None = None, ssh: str | None = None
) -> dict[str, Any]:
    """Make a recovery point of an image, on a path or, with settings in C(ssh), on a server.

    C(method): extent_maps or hash.
    """
    top, repository, path = place_of(image)
    copy = {
        "slot": 0,
        "source_disk_id": DISK,
        "id": path,
        "name": path,
        "repository_id": repository,
        "path": path,
        "size": None if server else os.path.getsize(image),
    }
    disk = {
        **copy,
        "disk_id": DISK,
        "name": "system",
        "repository": REPOSITORY,
        "type": kind,
        "type_reason": WHY,
        "base": None,
        "changes": method,
        "changes_reason": WHY,
        "source": "ssh" if server else "path",
        "source_reason": WHY,
        "server": {"id": server, "name": server, "address": server} if server else None,
    }
    plan = {
        "vm_id": VM,
        "vm_name": "bench",
        "client": CLIENT,
        "action": "backup",
        "method": "hot_clone",
        "requested_type": kind,
        "type": kind,
        "type_reason": WHY,
        "disks": [disk],
        "skipped_disks": [],
        "reference": reference(vault) if method == "extent_maps" else None,
        "reference_reason": WHY,
    }
    request = BackupRequest(
        plan=plan,
        document={},
        vm_cfg=None,
        run_id=run_id(vault, time.time_ns() & 0xFFFFFF),
        subclient="bench",
        owner="the benchmark",
        repositories_path=top,
        manager={"id": "0004fb0000010000be4c", "version": "3.4"},
        clone={"id": path, "name": path, "vm_id": VM, "disks": [copy]},
        reference_space=0,
        ssh=SshSettings.parse(json.loads(ssh)) if ssh else None,
    )
    return told(backup_vm(vault, request).point)


def restore(vault: Vault, target: str) -> dict[str, Any]:
    """Write the image of the newest recovery point."""
    client = vault.client(CLIENT)
    point = client.point()
    return {"written": restore_images(client, point, plan_images(client, point, target))}


def verify(vault: Vault) -> dict[str, Any]:
    """Verify the newest recovery point, with all that it builds on."""
    client = vault.client(CLIENT)
    found = survey(vault, clients=[CLIENT], point=client.point().id)
    [outcome, *others] = verify_targets(vault, list(found.targets))
    if others or outcome.status != "good":
        raise SystemExit(f"the recovery point is {outcome.status}: {outcome.error}")
    return {}


def synthetic_full(vault: Vault) -> dict[str, Any]:
    """Consolidate the newest recovery point."""
    outcome = make_synthetic_full(vault, SyntheticRequest(client=CLIENT, owner="the benchmark"))
    return dict(outcome.point.disks[0].statistics)


def main() -> int:
    """Run as a program."""
    operation, path, *settings = sys.argv[1:]
    options = dict(setting.split("=", 1) for setting in settings)
    profile = options.pop("profile", None)
    if operation == "create":
        Vault.create(path)
        return 0
    works = {
        "full": lambda vault: backup(vault, "full", **options),
        "incremental": lambda vault: backup(vault, "incremental", **options),
        "restore": functools.partial(restore, **options),
        "verify": verify,
        "synthetic_full": synthetic_full,
    }
    vault = Vault.open(path)
    if profile is None:
        print(json.dumps(works[operation](vault)))
        return 0
    # The profiler sees one thread only.
    OrderedPool.submit = lambda self, work, *arguments: self.put(work(*arguments))  # type: ignore[method-assign]
    with cProfile.Profile(time.process_time) as profiler:
        print(json.dumps(works[operation](vault)))
    profiler.dump_stats(profile)
    return 0


if __name__ == "__main__":
    sys.exit(main())
