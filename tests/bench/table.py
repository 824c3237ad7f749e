# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The results as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .targets import Numbers, Verdict

MIB = 1 << 20


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
        if operation.startswith("orchestration"):
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


def orchestration(numbers: Numbers) -> list[str]:
    """Return the cost per VM of runs in which nothing has changed."""
    rows = [["orchestration, per VM", "CPU s", "manager calls", "wall s in all"]]
    for operation, tools in numbers.items():
        if operation.startswith("orchestration"):
            for tool, values in tools.items():
                name = operation if tool == "ovm" else f"{operation}, {tool}"
                rows.append([name, f"{values['cpu']:.2f}", f"{values['calls']:.1f}", f"{values['wall']:.2f}"])
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
    text = [f"{name:15} {version}" for name, version in versions.items() if name not in missing]
    return text + [f"{name:15} MISSING: {' '.join(reason.split())[:300]}" for name, reason in missing.items()]
