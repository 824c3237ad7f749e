# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The page on a whole vault: how well each VM is protected, and the jobs over time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from ..planning.durations import format_duration
from ..vault.jobs import COMPLETED, FAILED, WITH_WARNINGS
from ..vault.summary import format_bytes, format_seconds
from . import charts
from .boot_tests import boot_tests, failed_boot_test
from .history import ClientHistory, History
from .job_page import counted
from .markup import Column, Row, badge, facts, name, notices, page, table, text, when, words

CLIENT_COLUMNS = (
    Column("VM"),
    Column("Newest good point"),
    Column("Age", number=True),
    Column("Type"),
    Column("Points", number=True),
    Column("Stored", number=True),
    Column("Last jobs"),
    Column("Verified"),
    Column("Subclients"),
)
JOB_COLUMNS = (
    Column("Job"),
    Column("Status"),
    Column("Type asked for"),
    Column("VMs"),
    Column("Read", number=True),
    Column("Stored", number=True),
    Column("Duration", number=True),
)
_RESULTS = 10  # of a VM, shown as signs


def vault_page(
    history: History, *, subclient: str | None, shown: int, pages: Collection[str], generated_at: float
) -> str:
    """Return the page on a vault, or on one subclient of it.

    C(shown) is how many jobs are shown, C(pages) the ids of those that have a page beside this one.
    """
    jobs = history.jobs[-shown:]
    title = "Backups" if subclient is None else f"Backups of {subclient}"
    heading = "Backups" if subclient is None else f"Backups of {name(subclient)}"
    body = [
        f"<header><h1>{heading}</h1></header>",
        "<main>",
        _facts(history),
        notices("bad", _alarms(history)),
        '<section aria-labelledby="newest"><h2 id="newest">Newest job of each subclient</h2>',
        _jobs("Newest jobs", list(history.newest_jobs.values()), pages),
        "</section>",
        '<section aria-labelledby="clients"><h2 id="clients">Virtual machines</h2>',
        table("Virtual machines", CLIENT_COLUMNS, [_client(client, generated_at) for client in history.clients])
        if history.clients
        else "<p>The vault has none yet.</p>",
        "</section>",
        boot_tests(history.clients),
        f'<section aria-labelledby="jobs"><h2 id="jobs">The last {len(jobs)} jobs</h2>',
        charts.job_pictures(jobs),
        _jobs("Jobs", jobs[::-1], pages),
        "</section>",
        "</main>",
    ]
    return page(title, body, as_of=generated_at)


def _facts(history: History) -> str:
    covered = sum(client.good is not None for client in history.clients)
    return facts(
        [
            ("Virtual machines", str(len(history.clients))),
            ("With a good recovery point", str(covered)),
            ("Recovery points", str(sum(client.points for client in history.clients))),
            ("Space in the vault", format_bytes(sum(client.stored for client in history.clients))),
        ]
    )


def _alarms(history: History) -> list[str]:
    """Return what needs somebody: VMs that failed or have no good point, damage, records that cannot be read."""
    found = []
    for client in history.clients:
        failed = [
            text(run.subclient)
            for run in (client.newest_run(subclient) for subclient in client.selected)
            if run is not None and run.vm["status"] == FAILED
        ]
        told = [f"failed in the newest job of {', '.join(failed)}"] if failed else []
        if client.unprotected:
            told.append("has no good recovery point")
        elif client.problems:
            told.append("has damaged recovery points")
        if failed_boot_test(client):
            told.append("did not come up in its newest boot test")
        if told:
            found.append(f"<strong>{name(client.vm_name)}</strong> {' and '.join(told)}")
    return [*found, *(f"The record of job {text(bad.id)} cannot be used: {text(bad.error)}" for bad in history.damaged)]


def _client(client: ClientHistory, now: float) -> Row:
    good = client.good
    results = [run.vm["status"] for run in client.runs[-_RESULTS:]]
    notes = [f"<strong>{text(problem)}</strong>" for problem in client.problems]
    newest = client.newest_run()
    if newest is not None and newest.vm["status"] not in (COMPLETED, WITH_WARNINGS):
        notes.append(f"{badge(newest.vm['status'])} {text(newest.vm['reason'])}")
    notes += [text(detail) for detail in _details(client)]
    return Row(
        [
            f'{name(client.vm_name)} <span class="quiet">client {name(client.client)}</span>',
            when(good.created) if good is not None else badge(FAILED, "none") if client.unprotected else "none",
            # A clock that was ahead must not show as an age.
            format_duration(max(0.0, now - good.created)) if good is not None else "\u2013",
            words(good.type) if good is not None else "\u2013",
            str(client.points),
            format_bytes(client.stored),
            charts.past(results) or "\u2013",
            _verified(client),
            ", ".join(name(subclient) for subclient in client.subclients) or "\u2013",
        ],
        notes,
    )


def _details(client: ClientHistory) -> list[str]:
    """Return what verifications found besides the problems that the client has by them."""
    found = [problem for _point_id, result in client.verified for problem in result.problems]
    fresh = [problem for problem in found if not any(problem.message in told for told in client.problems)]
    return list(dict.fromkeys(map(str, fresh)))


def _verified(client: ClientHistory) -> str:
    if client.verified_at is None:
        return "never"
    kind, label = (FAILED, "damaged") if client.bad else (COMPLETED, "good")
    return f"{badge(kind, label)} {when(client.verified_at)}"


def _jobs(caption: str, jobs: Sequence[dict[str, Any]], pages: Collection[str]) -> str:
    return table(caption, JOB_COLUMNS, [_job(job, job["id"] in pages) for job in jobs]) if jobs else "<p>None yet.</p>"


def _job(job: dict[str, Any], has_page: bool) -> Row:
    moment = when(job["started"])
    if has_page:
        moment = f'<a href="{text(job["id"])}.html">{moment}</a>'
    return Row(
        [
            f'{moment} <span class="quiet">{name(job["subclient"])}</span>',
            badge(job["status"]),
            words(job["requested_type"]),
            counted(job),
            format_bytes(job["bytes_read"]),
            format_bytes(job["bytes_stored"]),
            format_seconds(job["duration"]),
        ]
    )
