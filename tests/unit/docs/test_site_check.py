# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A site that is not whole, or fetches something from elsewhere, is not passed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.site_check import problems_of

GUIDES = ["docsite/a.html", "docsite/b.html"]
PAGE = '<html><head><link rel="stylesheet" href="../s.css"></head><body><h1 id="top">A</h1>{}</body></html>'


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "docsite").mkdir()
    (tmp_path / "s.css").write_text("body { background: url(data:image/png;base64,AA) }", encoding="utf-8")
    (tmp_path / "searchindex.js").write_text(
        'Search.setIndex({"docnames":["docsite/a","docsite/b"]})', encoding="utf-8"
    )
    (tmp_path / "docsite" / "a.html").write_text(
        PAGE.format('<a href="b.html#top">b</a> <a href="#top">up</a> <a href="https://example.com/">away</a>'),
        encoding="utf-8",
    )
    (tmp_path / "docsite" / "b.html").write_text(PAGE.format(""), encoding="utf-8")
    return tmp_path


def test_whole_site_passes(site: Path) -> None:
    assert problems_of(site, GUIDES) == []


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('<a href="c.html">c</a>', "leads to c.html, which is not there"),
        ('<a href="a.html#nowhere">a</a>', "leads to a.html#nowhere: there is no such place on the page"),
        ('<img src="../_images/gone.png">', "leads to ../_images/gone.png, which is not there"),
        ('<script src="https://example.com/x.js"></script>', "fetches https://example.com/x.js"),
        ('<img src="//example.com/x.png">', "fetches //example.com/x.png"),
    ],
)
def test_what_is_wrong_with_a_page(site: Path, body: str, problem: str) -> None:
    (site / "docsite" / "b.html").write_text(PAGE.format(body), encoding="utf-8")
    assert problems_of(site, GUIDES) == [f"docsite/b.html: {problem}"]


def test_style_that_fetches(site: Path) -> None:
    (site / "s.css").write_text('@import "https://example.com/font.css";', encoding="utf-8")
    assert problems_of(site, GUIDES) == ["s.css: fetches https://example.com/font.css"]


def test_guide_that_is_missing_or_not_found_by_the_search(site: Path) -> None:
    (site / "searchindex.js").write_text('Search.setIndex({"docnames":["docsite/a"]})', encoding="utf-8")
    assert problems_of(site, [*GUIDES, "docsite/c.html"]) == [
        "docsite/c.html: there is no such page",
        "searchindex.js: docsite/b.html is not in it",
        "searchindex.js: docsite/c.html is not in it",
    ]
