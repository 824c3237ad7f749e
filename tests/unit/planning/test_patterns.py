# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Patterns: exactly * ? [a-m] [!a-m], whole text, any case."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ovm.backup.plugins.module_utils.planning.patterns import Pattern


@pytest.mark.parametrize(
    ("pattern", "fits", "fits_not"),
    [
        ("db01", ["db01", "DB01"], ["db011", "xdb01", "db0", ""]),
        ("db*", ["db", "DB-x", "db01"], ["xdb", "d"]),
        ("*", ["", "anything", "line\nbreak"], []),
        ("**", ["", "x"], []),
        ("*db*", ["db", "my-db-1"], ["d b"]),
        ("db?", ["db1", "db?"], ["db", "db12"]),
        ("[a-m]x", ["ax", "MX", "fx"], ["nx", "x", "[a-m]x"]),
        ("[!a-m]x", ["nx", "1x"], ["ax", "Ax", "Mx", "x"]),
        ("[A-M]1", ["a1", "B1"], ["n1"]),
        ("[abc]", ["a", "C"], ["d", "-"]),
        ("[a-cx-z]", ["b", "Y"], ["d", "-"]),
        ("[-a]", ["-", "a"], ["b"]),
        ("[a-]", ["-", "a"], ["b"]),
        ("[a!]", ["!", "a"], ["b"]),
        ("app[[]2]", ["app[2]"], ["app2"]),
        ("[*][?]", ["*?"], ["ab"]),
        ("a]", ["a]"], ["a"]),
        ("É*", ["école", "E\u0301cole", "École"], ["ecole"]),
        ("web (old) $x.^+|", ["WEB (OLD) $X.^+|"], ["web old"]),
        ("a\\*", ["a\\", "a\\b"], ["a*"]),
        ("*a*b", ["ab", "aab", "xaxbxb"], ["ba", "axbx"]),
    ],
)
def test_matches(pattern: str, fits: list[str], fits_not: list[str]) -> None:
    parsed = Pattern.parse(pattern)
    assert [text for text in fits if not parsed.matches(text)] == []
    assert [text for text in fits_not if parsed.matches(text)] == []


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("db[1", "the '[' at character 3 is never closed; write [[] for a bracket itself"),
        ("[", "the '[' at character 1 is never closed; write [[] for a bracket itself"),
        ("a[]", "the set [] has no character"),
        ("a[!]", "the set [!] has no character"),
        ("[m-a]", "the range m-a in [m-a] runs backwards"),
    ],
)
def test_wrong_patterns(pattern: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        Pattern.parse(pattern)
    assert str(caught.value) == message


def test_many_stars_take_no_time() -> None:
    assert not Pattern.parse("*a" * 50 + "b").matches("a" * 2000)


PIECES = st.sampled_from(["*", "?", "[a-c]", "[!b]", "[xyz]", "a", "B", "c", ".", "-", "]"])


@given(st.lists(PIECES, max_size=8), st.text(alphabet="abcxyz.-]", max_size=8))
def test_agrees_with_fnmatch(pieces: list[str], text: str) -> None:
    pattern = "".join(pieces)
    assert Pattern.parse(pattern).matches(text.upper()) is fnmatch.fnmatchcase(text, pattern.lower())
