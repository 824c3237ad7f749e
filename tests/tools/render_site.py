# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Render the documentation site: front page, guides by topic, modules, roles and plugins. Warnings are failures.

Usage: render_site.py --build BUILD, with the staged collection on ANSIBLE_COLLECTIONS_PATH

antsibull-docs writes the pages of modules, roles and plugins, and an index of all. That index becomes the page
"Modules, roles and plugins"; the front page is docs/docsite/front.rst, with the guides in the sections of
docs/docsite/extra-docs.yml. In the end every page is read once more: what it refers to is in the site.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tools.site_check import problems_of

SETTINGS = Path(__file__).with_name("site")
DOCSITE = Path(__file__).resolve().parents[2] / "docs" / "docsite"
REFERENCE = "Modules, roles and plugins"
WITH_REFERENCE = "Reference"  # the section of the guides that the page above belongs to
_PLUGINS = ".. _plugin_index_for_ovm.backup:\n"


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, required=True)
    build: Path = parser.parse_args().build
    sources, cache, site = build / "cache" / "site" / "rst", build / "cache" / "site" / "trees", build / "site"
    shutil.rmtree(sources, ignore_errors=True)
    # antsibull-docs insists on a directory that nobody else can write to.
    sources.parent.mkdir(parents=True, exist_ok=True)
    sources.mkdir(mode=0o700)
    antsibull = ["antsibull-docs", "--config-file", str(SETTINGS / "antsibull-docs.cfg"), "collection"]
    antsibull += ["--use-current", "--squash-hierarchy", "--fail-on-error", "--cleanup", "everything"]
    done = subprocess.run([*antsibull, "--dest-dir", str(sources), "ovm.backup"], check=False)
    if done.returncode:
        return done.returncode
    index = sources / "index.rst"
    (sources / "reference.rst").write_text(reference_page(index.read_text(encoding="utf-8")), encoding="utf-8")
    sections = yaml.safe_load((DOCSITE / "extra-docs.yml").read_text(encoding="utf-8"))["sections"]
    front = (DOCSITE / "front.rst").read_text(encoding="utf-8")
    index.write_text(front + "".join(map(toctree, sections)), encoding="utf-8")
    shutil.copytree(DOCSITE / "images", sources / "images")
    # Pages of guides that were removed would stay otherwise.
    shutil.rmtree(site, ignore_errors=True)
    sphinx = ["sphinx-build", "-q", "-W", "--keep-going", "-b", "html", "-c", str(SETTINGS), "-d", str(cache)]
    done = subprocess.run([*sphinx, str(sources), str(site)], check=False)
    if done.returncode:
        return done.returncode
    problems = problems_of(site, [f"docsite/{name}.html" for section in sections for name in section["toctree"]])
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"Documentation: {site / 'index.html'}")
    return 1 if problems else 0


def reference_page(index: str) -> str:
    """Return the page with all modules, roles and plugins, made from antsibull's index of the collection."""
    label, _guides = index.split("\n", 1)
    _before, mark, plugins = index.partition(_PLUGINS)
    if not mark or not label.startswith(".. _plugins_in_"):
        raise SystemExit("the index that antsibull-docs writes has another shape than this program knows")
    return f"{label}\n\n{REFERENCE}\n{'=' * len(REFERENCE)}\n\n{mark}{plugins}"


def toctree(section: dict[str, Any]) -> str:
    """Return the links to the guides of a section, which also make the navigation on the left."""
    title = section["title"]
    pages = [f"docsite/{name}" for name in section["toctree"]]
    if title == WITH_REFERENCE:
        pages.append("reference")
    lines = "".join(f"   {page}\n" for page in pages)
    return f"\n{title}\n{'-' * len(title)}\n\n.. toctree::\n   :maxdepth: 1\n   :caption: {title}\n\n{lines}"


if __name__ == "__main__":
    sys.exit(main())
