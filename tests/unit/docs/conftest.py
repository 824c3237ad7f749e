# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the documentation shows, taken out of its pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[3]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_DIRECTIVE = re.compile(r"^( *)\.\. code-block:: (\w+)\n(?: +:.*\n)*\n((?:\1   .*\n|\n)+)", re.MULTILINE)
_ROW = re.compile(r"^   \* - (.*(?:\n(?!   \* - ).*)*)", re.MULTILINE)


class Block(NamedTuple):
    """A block of code in a page."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


class Documentation:
    """The pages: README files and guides, by their path in the collection."""

    def __init__(self, root: Path) -> None:
        found = [root / "README.md", root / "CONTRIBUTING.md", *root.glob("roles/*/README.md")]
        found += [root / "docs" / "docsite" / "front.rst", *root.glob("docs/docsite/rst/*.rst")]
        self.root = root
        self.pages = {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in sorted(found)}

    def guide(self, name: str) -> str:
        """Return the text of a guide."""
        return self.pages[f"docs/docsite/rst/{name}.rst"]

    def blocks(self, language: str, guide: str | None = None) -> list[Block]:
        """Return the blocks of a language, of one guide or of all pages."""
        pages = self.pages if guide is None else {f"{guide}.rst": self.guide(guide)}
        found = [block for name, text in pages.items() for block in _blocks(name, text)]
        return [block for block in found if block.language == language]

    def table(self, guide: str, title: str) -> list[tuple[str, ...]]:
        """Return the rows of a list-table, without its header and without the marks of code."""
        start = self.guide(guide).index(f".. list-table:: {title}\n")
        return _rows(self.guide(guide)[start:])

    def first_table(self, guide: str, after: str) -> list[tuple[str, ...]]:
        """Return the rows of the first list-table after a text."""
        text = self.guide(guide)
        return _rows(text[text.index(".. list-table::", text.index(after)) :])


def _blocks(page: str, text: str) -> Iterator[Block]:
    if page.endswith(".md"):
        for fence in _FENCE.finditer(text):
            yield Block(page, text.count("\n", 0, fence.start()) + 2, fence[1], fence[2])
        return
    for directive in _DIRECTIVE.finditer(text):
        indentation = len(directive[1]) + 3
        lines = [line[indentation:] for line in directive[3].splitlines()]
        line = text.count("\n", 0, directive.start()) + 1
        yield Block(page, line, directive[2], "\n".join(lines).strip("\n") + "\n")


def _rows(text: str) -> list[tuple[str, ...]]:
    lines = text.splitlines(keepends=True)
    length = next((number for number, line in enumerate(lines) if number and line.strip() and line[0] != " "), None)
    rows = []
    for row in _ROW.finditer("".join(lines[:length])):
        cells = re.split(r"\n     - ", row[1])
        rows.append(tuple(" ".join(cell.split()).replace("``", "") for cell in cells))
    return rows[1:]


@pytest.fixture(scope="session")
def documentation() -> Documentation:
    return Documentation(ROOT)
