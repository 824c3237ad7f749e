# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check a rendered site: it is whole, its search knows every guide, and it fetches nothing from elsewhere."""

from __future__ import annotations

import html.parser
import json
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

# The attributes that make a browser fetch something by itself; <a href> leads elsewhere only when somebody follows it.
_FETCHED = {("img", "src"), ("script", "src"), ("link", "href"), ("iframe", "src"), ("source", "srcset")}
# A link element that only tells something about the page.
_TOLD = {"canonical", "index", "search", "next", "prev", "author", "copyright"}
_STYLE = re.compile(r"(?:url\(|@import)\s*['\"]?((?:https?:)?//[^'\")\s]+)")


class _Page(html.parser.HTMLParser):
    """What a page refers to and the places in it that can be referred to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[tuple[str, bool]] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the addresses of an element, and whether a browser fetches them by itself."""
        found = {name: value for name, value in attrs if value}
        self.places.update(value for name, value in found.items() if name in ("id", "name"))
        told = tag == "link" and found.get("rel") in _TOLD
        for name in ("href", "src", "srcset"):
            if name in found:
                self.links.append((found[name], (tag, name) in _FETCHED and not told))


def problems_of(site: Path, guides: Iterable[str]) -> list[str]:
    """Return what is wrong with a site that has the pages of these guides."""
    pages = {
        str(path.relative_to(site)): _Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))
    }
    found = [f"{name}: there is no such page" for name in guides if name not in pages]
    for name, page in pages.items():
        found += [
            f"{name}: {problem}"
            for link, fetched in page.links
            if (problem := _wrong(site, pages, name, link, fetched))
        ]
    for style in sorted(site.rglob("*.css")):
        found += [f"{style.relative_to(site)}: fetches {link}" for link in _STYLE.findall(style.read_text("utf-8"))]
    return found + _search_problems(site, guides)


def _wrong(site: Path, pages: dict[str, _Page], name: str, link: str, fetched: bool) -> str | None:
    address = urlsplit(link)
    if address.scheme or address.netloc:
        return f"fetches {link}" if fetched and address.scheme != "data" else None
    # A link to a place in the page itself has no path.
    target = (site / name).parent / unquote(address.path) if address.path else site / name
    if not target.is_file():
        return f"leads to {link}, which is not there"
    page = pages.get(str(target.resolve().relative_to(site.resolve())))
    if page and address.fragment and unquote(address.fragment) not in page.places:
        return f"leads to {link}: there is no such place on the page"
    return None


def _search_problems(site: Path, guides: Iterable[str]) -> list[str]:
    """Return what the search would not find. Its index is a script, so it works where pages are files, too."""
    text = (site / "searchindex.js").read_text(encoding="utf-8")
    index = re.fullmatch(r"Search\.setIndex\((.*)\)\s*;?\s*", text, re.DOTALL)
    if index is None:
        return ["searchindex.js: not of the form that this program knows"]
    known = {f"{name}.html" for name in json.loads(index[1])["docnames"]}
    return [f"searchindex.js: {name} is not in it" for name in guides if name not in known]
