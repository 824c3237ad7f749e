# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which report is made of what, the documents for programs, the axes of the pictures, and the files."""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from unit.reporting.builders import DAMAGE, DAY, MIB, MOMENT, add_client, add_job, job_id, made, planned, verify
from unit.vault.builders import fail_to_read

from ansible_collections.ovm.backup.plugins.module_utils.errors import (
    CorruptVaultError,
    InvalidInputError,
    OvmBackupError,
    PointNotFoundError,
    ReportError,
)
from ansible_collections.ovm.backup.plugins.module_utils.reporting import charts, files
from ansible_collections.ovm.backup.plugins.module_utils.reporting.report import Report, ReportRequest, make_report
from ansible_collections.ovm.backup.plugins.module_utils.vault.jobs import JobStore, new_job
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Vault


def night(vault: Vault, number: int, **changes: Any) -> dict[str, Any]:
    return add_job(vault, number, (planned("db01"), {"point": made(read=5 * MIB, stored=MIB)}), **changes)


def report(vault: Vault, job: str | None = None, subclient: str | None = None, **options: Any) -> Report:
    return make_report(vault, ReportRequest("json", job, subclient, **options))


def refusal(vault: Vault, *arguments: Any, **options: Any) -> OvmBackupError:
    with pytest.raises(OvmBackupError) as failure:
        make_report(vault, ReportRequest(*arguments, **options))
    return failure.value


