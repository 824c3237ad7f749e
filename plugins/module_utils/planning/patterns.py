# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Patterns of content rules: C(*), C(?), C([a-m]) and C([!a-m]), without regard to case."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class _OneOf:
    """One character: within (or, negated, outside) some ranges, both ends included. No range at all: any character."""

    ranges: tuple[tuple[str, str], ...] = ()
    negated: bool = False

    def accepts(self, char: str) -> bool:
        if not self.ranges:
            return True
        forms = {char, char.lower(), char.upper()}
        inside = any(low <= form <= high for form in forms if len(form) == 1 for low, high in self.ranges)
        return inside is not self.negated


_Token = Optional[_OneOf]  # None is the star: any number of any characters


@dataclass(frozen=True)
class Pattern:
    """A pattern that is compared with a whole text."""

    text: str
    tokens: tuple[_Token, ...]

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Return the pattern that the text stands for; C(ValueError) says what is wrong with it.

        A bracket that is meant as such is written C([[]); C(]) outside a set stands for itself.
        """
        tokens: list[_Token] = []
        source = unicodedata.normalize("NFC", text)
        place = 0
        while place < len(source):
            char = source[place]
            place += 1
            if char == "*":
                if not tokens or tokens[-1] is not None:
                    tokens.append(None)
            elif char == "?":
                tokens.append(_OneOf())
            elif char == "[":
                end = source.find("]", place)
                if end < 0:
                    raise ValueError(f"the '[' at character {place} is never closed; write [[] for a bracket itself")
                tokens.append(_parse_set(source[place:end]))
                place = end + 1
            else:
                tokens.append(_OneOf(((char, char),)))
        return cls(text, tuple(tokens))

    def matches(self, text: str) -> bool:
        """Whether the whole text fits; takes at most (length of text x length of pattern) steps."""
        source = unicodedata.normalize("NFC", text)
        tokens = self.tokens
        at, place = 0, 0
        star, retry = -1, 0
        while at < len(source):
            token = tokens[place] if place < len(tokens) else _NOTHING
            if token is None:
                star, retry = place, at
                place += 1
            elif token.accepts(source[at]):
                at, place = at + 1, place + 1
            elif star >= 0:  # let the last star take one character more
                retry += 1
                at, place = retry, star + 1
            else:
                return False
        return all(token is None for token in tokens[place:])


_NOTHING = _OneOf((("\0", "\U0010ffff"),), negated=True)  # stands behind the last token: accepts no character


def _parse_set(body: str) -> _OneOf:
    negated = body.startswith("!")
    chars = body[1:] if negated else body
    if not chars:
        raise ValueError(f"the set [{body}] has no character")
    ranges: list[tuple[str, str]] = []
    place = 0
    while place < len(chars):
        low = high = chars[place]
        if place + 2 < len(chars) and chars[place + 1] == "-":
            high = chars[place + 2]
            place += 2
        if low > high:
            raise ValueError(f"the range {low}-{high} in [{body}] runs backwards")
        ranges.append((low, high))
        place += 1
    return _OneOf(tuple(ranges), negated)
