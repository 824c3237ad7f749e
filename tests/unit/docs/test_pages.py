# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The list of pages in the README, and what a page says of the tools of the tests."""

from __future__ import annotations

import re

import yaml

from tools.awx_collection import VERSION

from .conftest import ROOT, Documentation


def test_readme_has_a_line_for_each_page(documentation: Documentation) -> None:
    text = documentation.pages["README.md"]
    table = text[text.index("| guide | page |") :].split("\n\n")[0]
    listed = [name for line in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", line.split("|")[2])]
    sections = yaml.safe_load((ROOT / "docs" / "docsite" / "extra-docs.yml").read_text(encoding="utf-8"))["sections"]
    pages = [page for section in sections for page in section["toctree"]]
    assert sorted(listed) == sorted(pages)
    assert sorted(pages) == sorted(path.stem for path in ROOT.glob("docs/docsite/rst/*.rst"))


def test_guide_on_awx_names_the_version_that_is_tested(documentation: Documentation) -> None:
    assert re.findall(r"``awx\.awx`` ([\d.]+\d)", documentation.guide("guide_awx")) == [VERSION]