def test_latest_may_be_one_that_cannot_be_read_now(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [night(vault, number)["id"] for number in range(2)]
    fail_to_read(monkeypatch, f"{jobs[1]}.json")
    failure = refusal(vault, "json", "latest")
    assert not isinstance(failure, CorruptVaultError)
    assert failure.message == f"Cannot read {vault.path}/jobs/{jobs[1]}.json: Connection timed out"
    assert report(vault, jobs[0]).job_id == jobs[0]
    [bad] = (report(vault).document or {})["damaged_jobs"]
    assert bad == {"id": jobs[1], "problem": failure.message}


# --- documents -------------------------------------------------------------------------------------------------------


def test_document_of_a_job(vault: Vault) -> None:
    job = night(vault, 0)
    found = report(vault, job["id"])
    summary = {key: value for key, value in job.items() if key not in ("vms", "state")}
    assert found.document == {
        "format": "ovm.backup job report",
        "version": 1,
        "generated_at": "2026-11-23T01:12:03Z",
        "vault_id": vault.id,
        "job": summary,
        "vms": job["vms"],
    }
    assert set(summary) == {
        "id", "subclient", "requested_type", "status", "started", "finished", "duration", "counts", "bytes_read",
        "bytes_stored", "warnings",
    }  # fmt: skip
    assert found.job_id == job["id"]
    assert json.loads(found.text) == found.document
    assert report(vault, job["id"]) == found


def test_document_of_a_vault(vault: Vault) -> None:
    directory = Path(vault.path)
    client, points = add_client(directory, "db01", points=2)
    verify(client, points[0], at=MOMENT + 5)
    verify(client, points[1], at=MOMENT + 4, problem=DAMAGE)
    job = night(vault, 2)
    (directory / "jobs" / f"{job_id(3)}.json").write_text("[]")
    found = report(vault)
    summary = {key: value for key, value in job.items() if key not in ("vms", "state")}
    record = f"{directory}/jobs/{job_id(3)}.json"
    assert found.document == {
        "format": "ovm.backup vault report",
        "version": 1,
        "generated_at": "2026-11-25T01:12:03Z",
        "vault_id": vault.id,
        "jobs": [summary],
        "damaged_jobs": [{"id": job_id(3), "problem": f"{record} is damaged: it is not the record of a job"}],
        "clients": [
            {
                "client": "db01",
                "vm_id": "id of db01",
                "vm_name": "db01",
                "subclients": ["nightly"],
                "selected_by": ["nightly"],
                "status": "Completed",
                "points": 2,
                "bytes_stored": sum(point.stored for point in points),
                "good_point": {"id": points[0].id, "type": "full", "created": MOMENT, "age": 2 * DAY + 600},
                "problems": [f"recovery point {points[1].id} was found bad by a verification: {DAMAGE}"],
                "verified_at": MOMENT + 5,
                "verifications": [
                    {"point": points[0].id, "verified_at": MOMENT + 5, "ok": True, "problems": []},
                    {
                        "point": points[1].id,
                        "verified_at": MOMENT + 4,
                        "ok": False,
                        "problems": [f"{points[1].disks[0].file}: {DAMAGE}"],
                    },
                ],
                "boot_test": None,
            }
        ],
    }
    assert (found.job_id, json.loads(found.text)) == (None, found.document)


def test_names_that_are_no_text_are_kept_in_a_document(vault: Vault) -> None:
    job = add_job(vault, 0, (planned("half \ud83d\n"), {"point": made()}))
    found = report(vault, job["id"])
    found.text.encode("ascii")
    assert json.loads(found.text)["vms"][0]["vm_name"] == "half \ud83d\n"


# --- which job -------------------------------------------------------------------------------------------------------


def test_latest_job(vault: Vault) -> None:
    night(vault, 0, subclient="gold")
    night(vault, 1)
    assert report(vault, "latest").job_id == job_id(1)
    assert report(vault, "latest", "gold").job_id == job_id(0)
    assert report(vault, job_id(0), "gold").job_id == job_id(0)


def test_no_such_job(vault: Vault) -> None:
    jobs = f"{vault.path}/jobs"
    assert refusal(vault, "json", "latest").message == f"There is no finished job in {jobs}"
    night(vault, 0)
    failure = refusal(vault, "json", "latest", "gold")
    assert isinstance(failure, PointNotFoundError)
    assert failure.message == f"There is no finished job of subclient 'gold' in {jobs}"
    assert refusal(vault, "json", None, "gold").message == failure.message
    assert refusal(vault, "json", job_id(9)).message == f"There is no job {job_id(9)} in {jobs}"
    assert isinstance(refusal(vault, "html", "../vault", dest="x"), InvalidInputError)
    assert refusal(vault, "json", job_id(0), "gold").message == (
        f"Job {job_id(0)} is one of subclient 'nightly', not of 'gold'"
    )


def test_a_running_job_has_no_report(vault: Vault) -> None:
    plan = {"subclient": "nightly", "requested_type": "full", "warnings": [], "vms": []}
    JobStore(vault).start(new_job(job_id(0), plan, now=MOMENT))
    assert refusal(vault, "json", job_id(0)).message == f"Job {job_id(0)} is not finished: there is no report on it yet"
    assert refusal(vault, "json", "latest").message == f"There is no finished job in {vault.path}/jobs"


def test_latest_is_never_silently_an_older_one(vault: Vault) -> None:
    night(vault, 0)
    path = Path(vault.path) / "jobs" / f"{job_id(1)}.json"
    path.write_text("[]")
    failure = refusal(vault, "json", "latest")
    assert isinstance(failure, CorruptVaultError)
    assert failure.message == (
        f"The record of the newest job {job_id(1)} is damaged: {path} is damaged: it is not the record of a job. "
        "Name an older job"
    )
    assert refusal(vault, "json", job_id(1)).message == f"{path} is damaged: it is not the record of a job"
    path.write_text('{"state": "finished"}')
    assert refusal(vault, "json", job_id(1)).message == (
        f"{path} is damaged: it is not the record of a finished job (id is missing or wrong)"
    )
    night(vault, 2)
    assert report(vault, "latest").job_id == job_id(2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("prometheus", "latest"), "job_id does not go with format prometheus: that report is always about the vault"),
        (
            ("prometheus", None, "x"),
            "subclient does not go with format prometheus: that report is always about the vault",
        ),
        (("html",), "dest is needed for format html: the file to write"),
        (("prometheus",), "dest is needed for format prometheus: the file to write"),
        (("json", None, None, 0), "jobs must be a number from 1 to 200, not 0"),
        (("json", None, None, 201), "jobs must be a number from 1 to 200, not 201"),
    ],
)
def test_what_does_not_go_together(vault: Vault, arguments: Sequence[Any], message: str) -> None:
    assert refusal(vault, *arguments).message == message


