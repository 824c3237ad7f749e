# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module vm_disk_mapping: what is refused. What it does is tested with the VM that it does it to, in test_vm.py."""

from __future__ import annotations

from typing import Any

from simulator.testing import Simulator


def test_a_running_vm_is_left_alone(fail: Any, manager: dict[str, Any], simulator: Simulator) -> None:
    vm_id = simulator.find("Vm", "db01")["id"]["value"]
    found = fail("vm_disk_mapping", {**manager, "vm_id": vm_id, "slot": 0})
    assert found["failure"] == {"kind": "PowerStateError", "vm_id": vm_id, "vm_name": "db01", "state": "RUNNING"}
    assert simulator.calls(writing=True) == []
