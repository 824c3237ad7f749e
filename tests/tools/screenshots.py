# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make the pictures of the documentation from a real run of the demonstration.

Usage: screenshots.py --build BUILD, with the staged collection on ANSIBLE_COLLECTIONS_PATH

What stands on the terminal is the output of that run, drawn by rich as SVG. Whole lines are left out, and a line with
an ellipsis says where; no line is changed. The reports are the pages of that run, as chromium shows them. The browser
has a network namespace of its own, with nothing in it.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "docsite" / "images"
LEFT_OUT = "…"
# As rich draws it, without the web fonts that it would let a browser fetch.
SVG = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: {char_height}px; \
line-height: {line_height}px; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, required=True)
    work: Path = parser.parse_args().build / "screenshots"
    browser = shutil.which("chromium")
    if browser is None:
        raise SystemExit("There is no chromium here: install the Debian package chromium")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    lines = demonstration(work / "demo")
    plan = between(lines, "ovm.backup.plan : Show the plan", "PLAY [Back up the VMs]")
    summary = between(lines, "ovm.backup.report : Show the job summary", "TASK [")
    recap = between(lines, "PLAY RECAP", "====")
    terminal("terminal_plan", "The plan of a run", [lines[0], LEFT_OUT, *paragraphs(plan, 3), LEFT_OUT])
    terminal("terminal_backup", "The end of a run", [lines[0], LEFT_OUT, *paragraphs(summary, 2), LEFT_OUT, "", *recap])
    reports = work / "demo" / "reports"
    # Three runs, in the order of their times: full, incremental, synthetic full.
    incremental = sorted(reports.glob("2*.html"))[1]
    for name, page, height in (("report_job", incremental, 1000), ("report_vault", reports / "index.html", 1000)):
        photograph(browser, work, page, IMAGES / f"{name}.png", height)
    return 0


def demonstration(directory: Path) -> list[str]:
    """Run the demonstration, and return what its second backup run printed, colours and all."""
    settings = {
        "KEEP": "1",
        "ANSIBLE_FORCE_COLOR": "1",
    }
    command = [sys.executable, str(ROOT / "tests" / "demo" / "run.py"), str(directory)]
    done = subprocess.run(
        command, env={**os.environ, **settings}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True
    )
    lines = done.stdout.splitlines()
    (start,) = (
        number for number, line in enumerate(lines) if line == "$ ansible-playbook ovm.backup.backup -e subclient=demo"
    )
    end = next(number for number in range(start, len(lines)) if lines[number].startswith("5. Restore"))
    return lines[start:end]


def between(lines: list[str], first: str, behind: str) -> list[str]:
    """Return the lines from the one that holds C(first) to the one before the next that holds C(behind)."""
    start = next(number for number, line in enumerate(lines) if first in line)
    end = next(number for number in range(start + 1, len(lines)) if behind in lines[number])
    while not lines[end - 1].strip():
        end -= 1
    return lines[start:end]


def paragraphs(lines: list[str], number: int) -> list[str]:
    """Return so many paragraphs of what a task shows; an empty text stands between two of them."""
    ends = [index for index, line in enumerate(lines) if without_colours(line).strip() == '"",']
    return lines[: ends[number - 1]]


def terminal(name: str, title: str, lines: list[str]) -> None:
    """Draw lines of a terminal."""
    for line in lines:
        if str(ROOT) in line or re.search(rf"\b{re.escape(platform.node())}\b(?!\w)", without_colours(line)):
            raise SystemExit(f"this line tells of the machine that it was made on: {line}")
    width = max(len(without_colours(line)) for line in lines)
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=width, file=nowhere, force_terminal=True, color_system="standard")
        for line in lines:
            console.print(Text.from_ansi(line.rstrip()), no_wrap=True)
    svg = console.export_svg(title=title, theme=DIMMED_MONOKAI, code_format=SVG, unique_id=name)
    (IMAGES / f"{name}.svg").write_text(svg + "\n", encoding="utf-8")


def without_colours(line: str) -> str:
    """Return the text of a line."""
    return re.sub(r"\x1b\[[0-9;]*m", "", line)


def photograph(browser: str, work: Path, page: Path, image: Path, height: int) -> None:
    """Write what the browser shows of a page."""
    for flag in ((), ("--map-root-user",)):
        alone = ["unshare", *flag, "--net"]
        if subprocess.run([*alone, "true"], check=False, stderr=subprocess.DEVNULL).returncode == 0:
            break
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={work / 'browser'}",
    ]
    options += [f"--window-size=1200,{height}", f"--screenshot={image}", page.as_uri()]
    subprocess.run([*alone, browser, *options], check=True, stderr=subprocess.DEVNULL, timeout=120)
    if not image.is_file():
        raise SystemExit(f"{browser} has made no {image.name}")


if __name__ == "__main__":
    sys.exit(main())
