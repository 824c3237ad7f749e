# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Boot tests in reports: the newest of each VM, with its screenshot, and as a note at the recovery point's job."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from unit.reporting.builders import DAY, HOSTILE, MOMENT, SCREENSHOT, add_client, add_job, boot, made, planned

from ansible_collections.ovm.backup.plugins.module_utils.reporting.boot_tests import boot_tests
from ansible_collections.ovm.backup.plugins.module_utils.reporting.history import read_client
from ansible_collections.ovm.backup.plugins.module_utils.reporting.report import ReportRequest, make_report
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Vault

IMAGE = f'<img src="data:image/png;base64,{base64.b64encode(SCREENSHOT).decode()}" alt="'


def page(vault: Vault, tmp_path: Path, **options: Any) -> str:
    return make_report(vault, ReportRequest("html", dest=str(tmp_path / "x.html"), **options)).text


def test_newest_is_shown_with_its_screenshot(vault: Vault, tmp_path: Path) -> None:
    client, points = add_client(Path(vault.path), "db01", points=2)
    other, (point,) = add_client(Path(vault.path), "web")
    add_client(Path(vault.path), "untested")
    boot(client, points[1], at=MOMENT + DAY, verdict="an older one")
    boot(client, points[0], at=MOMENT + 2 * DAY, verdict=HOSTILE)
    boot(other, point, ok=False, verdict="not up after 9 s")
    text = page(vault, tmp_path)
    assert text.count(IMAGE) == 2 and f'{IMAGE}Screen of db01 at the end of its boot test">' in text
    assert "img-src data:;" in text
    assert "&lt;script&gt;alert" in text and "<script" not in text
    assert "an older one" not in text
    assert "<p>not up after 9 s</p>" in text
    assert "<strong><bdi>web</bdi></strong> did not come up in its newest boot test" in text
    assert "db01</bdi></strong> did" not in text
    document = make_report(vault, ReportRequest("json")).document
    assert document is not None
    assert {one["client"]: one["boot_test"] for one in document["clients"]} == {
        "db01": {"point": points[0].id, "tested_at": MOMENT + 2 * DAY, "ok": True, "verdict": HOSTILE},
        "web": {"point": point.id, "tested_at": MOMENT + DAY, "ok": False, "verdict": "not up after 9 s"},
        "untested": None,
    }


def test_nothing_is_said_without_a_boot_test(vault: Vault, tmp_path: Path) -> None:
    add_client(Path(vault.path), "db01")
    assert "Boot tests" not in page(vault, tmp_path)


def test_screenshot_that_is_another_one_is_left_out(vault: Vault) -> None:
    client, (point,) = add_client(Path(vault.path), "db01")
    boot(client, point)
    (Path(client.directory) / point.id / "boot_test.png").write_bytes(b"other")
    text = boot_tests([read_client(client)])
    assert "<p>up</p>" in text and "<img" not in text


def test_note_at_the_job(vault: Vault, tmp_path: Path) -> None:
    vms = []
    for name, ok in (("db01", True), ("web", False)):
        client, (point,) = add_client(Path(vault.path), name)
        boot(client, point, ok=ok, verdict=f"the verdict on {name}")
        vms.append((planned(name), {"point": made(id=point.id)}))
    job = add_job(vault, 0, *vms)
    text = page(vault, tmp_path, job_id=job["id"])
    told = "The recovery point was started on <time"
    assert f"<p>{told}" in text and "the verdict on db01.</p>" in text
    assert f"<p><strong>{told}" in text and "the verdict on web</strong></p>" in text
