# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pages, as a parser reads them: what is told, that nothing is loaded, that names from outside do no harm."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from unit.reporting.builders import (
    DAMAGE,
    DAY,
    GIB,
    HOSTILE,
    MIB,
    MOMENT,
    PHYSICAL,
    TOLD,
    add_client,
    add_job,
    job_id,
    made,
    planned,
    verify,
)
from unit.vault.builders import fail_to_read

from ansible_collections.ovm.backup.plugins.module_utils.reporting.report import ReportRequest, make_report
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Vault

VOID = {"meta", "br", "link", "img", "input", "hr", "rect", "path"}
# What can load, run or send something.
LOADING = {"script", "link", "img", "iframe", "object", "embed", "form", "base", "audio", "video", "image", "use"}
SHOWN = "<script>alert('x')</script> \"&\\ \ufffdgnp.exe"  # what is left of HOSTILE


class Page(HTMLParser):
    """A page in parts: tables as cells by their titles, texts of elements by class, all attributes."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[tuple[str, str]] = []
        self.rows: list[dict[str, str]] = []
        self.feed(html)
        self.close()
        assert self.open == [], "elements that are not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        known = dict(attrs)
        if tag == "tbody":
            self.rows.append({})
        elif tag in ("td", "th") and "thead" not in self.open:
            title = known.get("data-title") or ("notes" if tag == "td" else "name")
            self.rows[-1][title] = ""
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))
        if "tbody" in self.open and self.rows[-1]:
            title = list(self.rows[-1])[-1]
            self.rows[-1][title] += data

    def text(self, *tags: str) -> str:
        """Return the text of elements of some kinds, or of the whole body."""
        found = [data for tag, data in self.texts if (tag in tags if tags else tag not in ("style", "title", "desc"))]
        return " ".join(" ".join(found).split())

    def row(self, name: str) -> dict[str, str]:
        """Return the row whose name begins so."""
        [found] = [row for row in self.rows if row["name"].startswith(name)]
        return {title: " ".join(cell.split()) for title, cell in found.items()}


def page_of(vault: Vault, job: str | None = None, **options: Any) -> Page:
    """Return a page, made twice to see that it is the same."""
    request = ReportRequest("html", job, **{"dest": "/nowhere/index.html", **options})
    html = make_report(vault, request).text
    assert make_report(vault, request).text == html
    parsed = Page(html)
    check_harmless(html, parsed)
    return parsed


def check_harmless(html: str, parsed: Page) -> None:
    """Assert that a page is whole, loads and runs nothing, and holds no sign that breaks lines or turns them around."""
    assert html.startswith('<!DOCTYPE html>\n<html lang="en">') and html.endswith("</html>\n")
    assert not LOADING & set(parsed.tags)
    contents = [value for tag, name, value in parsed.attributes if (tag, name) == ("meta", "content")]
    assert contents[0].startswith("default-src 'none'; style-src 'unsafe-inline';")
    for tag, name, value in parsed.attributes:
        assert not name.startswith("on"), f"{tag} has {name}"
        if name in ("href", "src"):
            assert re.fullmatch(r"[0-9TZa-f-]+\.html", value), value
    assert re.findall(r"(?:https?:)?//\w|@import|url\((?!#)", html) == []
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f\x7f]", html)
    ids = [value for _tag, name, value in parsed.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    for _tag, name, value in parsed.attributes:
        if name == "aria-labelledby":
            assert set(value.split()) <= set(ids)


# --- the page on a job -----------------------------------------------------------------------------------------------


@pytest.fixture
def night(vault: Vault) -> dict[str, Any]:
    """A job with VMs of every kind."""
    swap = {"slot": 2, "name": "swap", "kind": "virtual", "reason": "taken out by exclude.disks[0]"}
    return add_job(
        vault,
        0,
        (planned("db01"), {"point": made(read=7 * GIB, stored=3 * GIB), "finished": MOMENT + 186}),
        (
            planned("files 01", "files_01", method="shutdown"),
            {
                "point": made("incremental", 2 * GIB, 5 * MIB, method="shutdown", consistency="consistent"),
                "stopped_at": MOMENT + 5,
                "running_at": MOMENT + 135,
            },
        ),
        (planned("rac01", skipped_disks=[PHYSICAL, swap], warnings=[TOLD]), {"point": made()}),
        (planned(HOSTILE, "hostile"), {"failure": f"Cannot open {HOSTILE}"}),
        (planned("template", action="skip", method="skip", reason="templates are not backed up"), {}),
        warnings=["the rule content[0].rules[1] matches nothing"],
        subclient="nightly <b>",
    )


def test_job(vault: Vault, night: dict[str, Any]) -> None:
    shown = page_of(vault, night["id"])
    text = shown.text()
    assert "Backup of nightly <b> ✗ Completed with errors" in text
    assert f"5 VMs: 2 completed, 1 completed with warnings, 1 failed, 1 skipped Job {job_id()}" in text
    for fact in (
        "Started 2026-11-23 01:02", "Ended 2026-11-23 01:12", "Duration 10 min 00 s", "Type asked for incremental",
        "Read 9.0 GiB", "Stored 3.0 GiB", "Longest outage 2 min 10 s", "the rule content[0].rules[1] matches nothing",
        f"{SHOWN} : Cannot open {SHOWN}", "The first job of this subclient",
        "As of 2026-11-23 01:12 . All times are in UTC.",
    ):  # fmt: skip
        assert fact in text
    assert shown.text("title").startswith("nightly <b>: Completed with errors, 2026-11-23 01:02")
    assert shown.row("db01") == {
        "name": "db01 client db01",
        "Status": "✓ Completed",
        "Method": "hot clone",
        "Type": "full incremental asked for",
        "Read": "7.0 GiB",
        "Stored": "3.0 GiB",
        "Duration": "3 min 05 s",
        "Outage": "-",
        "Proxy": "proxy1",
        "notes": "first backup of this VM",
    }
    files = shown.row("files 01")
    assert (files["name"], files["Method"], files["Outage"]) == ("files 01 client files_01", "shutdown", "2 min 10 s")
    assert (files["Type"], files["Stored"]) == ("incremental", "5.0 MiB")
    rac = shown.row("rac01")
    assert rac["Status"] == "! Completed with warnings"
    assert f"Warning: {TOLD}" in rac["notes"]
    assert "Disk in slot 2 (swap, virtual) not backed up: taken out by exclude.disks[0]" in rac["notes"]
    failed = shown.row(SHOWN)
    assert (failed["Status"], failed["Type"]) == ("✗ Failed", "– incremental asked for")
    template = shown.row("template")
    assert (template["Status"], template["Type"], template["notes"]) == (
        "– Skipped", "–", "templates are not backed up",
    )  # fmt: skip


def test_job_without_vms(vault: Vault) -> None:
    text = page_of(vault, add_job(vault, 0)["id"]).text()
    assert "0 VMs: none" in text
    assert "The job had none." in text


def test_what_a_verification_found(vault: Vault) -> None:
    directory = Path(vault.path)
    (good, [first]), (bad, [second]) = add_client(directory, "good01"), add_client(directory, "bad01")
    verify(good, first)
    verify(bad, second, problem=f"file {HOSTILE}")
    unknown, [third] = add_client(directory, "unknown01")
    verify(unknown, third).write_text("{}")
    vms = [(planned(client.name), {"point": made(id=first.id)}) for client in (good, bad, unknown)]
    vms.append((planned("odd01", "../odd"), {"point": made(id="../../x")}))
    shown = page_of(vault, add_job(vault, 0, *vms)["id"])
    assert "was verified on 2026-11-24 01:02 : it is good" in shown.row("good01")["notes"].replace("02:", "02 :")
    notes = shown.row("bad01")["notes"]
    assert "and is damaged:" in notes and notes.endswith(f"{second.disks[0].file}: file {SHOWN}")
    assert not any("verified" in shown.row(vm)["notes"] for vm in ("unknown01", "odd01"))


def test_verification_that_cannot_be_read_now(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    client, [point] = add_client(Path(vault.path), "db01")
    path = verify(client, point)
    fail_to_read(monkeypatch, "verification.json")
    job = add_job(vault, 0, (planned("db01"), {"point": made(id=point.id)}))
    why = f"it is not known whether it is in order: Cannot read {path}: Connection timed out"
    assert page_of(vault, job["id"]).row("db01")["notes"].endswith(f"The recovery point: {why}")


def test_pictures(vault: Vault) -> None:
    for number in range(5):
        kind = ("full", "synthetic_full", "differential", "incremental", "a later type")[number]
        outage = {"stopped_at": MOMENT, "running_at": MOMENT + 90} if number == 3 else {}
        add_job(vault, number, (planned("db01"), {"point": made(kind, 5 * GIB, (number + 1) * GIB), **outage}),
                duration=600.0 * (number + 1))  # fmt: skip
    add_job(vault, 2, (planned("db01"), {"point": made()}), subclient="other", job_id=job_id(2)[:-1] + "f")
    shown = page_of(vault, job_id(3))
    assert "The last 4 jobs of this subclient" in shown.text()
    assert shown.text("desc") == (
        "4 jobs from 2026-11-23 01:02 to 2026-11-26 01:02. The newest: 4.0 GiB, the largest: 4.0 GiB, the smallest: "
        "1.0 GiB. "
        "4 jobs from 2026-11-23 01:02 to 2026-11-26 01:02. The newest: 5.0 GiB, the largest: 5.0 GiB, the smallest: "
        "5.0 GiB. "
        "4 jobs from 2026-11-23 01:02 to 2026-11-26 01:02. The newest: 40 min 00 s, the largest: 40 min 00 s, the "
        "smallest: 10 min 00 s."
    )
    bars = [value for tag, name, value in shown.attributes if (tag, name) == ("rect", "class")]
    # Two pictures and the legend of each.
    assert sorted(bars) == sorted(["full", "synthetic_full", "differential", "incremental"] * 4)
    assert "longest outage of a VM" in shown.text()
    assert "2026-11-26 01:02 nightly, Completed: 40 min 00 s, longest outage 1 min 30 s" in shown.text("title")
    numbers = [row for row in shown.rows if row["name"] == "2026-11-24 01:02"]
    assert [{**row, "Status": row["Status"].strip()} for row in numbers] == [
        {
            "name": "2026-11-24 01:02",
            "Status": "✓ Completed",
            "Stored": "2.0 GiB",
            "Read": "5.0 GiB",
            "Duration": "20 min 00 s",
        }
    ]
    assert "other" in page_of(vault, job_id(4)).text()  # in the legend
    assert "The last 2 jobs" in page_of(vault, job_id(3), jobs=2).text()


# --- the page on a vault ---------------------------------------------------------------------------------------------


def test_vault(vault: Vault, tmp_path: Path) -> None:
    directory = Path(vault.path)
    db01, points = add_client(directory, "db01", points=2)
    verify(db01, points[1])
    bad01, bad = add_client(directory, "bad01")
    verify(bad01, bad[0], problem=DAMAGE)
    add_client(directory, "gone01")
    fine, failed = {"point": made()}, {"failure": "the vault is full"}
    template = (planned("template", action="skip", method="skip", reason="templates are not backed up"), {})
    add_job(vault, 0, (planned("db01"), failed), (planned("gone01"), fine), template)
    add_job(
        vault, 1, (planned("db01"), fine), (planned(HOSTILE, "hostile"), failed), (planned("bad01"), fine), template
    )
    add_job(vault, 2, (planned("db01"), fine), subclient="gold")
    (directory / "jobs" / f"{job_id(3)}.json").write_text("{")
    (tmp_path / "html").mkdir()
    for name in (f"{job_id(1)}.html", f"{job_id(0)}.json", "index.html"):
        (tmp_path / "html" / name).touch()
    shown = page_of(vault, dest=str(tmp_path / "html" / "index.html"))
    text = shown.text()
    for fact in (
        "Virtual machines 5", "With a good recovery point 2", "Recovery points 4", "bad01 has no good recovery point",
        f"{SHOWN} failed in the newest job of nightly and has no good recovery point",
        f"The record of job {job_id(3)} cannot be used: {directory}/jobs/{job_id(3)}.json is damaged",
        "The last 3 jobs", "As of 2026-11-25 01:12",
    ):  # fmt: skip
        assert fact in text
    assert shown.row("db01") == {
        "name": "db01 client db01",
        "Newest good point": "2026-11-24 01:02",
        "Age": "1 d",
        "Type": "incremental",
        "Points": "2",
        "Stored": f"{sum(point.stored for point in points) / 1024:.1f} KiB",
        "Last jobs": "✗✓✓",
        "Verified": "✓ good 2026-11-24 01:02",
        "Subclients": "gold, nightly",
    }
    assert shown.row("bad01")["Newest good point"] == "✗ none"
    assert shown.row("bad01")["notes"] == (f"recovery point {bad[0].id} was found bad by a verification: {DAMAGE}")
    assert shown.row("template")["Newest good point"] == "none"
    assert shown.row("template")["notes"] == "– Skipped templates are not backed up"
    assert (shown.row("gone01")["Last jobs"], shown.row("gone01")["Subclients"]) == ("✓", "nightly")
    links = [value for tag, name, value in shown.attributes if (tag, name) == ("a", "href")]
    assert links == [f"{job_id(1)}.html"] * 2  # among the newest jobs, and among all
    gold = page_of(vault, subclient="gold")
    assert "Backups of gold" in gold.text("h1", "bdi")
    assert [row["name"] for row in gold.rows if "Points" in row] == ["db01 client db01"]


def test_vault_with_nothing_in_it(vault: Vault) -> None:
    text = page_of(vault).text()
    assert "The vault has none yet." in text
    assert "None yet." in text
    assert "As of 1970-01-01 00:00" in text  # the clock that the vault was made with


def test_a_point_from_the_future_has_no_negative_age(vault: Vault) -> None:
    add_client(Path(vault.path), "db01", created=MOMENT + 9 * DAY)
    add_job(vault, 0, (planned("db01"), {"point": made()}))
    assert page_of(vault).row("db01")["Age"] == "0 s"
