# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Pictures of jobs over time, as SVG inside of the page. Colour is never the only sign: there are marks, too."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..vault.summary import format_bytes, format_seconds
from .markup import badge, day, look, text, utc, words

# The order in which the types are stacked, from below.
TYPES = ("full", "synthetic_full", "differential", "incremental")
_OTHER = "other"
# The coordinates are about pixels of a telephone, so that texts there keep their size.
_WIDTH, _HEIGHT = 360, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 6, 10, 36
_TICKS = 4
_BINARY_STEPS = [factor * 1024**power for power in range(7) for factor in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)]
_TIME_STEPS = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 43200]

# Used by all pictures of a page, so it stands there once.
HATCH = (
    '<svg aria-hidden="true" style="position:absolute;width:0;height:0"><defs><pattern id="hatch" width="6" height="6" '
    'patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path class="hatch" d="M0 0V6"/></pattern></defs>'
    "</svg>\n"
)

Job = Mapping[str, Any]


def job_pictures(jobs: Sequence[Job]) -> str:
    """Return the pictures of jobs, oldest first: what they stored, what they read, how long they took."""
    if not jobs:
        return ""
    legend = _legend(jobs)
    return "".join(
        [
            HATCH,
            '<div class="charts">\n',
            _bars("stored", "Stored in the vault by each job", jobs, "bytes_stored", legend),
            _bars("read", "Read from the disks by each job", jobs, "bytes_read", legend),
            _times(jobs),
            "</div>\n",
        ]
    )


def past(statuses: Sequence[str]) -> str:
    """Return the last statuses of a VM as a row of signs, the newest last."""
    if not statuses:
        return ""
    signs = "".join(f'<span class="{look(status)[0]}">{look(status)[1]}</span>' for status in statuses)
    label = text(f"Newest last: {', '.join(statuses)}")
    return f'<span class="past" role="img" aria-label="{label}" title="{label}">{signs}</span>'


def shares(job: Job, key: str) -> dict[str, int]:
    """Return the bytes of a job by the type of the recovery points."""
    found = dict.fromkeys((*TYPES, _OTHER), 0)
    for vm in job["vms"]:
        found[vm["type"] if vm["type"] in TYPES else _OTHER] += vm[key]
    return {kind: count for kind, count in found.items() if count}


def scale(largest: float, steps: Sequence[float]) -> tuple[float, list[float]]:
    """Return the upper end of an axis and its ticks from 0: at most five, on even values."""
    step = next((step for step in steps if step * _TICKS >= largest), steps[-1])
    count = max(1, math.ceil(largest / step))
    while count > _TICKS:
        step, count = step * 2, math.ceil(count / 2)
    return step * count, [step * number for number in range(count + 1)]


def _bars(ident: str, title: str, jobs: Sequence[Job], key: str, legend: str) -> str:
    top, ticks = scale(max(job[key] for job in jobs), _BINARY_STEPS)
    parts = []
    for number, job in enumerate(jobs):
        left, right = _slot(number, len(jobs))
        gap = min(3.0, (right - left) * 0.15)
        below = 0
        parts.append(f"<g><title>{_about(job)}: {text(format_bytes(job[key]))}</title>")
        for kind, count in shares(job, key).items():
            box = _box(left + gap, right - gap, _y(below + count, top), _y(below, top))
            parts.append(f'<rect class="{kind}" {box}/>')
            if kind == "synthetic_full":
                parts.append(f'<rect fill="url(#hatch)" {box}/>')
            below += count
        parts.append("</g>")
    told = _told(jobs, [job[key] for job in jobs], format_bytes)
    return _figure(ident, title, told, _axes(jobs, top, ticks, _bytes_label) + "".join(parts), legend)


def _times(jobs: Sequence[Job]) -> str:
    outages = [max((vm["outage"] or 0 for vm in job["vms"]), default=0) for job in jobs]
    durations = [max(0, job["duration"]) for job in jobs]
    top, ticks = scale(max([*durations, *outages]), _TIME_STEPS)
    parts = [_line("trace", durations, top)]
    legend = _key('<path class="trace" d="M0 6H18"/>', "duration")
    if any(outages):
        parts.append(_line("trace outage", outages, top))
        legend += _key('<path class="trace outage" d="M0 6H18"/>', "longest outage of a VM")
    for number, (job, value) in enumerate(zip(jobs, durations)):
        x = sum(_slot(number, len(jobs))) / 2
        note = f", longest outage {format_seconds(outages[number])}" if outages[number] else ""
        parts.append(f'<circle class="dot" cx="{x:.1f}" cy="{_y(value, top):.1f}" r="{_radius(len(jobs))}">')
        parts.append(f"<title>{_about(job)}: {text(format_seconds(value) + note)}</title></circle>")
    told = _told(jobs, durations, format_seconds)
    content = _axes(jobs, top, ticks, _seconds_label) + "".join(parts)
    return _figure("times", "Duration of each job", told, content, f'<ul class="legend">{legend}</ul>')


