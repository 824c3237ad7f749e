# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the guide says of the requests that work takes: they cost money, and time where the bucket is far away."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from unit.transfer.builders import MOMENT, NEXT_RUN, RUN, Estate, disk, incremental, ticking, vm_plan
from unit.vault.builders import MIB, noise

from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_backup import backup_vm
from ansible_collections.ovm.backup.plugins.module_utils.transfer.point_restore import plan_images, restore_images
from ansible_collections.ovm.backup.plugins.module_utils.vault.access import VaultAccess
from ansible_collections.ovm.backup.plugins.module_utils.vault.lock import HEARTBEAT_SECONDS
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Vault
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.s3_writer import PART_SIZE
from ansible_collections.ovm.backup.plugins.module_utils.vault.synthetic_full import (
    SyntheticRequest,
    make_synthetic_full,
)
from ansible_collections.ovm.backup.plugins.module_utils.vault.verification_run import survey, verify_targets
from s3.faults import FaultProxy
from s3.fixtures import new_root
from s3.server import ACCESS_KEY, SECRET_KEY

GUIDE = Path(__file__).resolve().parents[2] / "docs/docsite/rst/guide_object_storage.rst"
KINDS = (("GET", "HEAD"), ("PUT", "POST"), ("DELETE",))
LARGE = 20 * MIB
LATER = MOMENT + 86400.0
Requests = list[tuple[str, str]]


def what_it_costs() -> str:
    """Return this section of the guide."""
    return GUIDE.read_text(encoding="utf-8").partition("\nWhat it costs\n")[2].partition("\nObject lock\n")[0]


def told(section: str) -> dict[str, tuple[int, ...]]:
    """Return the rows of its table."""
    rows = re.findall(r"^   \* - (.+)\n     - (\d+)\n     - (\d+)\n     - (\d+)$", section, re.M)
    return {name: tuple(map(int, numbers)) for name, *numbers in rows}


def counted(requests: Requests) -> tuple[int, ...]:
    found = Counter(method for method, _path in requests)
    assert set(found) <= {method for kind in KINDS for method in kind}
    return tuple(sum(found[method] for method in kind) for kind in KINDS)


@pytest.fixture
def estate(tmp_path: Path, s3_faults: FaultProxy) -> Estate:
    """A VM with two disks, the vault behind a proxy that counts."""
    access = VaultAccess(
        endpoint_url=s3_faults.endpoint,
        access_key_id=ACCESS_KEY,
        secret_access_key=SECRET_KEY,
        addressing_style="path",
    )
    made = Estate(tmp_path)
    made.vault = Vault.create(new_root(), access, clock=lambda: 1.0)
    made.write(1, noise(LARGE, seed=3))
    return made


def test_requests_are_those_that_the_guide_tells(estate: Estate, tmp_path: Path, s3_faults: FaultProxy) -> None:
    plan = vm_plan(disk(0), disk(1, "data"))
    requests: dict[str, Requests] = {}

    def took(name: str) -> None:
        requests[name] = list(s3_faults.requests)
        s3_faults.reset()

    s3_faults.reset()
    backup_vm(estate.vault, estate.request(plan), clock=ticking())
    took("Full backup of the VM")
    estate.change(1, MIB, noise(64 * 1024, seed=8))
    clock = ticking(MOMENT + 60)
    second = backup_vm(estate.vault, estate.request(incremental(plan), run_id=NEXT_RUN), clock=clock).point
    took("Incremental, 64 KiB changed")
    restore_images(estate.client, second, plan_images(estate.client, second, str(tmp_path / "restored")))
    took("Restore of both disks")
    make_synthetic_full(estate.vault, SyntheticRequest("web_01", "a test"), clock=ticking(LATER), workers=2)
    took("Synthetic full")
    full = [target for target in survey(estate.vault).targets if target.point.type == "full"]
    s3_faults.reset()
    verify_targets(estate.vault, full, clock=ticking(LATER), workers=2)
    took("Verification of the full")
    section = what_it_costs()
    found = {name: counted(made) for name, made in requests.items()}
    print(found)
    assert told(section) == found
    # What follows from the sizes: each frame is one GET, besides those for tables and ends; each part one PUT.
    frames = (LARGE + 2 * MIB) // MIB
    for name in ("Restore of both disks", "Synthetic full", "Verification of the full"):
        gets = [path for method, path in requests[name] if method == "GET" and ".img.zst" in path]
        assert frames <= len(gets) <= frames + 12, name
    assert PART_SIZE == 8 * MIB and "one PUT for each 8 MiB" in section
    for name in ("Full backup of the VM", "Synthetic full"):
        parts = [path for method, path in requests[name] if method == "PUT" and "partNumber" in path]
        assert len(parts) == -(-LARGE // PART_SIZE), name
        # Nothing is copied by the storage but what is renamed, which goes as a whole.
        assert not [path for _method, path in requests[name] if "UploadPartCopy" in path]


def test_a_renewal_of_a_lock(estate: Estate, s3_faults: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    client = estate.vault.prepare_client("web_01")
    lock = client.lock(owner="a test", run_id=RUN)
    lock.hold(600.0)
    s3_faults.reset()
    over = iter((False, True))  # one beat
    monkeypatch.setattr(lock, "_stop", SimpleNamespace(wait=lambda seconds: next(over)))
    lock._beat()
    gets, puts, deletes = counted(s3_faults.requests)
    text = f"renewed every {HEARTBEAT_SECONDS:.0f} seconds by {gets} GET and {puts} PUT"
    assert deletes == 0
    assert text in " ".join(what_it_costs().split())
    lock.release()
