# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter outage_budget. The rule itself is tested with the plan."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.ovm.backup.plugins.filter.outage_budget import FilterModule

budget = FilterModule().filters()["outage_budget"]
VM = {"outage_until": 1050.0, "expected_outage": None}


def test_budget() -> None:
    assert budget(VM, 0, 1000) == {"seconds": 45.0, "problem": ""}
    # Templates may give text.
    assert budget({"outage_until": None, "expected_outage": 1.5}, "10", "1000.5") == {"seconds": 9.0, "problem": ""}
    assert budget(VM, 0, 1060.0) == {"seconds": None, "problem": "the outage window closed 10 s ago"}


@pytest.mark.parametrize("arguments", [({}, 0, 0), ("x", 0, 0), (VM, "soon", 0), (VM, 0, None), (None, 0, 0)])
def test_wrong_input(arguments: tuple[Any, Any, Any]) -> None:
    with pytest.raises(AnsibleFilterError, match="needs a VM of the plan with outage_until and expected_outage"):
        budget(*arguments)