def test_prometheus(vault: Vault) -> None:
    night(vault, 0)
    found = make_report(vault, ReportRequest("prometheus", dest="x"))
    assert (found.document, found.job_id) == (None, None)
    assert 'ovm_backup_job_last_status{subclient="nightly"} 0\n' in found.text


# --- pictures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("largest", "steps", "ticks"),
    [
        (0, charts._BINARY_STEPS, [0, 1]),
        (3, charts._BINARY_STEPS, [0, 1, 2, 3]),
        (100 * 1024, charts._BINARY_STEPS, [0, 32768, 65536, 98304, 131072]),
        (5 << 70, charts._BINARY_STEPS, [0, 2 << 70, 4 << 70, 6 << 70]),
        (0.2, charts._TIME_STEPS, [0, 1]),
        (601, charts._TIME_STEPS, [0, 300, 600, 900]),
        (4000, charts._TIME_STEPS, [0, 1200, 2400, 3600, 4800]),
        (86400 * 3, charts._TIME_STEPS, [0, 86400, 172800, 259200]),
    ],
)
def test_axis(largest: float, steps: Sequence[float], ticks: list[float]) -> None:
    found = charts.scale(largest, steps)
    assert found == (ticks[-1], ticks)
    assert ticks[-1] >= largest


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (20, "20 s"), (90, "90 s"), (1200, "20 min"), (4800, "80 min"), (10800, "3 h")]
)
def test_times_on_an_axis(value: float, text: str) -> None:
    assert charts._seconds_label(value) == text


def test_no_jobs_no_pictures() -> None:
    assert charts.job_pictures([]) == ""
    assert charts.past([]) == ""


def test_past_in_signs() -> None:
    assert charts.past(["Completed", "Failed", "Skipped", "odd"]) == (
        '<span class="past" role="img" aria-label="Newest last: Completed, Failed, Skipped, odd" '
        'title="Newest last: Completed, Failed, Skipped, odd"><span class="good">✓</span><span class="bad">✗</span>'
        '<span class="idle">–</span><span class="bad">?</span></span>'
    )


# --- files -----------------------------------------------------------------------------------------------------------


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_mode_of_a_new_file_and_of_an_old_one(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    assert files.read_report(str(path)) is None
    before = os.umask(0o077)
    try:
        files.write_report(str(path), b"one")
    finally:
        os.umask(before)
    assert (files.read_report(str(path)), mode(path)) == (b"one", 0o640)
    path.chmod(0o604)
    files.write_report(str(path), b"two")
    assert (path.read_bytes(), mode(path)) == (b"two", 0o604)
    path.unlink()
    files.write_report(str(path), b"three", files.PUBLIC_MODE)
    assert mode(path) == 0o644
    assert os.listdir(tmp_path) == ["report.html"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link, target = tmp_path / "report.html", tmp_path / "there" / "report.html"
    link.symlink_to(target)
    files.write_report(str(link), b"one")
    assert link.is_symlink()
    assert target.read_bytes() == b"one"


def test_places_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "report.html"
    with pytest.raises(ReportError) as failure:
        files.check_place(str(path))
    assert failure.value.message == (
        f"Cannot write the report {path}: there is no directory {path.parent}. Reports do not make directories, so "
        "that a file system that is not mounted is noticed"
    )
    with pytest.raises(ReportError, match="it is a directory; name a file in it"):
        files.check_place(str(tmp_path))
    with pytest.raises(ReportError, match="Cannot read the report .*: Is a directory"):
        files.read_report(str(tmp_path))
    files.check_place(str(tmp_path / "report.html"))


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    path.write_bytes(b"old")

    def refuse(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", refuse)
    with pytest.raises(ReportError) as failure:
        files.write_report(str(path), b"new")
    assert failure.value.message == f"Cannot write the report {path}: No space left on device"
    assert failure.value.as_failure() == {"kind": "ReportError", "path": str(path)}
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["report.html"]


def test_writers_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    contents = [bytes([number]) * 200_000 for number in range(4)]
    threads = [threading.Thread(target=files.write_report, args=(str(path), content)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents
    assert os.listdir(tmp_path) == ["report.html"]
