# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Pieces of a page. Every text from outside goes through C(text), which makes it harmless."""

from __future__ import annotations

import base64
import html
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..vault.jobs import COMPLETED, FAILED, SKIPPED, WITH_ERRORS, WITH_WARNINGS
from ..vault.text import one_line
from .style import STYLE

# Nothing is loaded and nothing runs, pictures are in the page itself, whatever would get into the page.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
# How a status looks: its colours, and a sign for those who do not see them.
_LOOKS = {
    COMPLETED: ("good", "\u2713"),
    WITH_WARNINGS: ("note", "!"),
    WITH_ERRORS: ("bad", "\u2717"),
    FAILED: ("bad", "\u2717"),
    SKIPPED: ("idle", "\u2013"),
}
_UNKNOWN = ("bad", "?")


def text(value: object) -> str:
    """Return a text from anywhere as one line of HTML, fit for elements and attributes in double quotes."""
    return html.escape(one_line(value), quote=True)


def name(value: object) -> str:
    """Return a name from anywhere. Letters that are written from the right do not turn around what is beside it."""
    return f"<bdi>{text(value)}</bdi>"


def look(status: str) -> tuple[str, str]:
    """Return the class and the sign of a status."""
    return _LOOKS.get(status, _UNKNOWN)


def badge(status: str, label: str | None = None) -> str:
    """Return a status as a badge with a sign and words."""
    kind, sign = look(status)
    return f'<span class="status {kind}"><span aria-hidden="true">{sign} </span>{text(label or status)}</span>'


def when(seconds: float) -> str:
    """Return a moment for people, in UTC."""
    machine = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
    return f'<time datetime="{machine}">{utc(seconds)}</time>'


def utc(seconds: float) -> str:
    """Return a moment as text, to the minute; pages say once that times are in UTC."""
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))


def day(seconds: float) -> str:
    """Return a day as text, in UTC."""
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def words(value: str) -> str:
    """Return a word of the programs, such as C(hot_clone), as people write it."""
    return text(value.replace("_", " "))


def picture(png: bytes, description: str) -> str:
    """Return a picture that is a part of the page."""
    data = base64.b64encode(png).decode("ascii")
    return f'<img src="data:image/png;base64,{data}" alt="{text(description)}">'


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Return a list of titles with their values, which are HTML already."""
    return "".join(
        ['<dl class="facts">', *(f"<div><dt>{title}</dt><dd>{value}</dd></div>" for title, value in pairs), "</dl>\n"]
    )


def notices(kind: str, items: Sequence[str]) -> str:
    """Return a list of what should be known (C(note)) or is bad (C(bad)); nothing for an empty one."""
    return f'<ul class="list {kind}">' + "".join(f"<li>{item}</li>" for item in items) + "</ul>\n" if items else ""


@dataclass(frozen=True)
class Column:
    """A column of a table: its title, and whether it holds numbers."""

    title: str
    number: bool = False


@dataclass(frozen=True)
class Row:
    """A row of a table: cells as HTML, the first is the name of what the row is about; paragraphs below them."""

    cells: Sequence[str]
    notes: Sequence[str] = ()


def table(caption: str, columns: Sequence[Column], rows: Iterable[Row]) -> str:
    """Return a table, which becomes a card for each row where there is little room.

    As such its elements are no table any more for the browser, so their roles are named.
    """
    heads = "".join(
        f'<th role="columnheader" scope="col"{_kind(column)}>{text(column.title)}</th>' for column in columns
    )
    parts = [
        f'<div class="wide"><table role="table" aria-label="{text(caption)}">',
        f'<thead role="rowgroup"><tr role="row">{heads}</tr></thead>\n',
    ]
    for row in rows:
        first, *others = row.cells
        cells = "".join(
            f'<td role="cell" data-title="{text(column.title)}"{_kind(column)}><span>{cell}</span></td>'
            for column, cell in zip(columns[1:], others)
        )
        parts.append(
            f'<tbody role="rowgroup"><tr role="row"><th role="rowheader" scope="row" class="name">{first}</th>'
        )
        parts.append(f"{cells}</tr>")
        if row.notes:
            below = "".join(f"<p>{note}</p>" for note in row.notes)
            parts.append(f'<tr role="row" class="notes"><td role="cell" colspan="{len(columns)}">{below}</td></tr>')
        parts.append("</tbody>\n")
    return "".join([*parts, "</table></div>\n"])


def page(title: str, body: Sequence[str], *, as_of: float) -> str:
    """Return a whole page that needs nothing else."""
    head = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        '<meta name="robots" content="noindex">',
        f"<title>{text(title)}</title>",
        f"<style>\n{STYLE}</style>",
        "</head>",
        "<body>",
    ]
    foot = f"<footer><p>As of {when(as_of)}. All times are in UTC. Made by ovm.backup.</p></footer>"
    return "\n".join([*head, *body, foot, "</body>", "</html>"]) + "\n"


def _kind(column: Column) -> str:
    return ' class="number"' if column.number else ""
