# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter ovm.backup.client_name."""

from __future__ import annotations

from typing import Any

import jinja2
import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.ovm.backup.plugins.filter.client_name import FilterModule

client_name = FilterModule().filters()["client_name"]


def test_it_is_the_only_filter_of_its_file() -> None:
    assert list(FilterModule().filters()) == ["client_name"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("db 01 (test)", "db_01__test_"),
        ("web/1", "web_1"),
        ("büro.lan", "büro.lan"),
        ("app[2]", "app[2]"),
        ("\\|`~!@#$%^&*+=<>?,{}():;'\"/", "_" * 27),
        ("a\u00a0\t\nb", "a___b"),
        ("..", ".."),
        ("", ""),
    ],
)
def test_names(name: str, expected: str) -> None:
    assert client_name(name) == expected


class Tagged(int):
    """Templates of Ansible give subclasses of the plain types."""


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (Tagged(1), "the number 1"),
        (None, "nothing"),
        (True, "the boolean true"),
        (["a"], "a list"),
        ({"a": 1}, "a mapping"),
        (b"a", "a bytes"),
    ],
)
def test_other_types_are_refused(value: Any, kind: str) -> None:
    expected = f"^ovm.backup.client_name needs the name of a VM as a string, not {kind}$"
    with pytest.raises(AnsibleFilterError, match=expected):
        client_name(value)


def test_an_undefined_variable_is_named() -> None:
    with pytest.raises(jinja2.UndefinedError, match="'vm_name' is undefined"):
        client_name(jinja2.StrictUndefined(name="vm_name"))
