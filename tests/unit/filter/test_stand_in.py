# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter stand_in. The rule itself is tested with the plan."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.ovm.backup.plugins.filter.stand_in import FilterModule

stand_in = FilterModule().filters()["stand_in"]
VM = {
    "proxy": "p1",
    "disks": [],
    "slots": [],
    "stand_ins": [{"proxy": "p2", "slots": [{"name": "x", "limit": 1}], "disks": []}],
}


def test_stand_in() -> None:
    assert stand_in(VM, ["p1"]) == {**VM, "proxy": "p2", "slots": [{"name": "x", "limit": 1}]}
    assert stand_in(VM, ["p1", "p2"]) == {}


@pytest.mark.parametrize("arguments", [("x", []), (VM, "p1"), (None, []), ({"stand_ins": [{}]}, [])])
def test_wrong_input(arguments: tuple[Any, Any]) -> None:
    with pytest.raises(AnsibleFilterError, match="needs a VM of the plan and a list of names of proxies"):
        stand_in(*arguments)
