# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The results as text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .targets import Numbers, Verdict

MIB = 1 << 20
_GROWTH = re.compile(r"(full|unchanged|changed)_(\d+[gm]ib)")  # operations of growth.py


def lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay out a table: the first row is the head, the first column is text, all others are numbers."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    text = []
    for number, row in enumerate(rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        text.append("  ".join(cells).rstrip())
        if not number:
            text.append("  ".join("-" * width for width in widths))
    return text


def mega(value: Any) -> str:
    """Return bytes in millions."""
    return "-" if value is None else f"{value / 1e6:,.1f}"


def operations(numbers: Numbers, processors: int) -> list[str]:
    """Return a table of all tools for each operation; the last column compares the wall with ours.

    C(busy) is the share of all C(processors) that worked meanwhile, for whomever.
    """
    text = []
    for operation, tools in numbers.items():
        if operation.startswith("orchestration") or _GROWTH.fullmatch(operation):
            continue
        ours = tools.get("ovm", {}).get("wall")
        rows = [[operation, "wall s", "CPU s", "busy", "RSS MiB", "read MB", "stored MB", "wall / ovm"]]
        for tool, values in tools.items():
            ratio = f"{values['wall'] / ours:.2f}" if ours else "-"
            rows.append(
                [
                    tool,
                    f"{values['wall']:.2f}",
                    f"{values['cpu']:.2f}",
                    f"{values['busy'] / values['wall'] / processors:.0%}",
                    f"{values['rss'] / MIB:.0f}",
                    mega(values.get("read")),
                    mega(values.get("stored")),
                    ratio,
                ]
            )
        text += ["", *lines(rows)]
    return text


def growth(numbers: Numbers) -> list[str]:
    """Return what disks of several sizes cost, a line for each size."""
    sizes: dict[str, dict[str, Mapping[str, Any]]] = {}
    for operation, tools in numbers.items():
        match = _GROWTH.fullmatch(operation)
        if match:
            sizes.setdefault(match[2], {})[match[1]] = tools["ovm"]
    rows = [["disk", "full: wall s", "CPU s", "unchanged: wall s", "CPU s", "1 % changed: wall s", "CPU s", "read MB"]]
    for size, kinds in sizes.items():
        costs = [f"{kinds[kind][cost]:.2f}" for kind in ("full", "unchanged", "changed") for cost in ("wall", "cpu")]
        rows.append([size, *costs, mega(kinds["changed"].get("read"))])
    return ["", *lines(rows)] if sizes else []


def orchestration(numbers: Numbers) -> list[str]:
    """Return the cost per VM of runs in which nothing has changed."""
    rows = [["VMs", "CPU s per VM", "calls per VM", "wall s in all"]]
    for operation, tools in numbers.items():
        if operation.startswith("orchestration"):
            for tool, values in tools.items():
                name = operation.split("_")[1] + ("" if tool == "ovm" else f", {tool}")
                calls = f"{values['calls']:.1f}" if values["calls"] else "-"
                rows.append([name, f"{values['cpu']:.2f}", calls, f"{values['wall']:.1f}"])
    return ["", *lines(rows)] if len(rows) > 1 else []


def targets(verdicts: Iterable[Verdict]) -> list[str]:
    """Return the table of targets; reasons of what was not measured come below it."""
    rows = [["target", "wanted", "measured", "verdict"]]
    reasons: dict[str, None] = {}
    for verdict in verdicts:
        target = verdict.target
        unit = f" {target.unit}" if target.unit else ""
        measured = "-" if verdict.measured is None else f"{verdict.measured:.3g}{unit}"
        rows.append([f"{target.operation}: {target.what}", f"<= {target.limit:g}{unit}", measured, verdict.word])
        if verdict.reason:
            reasons[verdict.reason] = None
    return ["", *lines(rows), *(f"not measured: {reason}" for reason in reasons)]


def tools(versions: Mapping[str, str], missing: Mapping[str, str]) -> list[str]:
    """Return which tools were measured, and which were not."""
    said = {name: version for name, version in versions.items() if name not in missing}
    said.update({name: f"MISSING: {' '.join(reason.split())[:300]}" for name, reason in missing.items()})
    width = max(map(len, said), default=0)
    return [f"{name:{width}}  {words}" for name, words in said.items()]
