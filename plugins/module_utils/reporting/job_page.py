# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The page on one job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..vault.boot_test_record import BootTest
from ..vault.jobs import FAILED, SKIPPED
from ..vault.summary import format_bytes, format_seconds, left_out
from ..vault.text import number_of
from ..vault.verification_record import Verification
from . import charts
from .markup import Column, Row, badge, facts, name, notices, page, table, text, utc, when, words

VM_COLUMNS = (
    Column("VM"),
    Column("Status"),
    Column("Method"),
    Column("Type"),
    Column("Read", number=True),
    Column("Stored", number=True),
    Column("Duration", number=True),
    Column("Outage", number=True),
    Column("Proxy"),
)
NUMBER_COLUMNS = (
    Column("Job"),
    Column("Status"),
    Column("Stored", number=True),
    Column("Read", number=True),
    Column("Duration", number=True),
)


def job_page(
    job: Mapping[str, Any],
    jobs: Sequence[Mapping[str, Any]],
    verified: Mapping[str, Verification | str],
    booted: Mapping[str, BootTest],
    *,
    generated_at: float,
) -> str:
    """Return the page on a job.

    C(jobs) are the last jobs of its subclient up to this one, oldest first, C(verified) what was found when the
    recovery points of this job were verified, or why that is not known, and C(booted) what their boot tests said, by
    client.
    """
    title = f"{job['subclient']}: {job['status']}, {utc(job['started'])}"
    rows = [_vm(vm, verified.get(vm["client"]), booted.get(vm["client"])) for vm in job["vms"]]
    body = [
        f"<header><h1>Backup of {name(job['subclient'])} {badge(job['status'])}</h1>",
        f"<p>{counted(job)}</p>",
        f'<p class="quiet">Job {text(job["id"])}</p></header>',
        "<main>",
        _facts(job),
        notices("bad", _failures(job)),
        notices("note", [text(warning) for warning in job["warnings"]]),
        f'<section aria-labelledby="past"><h2 id="past">{_span(jobs)}</h2>',
        charts.job_pictures(jobs),
        job_numbers(jobs),
        "</section>",
        '<section aria-labelledby="vms"><h2 id="vms">Virtual machines</h2>',
        table("Virtual machines", VM_COLUMNS, rows) if job["vms"] else "<p>The job had none.</p>",
        "</section>",
        "</main>",
    ]
    return page(title, body, as_of=generated_at)


def job_numbers(jobs: Sequence[Mapping[str, Any]]) -> str:
    """Return what the pictures show as a table that can be opened."""
    if not jobs:
        return ""
    rows = [Row(cells) for cells in charts.numbers(jobs)]
    return f"<details><summary>The pictures as numbers</summary>{table('Jobs', NUMBER_COLUMNS, rows)}</details>\n"


def counted(job: Mapping[str, Any]) -> str:
    """Return how many VMs there are, and how many have which status."""
    told = [f"{number} {text(status.lower())}" for status, number in job["counts"].items() if number]
    return f"{number_of(len(job['vms']), 'VM')}: {', '.join(told) or 'none'}"


def _span(jobs: Sequence[Mapping[str, Any]]) -> str:
    return f"The last {len(jobs)} jobs of this subclient" if len(jobs) > 1 else "The first job of this subclient"


def _facts(job: Mapping[str, Any]) -> str:
    outages = [vm["outage"] for vm in job["vms"] if vm["outage"] is not None]
    shown = [
        ("Started", when(job["started"])),
        ("Ended", when(job["finished"])),
        ("Duration", format_seconds(job["duration"])),
        ("Type asked for", words(job["requested_type"])),
        ("Read", format_bytes(job["bytes_read"])),
        ("Stored", format_bytes(job["bytes_stored"])),
    ]
    if outages:
        shown.append(("Longest outage", format_seconds(max(outages))))
    return facts(shown)


def _failures(job: Mapping[str, Any]) -> list[str]:
    return [
        f"<strong>{name(vm['vm_name'])}</strong>: {text(vm['reason'])}" for vm in job["vms"] if vm["status"] == FAILED
    ]


def _vm(vm: Mapping[str, Any], verified: Verification | str | None, booted: BootTest | None) -> Row:
    asked, done = vm["requested_type"], vm["type"]
    made = words(done) if done else "\u2013"
    # What was never to be backed up was not asked for in any type.
    if done != asked and vm["status"] != SKIPPED:
        made += f' <span class="quiet">{words(asked)} asked for</span>'
    notes = [text(vm["reason"])] if vm["reason"] else []
    for disk in left_out(vm):
        known = ", ".join(text(disk[key]) for key in ("name", "kind") if disk.get(key))
        notes.append(
            f"Disk in slot {disk['slot']}{f' ({known})' if known else ''} not backed up: {text(disk['reason'])}"
        )
    notes += [f"<strong>Warning:</strong> {text(warning)}" for warning in vm["warnings"]]
    if verified is not None:
        notes.append(_verification_note(verified))
    if booted is not None:
        told = f"The recovery point was started on {when(booted.tested_at)}: {text(booted.verdict)}"
        notes.append(f"{told}." if booted.ok else f"<strong>{told}</strong>")
    return Row(
        [
            f'{name(vm["vm_name"])} <span class="quiet">client {name(vm["client"])}</span>',
            badge(vm["status"]),
            words(vm["method"]),
            made,
            format_bytes(vm["bytes_read"]),
            format_bytes(vm["bytes_stored"]),
            format_seconds(vm["duration"]),
            format_seconds(vm["outage"]),
            text(vm["proxy"] or "\u2013"),
        ],
        notes,
    )


def _verification_note(found: Verification | str) -> str:
    """Return what a verification found as a sentence."""
    subject = "The recovery point"
    if isinstance(found, str):
        return f"<strong>{subject}:</strong> {text(found)}"
    if found.ok:
        return f"{subject} was verified on {when(found.verified_at)}: it is good."
    problems = "; ".join(text(problem) for problem in found.problems)
    return f"<strong>{subject} was verified on {when(found.verified_at)} and is damaged:</strong> {problems}"
