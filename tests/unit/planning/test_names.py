# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Client names: requirement R2 to the letter, and distinct, stable folder names."""

from __future__ import annotations

import random
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.planning.estate import vm

from ansible_collections.ovm.backup.plugins.module_utils.planning.names import assign_clients, client_name

REPLACED = "\\|`~!@#$%^&*+=<>?,{}():;'\"/"
NAMES = st.text(max_size=30) | st.text(alphabet="aA_. /é", max_size=4)


@pytest.mark.parametrize("char", REPLACED)
def test_each_listed_character_becomes_one_underscore(char: str) -> None:
    assert client_name(f"a{char}{char}b") == "a__b"


def test_every_white_space_character_is_replaced_and_nothing_else() -> None:
    for char in map(chr, range(sys.maxunicode + 1)):
        expected = "_" if char in REPLACED or char.isspace() else char
        assert client_name(char) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("db01", "db01"),
        ("db 01 (test)", "db_01__test_"),
        ("web-1.example_x[2]", "web-1.example_x[2]"),
        ("büro/Käse\u00a0日本", "büro_Käse_日本"),
        ("$(reboot)", "__reboot_"),
        ('O\'Brien\t"x"', "O_Brien__x_"),
        ("", ""),
        ("..", ".."),
        ("-rf", "-rf"),
        ("NUL", "NUL"),
        ("a\0b", "a\0b"),
    ],
)
def test_client_name(name: str, expected: str) -> None:
    assert client_name(name) == expected


@given(NAMES)
def test_client_name_is_clean_idempotent_and_of_the_same_length(name: str) -> None:
    client = client_name(name)
    assert len(client) == len(name)
    assert client_name(client) == client
    assert not any(char in REPLACED or char.isspace() for char in client)


def assign(names: dict[str, str], known: dict[str, str] | None = None) -> dict[str, str]:
    return assign_clients([vm(name, id=vm_id) for vm_id, name in names.items()], known or {})


@pytest.mark.parametrize(
    ("names", "known", "expected"),
    [
        pytest.param({"2": "a b", "1": "a/b"}, {}, {"1": "a_b", "2": "a_b_2"}, id="collapsed, lowest id first"),
        pytest.param({"1": "x", "2": "x", "3": "x"}, {}, {"1": "x", "2": "x_2", "3": "x_3"}, id="same name"),
        pytest.param({"1": "x", "2": "x_2", "3": "x"}, {}, {"1": "x", "2": "x_2", "3": "x_3"}, id="suffix is taken"),
        pytest.param({"1": "Web", "2": "WEB"}, {}, {"1": "Web", "2": "WEB_2"}, id="differ in case only"),
        pytest.param({"1": "é", "2": "e\u0301"}, {}, {"1": "é", "2": "e\u0301_2"}, id="differ in Unicode form only"),
        pytest.param({"1": "new"}, {"1": "old"}, {"1": "old"}, id="renamed VM keeps its client"),
        pytest.param({"1": "a"}, {"9": "A"}, {"1": "a_2"}, id="name of a client whose VM is gone"),
        pytest.param({"1": "a", "2": "b"}, {"2": "a"}, {"1": "a_2", "2": "a"}, id="name that a renamed VM keeps"),
        pytest.param({"1": ""}, {}, {"1": "_"}, id="empty"),
        pytest.param({"1": "."}, {}, {"1": "_"}, id="dot"),
        pytest.param({"1": ".."}, {}, {"1": "__"}, id="dot dot"),
        pytest.param({"1": "..."}, {}, {"1": "..."}, id="three dots are a name"),
        pytest.param({"1": "a\0b\x1b\ud800"}, {}, {"1": "a_b__"}, id="control characters and surrogates"),
        pytest.param({"1": "-rf"}, {}, {"1": "-rf"}, id="leading dash"),
        pytest.param({"1": "x" * 255}, {}, {"1": "x" * 255}, id="as long as can be"),
        pytest.param({"1": "x" * 300, "2": "x" * 299}, {}, {"1": "x" * 255, "2": "x" * 253 + "_2"}, id="too long"),
        pytest.param({"1": "é" * 200}, {}, {"1": "é" * 127}, id="cut between characters"),
    ],
)
def test_assign_clients(names: dict[str, str], known: dict[str, str], expected: dict[str, str]) -> None:
    assert assign(names, known) == expected


VMS = st.dictionaries(st.text(alphabet="0123", min_size=1, max_size=3), NAMES, max_size=12)


@given(VMS, st.randoms(use_true_random=False))
def test_clients_are_distinct_folders_whatever_the_order(names: dict[str, str], rng: random.Random) -> None:
    clients = assign(names)
    assert clients.keys() == names.keys()
    assert len({client.casefold() for client in clients.values()}) == len(names)
    for client in clients.values():
        assert 1 <= len(client.encode()) <= 255
        assert client not in (".", "..")
        assert not set(client) & {"/", "\0"}
    shuffled = list(names)
    rng.shuffle(shuffled)
    assert assign({vm_id: names[vm_id] for vm_id in shuffled}) == clients


@given(VMS, VMS)
def test_clients_survive_renames_and_new_vms(before: dict[str, str], after: dict[str, str]) -> None:
    known = assign(before)
    clients = assign({**before, **after}, known)
    assert {vm_id: clients[vm_id] for vm_id in before} == known
    assert len({client.casefold() for client in clients.values()}) == len(clients)
