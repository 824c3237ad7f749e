# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a restore is asked for: contradictions are named by their keys."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.ovm.backup.plugins.module_utils.errors import InvalidInputError
from ansible_collections.ovm.backup.plugins.module_utils.planning.restore_wishes import (
    Wishes,
    check_wishes,
    read_mapping,
)


@pytest.mark.parametrize(
    ("wishes", "option", "message"),
    [
        ({"mode": "in_place", "name": "x"}, "name", "name: 'x' has no meaning for mode: in_place; it is for new"),
        ({"mode": "attach", "vm": "a", "server": "s"}, "server", "has no meaning for mode: attach; it is for new"),
        ({"mode": "attach", "vm": "a", "confirm": "a"}, "confirm", "it is for in_place"),
        ({"stop": True}, "stop", "stop: 'True' has no meaning for mode: new; it is for in_place and attach"),
        ({"vm": "a"}, "vm", "has no meaning for mode: new; it is for attach"),
        ({"mode": "attach"}, "vm", "vm is missing: mode: attach needs the name or id of a VM"),
        ({"slots": ()}, "slots", "slots must not be an empty list: leave it out to restore all disks"),
    ],
)
def test_contradictions(wishes: dict[str, Any], option: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message.replace("(", r"\(")) as caught:
        check_wishes(Wishes(**wishes))
    assert caught.value.details["option"] == option


def test_what_makes_sense() -> None:
    check_wishes(Wishes())
    check_wishes(Wishes(mode="in_place", confirm="db", stop=True, slots=(0,)))
    check_wishes(Wishes(mode="attach", vm="helper", start=True))


def test_a_mapping_is_found_by_id_first() -> None:
    read = read_mapping({"networks": {"0004": "by id", "vm-net": "by name"}, "os_types": {"A": "B"}})
    wishes = Wishes(mapping=read)
    assert wishes.mapped("networks", "0004", "vm-net") == "by id"
    assert wishes.mapped("networks", "0005", "vm-net") == "by name"
    assert wishes.mapped("networks", None, None) is None
    assert wishes.mapped("servers", "0004", "vm-net") is None
    assert wishes.mapped("os_types", None, "A") == "B"


def test_all_that_is_wrong_in_a_mapping_is_named() -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_mapping({"network": {}, "servers": [], "networks": {"a": 5, "b": ""}})
    for part in ("mapping.network", "did you mean 'networks'", "mapping.servers", "mapping.networks.a", ".b"):
        assert part in caught.value.message
    with pytest.raises(InvalidInputError, match="must be a mapping with storage_repositories, networks"):
        read_mapping(["networks"])
