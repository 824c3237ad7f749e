# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module client_lock_info."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

import pytest
from unit.transfer.builders import NEXT_RUN, RUN, VM_ID, Estate


def hold(estate: Estate, client: str, run_id: str, *, lease: float = 3600.0, **options: Any) -> Path:
    lock = estate.vault.prepare_client(client).lock(owner="a run", run_id=run_id, **options)
    lock.hold(lease, {"vm_stopped": client == "web_01"})
    return Path(estate.vault.path) / "clients" / client / "lock.json"


@pytest.mark.parametrize("check_mode", [False, True])
def test_no_locks(succeed: Any, estate: Estate, check_mode: bool) -> None:
    estate.vault.prepare_client("web_01")
    found = succeed("client_lock_info", {"vault": estate.vault.path}, check_mode=check_mode)
    assert found == {"changed": False, "locks": []}


def test_locks_by_client(succeed: Any, estate: Estate) -> None:
    web = hold(estate, "web_01", RUN, vm_id=VM_ID, vm_name="web 01")
    document = json.loads(web.read_bytes())
    beat = document["heartbeat"] - 3601.0  # the lease is over
    web.write_text(json.dumps({**document, "heartbeat": beat}))
    db = json.loads(hold(estate, "db_01", NEXT_RUN).read_bytes())
    before = estate.tree
    common = {"owner": "a run", "host": platform.node(), "lease": 3600.0, "manager_id": None}
    common |= {"given_up": False, "lived_on": False}
    found = succeed("client_lock_info", {"vault": estate.vault.path})
    assert found == {
        "changed": False,
        "locks": [
            {**common, "client": "db_01", "run_id": NEXT_RUN, "heartbeat": db["heartbeat"], "alive": True,
             "vm_id": None, "vm_name": None, "vm_stopped": False},
            {**common, "client": "web_01", "run_id": RUN, "heartbeat": beat, "alive": False,
             "vm_id": VM_ID, "vm_name": "web 01", "vm_stopped": True},
        ],
    }  # fmt: skip
    assert estate.tree == before


def test_a_run_that_goes_on_after_its_lock_ran_out(succeed: Any, estate: Estate) -> None:
    path = hold(estate, "web_01", RUN, lease=1.0)
    document = json.loads(path.read_bytes())
    path.write_text(json.dumps({**document, "heartbeat": document["heartbeat"] - 60.0}))
    record = Path(estate.vault.path, "jobs", RUN, "another vm.json")
    record.parent.mkdir()
    record.write_text("{}")
    (found,) = succeed("client_lock_info", {"vault": estate.vault.path})["locks"]
    assert (found["alive"], found["given_up"], found["lived_on"]) == (False, False, True)


def test_a_lock_that_says_nothing_counts_as_alive(succeed: Any, estate: Estate) -> None:
    hold(estate, "web_01", RUN).write_text("damaged")
    (found,) = succeed("client_lock_info", {"vault": estate.vault.path})["locks"]
    assert (found["client"], found["run_id"], found["alive"], found["vm_stopped"]) == ("web_01", None, True, False)


def test_no_vault(fail: Any, tmp_path: Path) -> None:
    assert fail("client_lock_info", {"vault": str(tmp_path)})["failure"] == {
        "kind": "NotAVaultError", "path": str(tmp_path),
    }  # fmt: skip


def test_no_folder_of_clients(fail: Any, estate: Estate) -> None:
    os.rename(f"{estate.vault.path}/clients", f"{estate.vault.path}/moved")
    assert fail("client_lock_info", {"vault": estate.vault.path}) == {
        "msg": f"Cannot list {estate.vault.path}/clients: No such file or directory",
        "failure": {"kind": "NotAVaultError", "path": estate.vault.path},
    }
