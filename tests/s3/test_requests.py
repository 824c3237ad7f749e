# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many requests the work of a night takes: they cost money, and time where the bucket is far away."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from unit.transfer.builders import MOMENT, NEXT_RUN, Estate, disk, incremental, ticking, vm_plan
from unit.vault.builders import MIB, noise

from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm
from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_restore import plan_images, restore_images
from ansible_collections.ovm.backup.plugins.module_utils.vault.access import VaultAccess
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Vault
from s3.faults import FaultProxy
from s3.fixtures import new_root
from s3.server import ACCESS_KEY, SECRET_KEY

# Above these the guide on object storage has to say something else.
FULL, INCREMENTAL, RESTORE = 50, 50, 40


def test_requests_of_a_backup_and_a_restore(tmp_path: Path, s3_faults: FaultProxy) -> None:
    access = VaultAccess(
        endpoint_url=s3_faults.endpoint,
        access_key_id=ACCESS_KEY,
        secret_access_key=SECRET_KEY,
        addressing_style="path",
    )
    estate = Estate(tmp_path)
    estate.vault = Vault.create(new_root(), access, clock=lambda: 1.0)
    estate.write(1, noise(20 * MIB, seed=3))
    plan = vm_plan(disk(0), disk(1, "data"))
    counts: dict[str, Counter[str]] = {}

    def counted(name: str) -> None:
        counts[name] = Counter(method for method, _path in s3_faults.requests)
        s3_faults.reset()

    s3_faults.reset()
    backup_vm(estate.vault, estate.request(plan), clock=ticking())
    counted("full")
    estate.change(1, MIB, noise(64 * 1024, seed=8))
    second = backup_vm(
        estate.vault, estate.request(incremental(plan), run_id=NEXT_RUN), clock=ticking(MOMENT + 60)
    ).point
    counted("incremental")
    restore_images(estate.client, second, plan_images(estate.client, second, str(tmp_path / "restored")))
    counted("restore")
    print({name: dict(found) for name, found in counts.items()})
    assert counts["full"].total() <= FULL
    assert counts["incremental"].total() <= INCREMENTAL
    assert counts["restore"].total() <= RESTORE
    assert set(counts["restore"]) == {"GET", "HEAD"}