def _figure(ident: str, title: str, told: str, content: str, legend: str) -> str:
    return (
        f'<figure><figcaption>{text(title)}</figcaption><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-labelledby="{ident}-title {ident}-desc"><title id="{ident}-title">{text(title)}</title>'
        f'<desc id="{ident}-desc">{text(told)}</desc>{content}</svg>{legend}</figure>\n'
    )


def _axes(jobs: Sequence[Job], top: float, ticks: Sequence[float], label: Callable[[float], str]) -> str:
    parts = []
    for tick in ticks:
        y = _y(tick, top)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text(label(tick))}</text>')
    if len(jobs) <= 40:  # more signs would run into each other
        for number, job in enumerate(jobs):
            kind, sign = look(job["status"])
            x = sum(_slot(number, len(jobs))) / 2
            parts.append(f'<text class="mark {kind}" x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 14}">{sign}</text>')
    dates = [day(job["started"]) for job in jobs]
    y = _HEIGHT - 5
    parts.append(f'<text x="{_LEFT}" y="{y}">{dates[0]}</text>')
    if len(jobs) > 1:
        parts.append(f'<text x="{_WIDTH - _RIGHT}" y="{y}" text-anchor="end">{dates[-1]}</text>')
    return "".join(parts)


def _legend(jobs: Sequence[Job]) -> str:
    seen = {kind for job in jobs for key in ("bytes_stored", "bytes_read") for kind in shares(job, key)}
    items = []
    for kind in (*TYPES, _OTHER):
        if kind in seen:
            hatch = '<rect fill="url(#hatch)" width="18" height="12"/>' if kind == "synthetic_full" else ""
            items.append(_key(f'<rect class="{kind}" width="18" height="12"/>{hatch}', kind))
    return f'<ul class="legend">{"".join(items)}</ul>' if items else ""


def _key(shape: str, label: str) -> str:
    return f'<li><svg viewBox="0 0 18 12" aria-hidden="true">{shape}</svg>{words(label)}</li>'


def _line(kind: str, values: Sequence[float], top: float) -> str:
    points = [f"{sum(_slot(number, len(values))) / 2:.1f} {_y(value, top):.1f}" for number, value in enumerate(values)]
    return f'<path class="{kind}" d="M{"L".join(points)}"/>'


def _told(jobs: Sequence[Job], values: Sequence[float], form: Callable[[float], str]) -> str:
    """Return the picture in words."""
    if len(jobs) == 1:
        return f"One job, on {utc(jobs[0]['started'])}: {form(values[0])}."
    return (
        f"{len(jobs)} jobs from {utc(jobs[0]['started'])} to {utc(jobs[-1]['started'])}. "
        f"The newest: {form(values[-1])}, the largest: {form(max(values))}, the smallest: {form(min(values))}."
    )


def _about(job: Job) -> str:
    return text(f"{utc(job['started'])} {job['subclient']}, {job['status']}")


def _slot(number: int, count: int) -> tuple[float, float]:
    room = (_WIDTH - _LEFT - _RIGHT) / max(count, 6)  # a single job is not as wide as the picture
    return _LEFT + number * room, _LEFT + (number + 1) * room


def _y(value: float, top: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value / top


def _box(left: float, right: float, upper: float, lower: float) -> str:
    return f'x="{left:.1f}" y="{upper:.1f}" width="{right - left:.1f}" height="{max(lower - upper, 1):.1f}"'


def _radius(count: int) -> float:
    return 3.5 if count <= 15 else 2.5 if count <= 40 else 1.5


def _bytes_label(value: float) -> str:
    return "0" if not value else format_bytes(value).replace(".0 ", " ")


def _seconds_label(value: float) -> str:
    if not value:
        return "0"
    for unit, length in (("h", 3600), ("min", 60)):
        if value >= 2 * length:
            return f"{value / length:.1f} {unit}".replace(".0 ", " ")
    return f"{value:.0f} s"


def numbers(jobs: Sequence[Job]) -> list[tuple[str, str, str, str, str]]:
    """Return what the pictures show as cells: moment, status, stored, read, duration; the newest job first."""
    return [
        (
            utc(job["started"]),
            badge(job["status"]),
            format_bytes(job["bytes_stored"]),
            format_bytes(job["bytes_read"]),
            format_seconds(job["duration"]),
        )
        for job in reversed(jobs)
    ]
