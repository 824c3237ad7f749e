# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reports, webhook and hooks at the end of a run: what they tell, and that they neither spoil nor hide anything."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from playbooks.bench import Bench, only

HOOK = """\
- name: Tell somebody
  ansible.builtin.copy:
    content: "{{ [report_job.id, report_failed, report_paths, report_summary[0]] | to_json }}"
    dest: "{{ inventory_dir }}/told.json"
    mode: "0644"
"""
BROKEN_HOOK = """\
- name: Tell somebody who is not there
  ansible.builtin.fail:
    msg: nobody listens
"""


class Webhook:
    """A server that keeps what is posted to it."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str | None, Any]] = []
        self.status = 204
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.calls.append((self.path, self.headers["Authorization"], json.loads(body)))
                self.send_response(outer.status)
                self.end_headers()

            def log_message(self, *_arguments: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    made = Webhook()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture
def site(bench: Bench, webhook: Webhook, tmp_path: Path) -> dict[str, str]:
    """Have everything told: by reports in directories, which are returned, a webhook, and two hooks; one fails."""
    bench.subclients = {"part": only("old02", "files01", nfs_policy="fail"), "good": only("old02")}
    hook, broken = tmp_path / "hook.yml", tmp_path / "broken.yml"
    hook.write_text(HOOK)
    broken.write_text(BROKEN_HOOK)
    reports = {kind: str(tmp_path / kind) for kind in ("json", "html", "prometheus")}
    for path in reports.values():
        Path(path).mkdir()
    bench.variables = {
        "ovm_backup_reports": reports,
        "ovm_backup_webhook": {"url": f"{webhook.url}/hooks/s3cret", "headers": {"Authorization": "Bearer t0ken"}},
        "ovm_backup_report_hooks": [{"tasks": str(broken), "when": "failure"}, str(hook)],
    }
    return reports


def told(bench: Bench) -> Any:
    """Return what the hook of the last run wrote."""
    return json.loads((bench.directory / f"run-{bench.runs}" / "told.json").read_text())


def test_what_is_told_of_a_run(bench: Bench, site: dict[str, str], webhook: Webhook) -> None:
    # A VM has no good backup and a hook fails: neither hides the other, and the rest is told.
    outcome = bench.backup("part", code=2)
    job = bench.job()
    assert bench.statuses() == {"old02": "Completed", "files01": "Failed"}
    paths = {kind: f"{site[kind]}/{job['id']}.{kind}" for kind in ("json", "html")}
    paths.update(overview=f"{site['html']}/index.html", prometheus=f"{site['prometheus']}/ovm_backup.prom")
    document = json.loads(Path(paths["json"]).read_text())
    assert {vm["vm_name"] for vm in document["vms"]} == {"old02", "files01"}
    assert "<h1>Backup of <bdi>part</bdi>" in Path(paths["html"]).read_text(encoding="utf-8")
    assert f'<a href="{job["id"]}.html">' in Path(paths["overview"]).read_text(encoding="utf-8")
    assert 'ovm_backup_job_last_status{subclient="part"} 2' in Path(paths["prometheus"]).read_text()
    assert webhook.calls == [("/hooks/s3cret", "Bearer t0ken", document)]
    assert told(bench) == [job["id"], True, paths, f"Job {job['id']} of subclient part: Completed with errors"]
    assert outcome.messages["localhost"] == f"Job {job['id']}: 1 VM has no good backup."
    [broken, _hook] = bench.variables["ovm_backup_report_hooks"]
    problem = f'hook {broken["tasks"]} failed in task "Tell somebody who is not there": nobody listens'
    warning = f"WARNING: job {job['id']} is closed, but not everybody was told of it:"
    assert outcome.shown[-1] == [warning, problem]

    # The backup is good and the telling is not: that is no success.
    webhook.status = 500
    shutil.rmtree(site["html"])
    always = {**bench.variables["ovm_backup_webhook"], "when": "always"}
    outcome = bench.backup("good", code=2, ovm_backup_webhook=always)
    job = bench.job()
    assert job["status"] == "Completed"
    message = outcome.messages["localhost"]
    page = f"{site['html']}/{job['id']}.html"
    assert message.startswith(f"Reports of job {job['id']}: Cannot write the report {page}: there is no directory ")
    assert f"; Cannot write the report {paths['overview']}: there is no directory " in message
    assert "; the webhook did not take the report: it answered with status 500" in message
    assert told(bench)[1:3] == [False, {"json": f"{site['json']}/{job['id']}.json", "prometheus": paths["prometheus"]}]
    assert "s3cret" not in outcome.output and "t0ken" not in outcome.output

    # Written again, without telling anybody.
    Path(site["html"]).mkdir()
    calls = len(webhook.calls)
    outcome = bench.run("report")
    assert sorted(os.listdir(site["html"])) == [f"{job['id']}.html", "index.html"]
    assert outcome.changed == {"localhost": 1}
    assert len(webhook.calls) == calls
    assert not (bench.directory / f"run-{bench.runs}" / "told.json").exists()


def test_a_hook_that_cannot_be_loaded_stops_the_run_before_it_begins(bench: Bench, tmp_path: Path) -> None:
    bench.subclients = {"old": only("old01")}
    before = bench.tree()
    (tmp_path / "hook.yml").write_text("- name: Write a letter\n  community.missing.mail:\n")
    outcome = bench.start("backup", subclient="old", ovm_backup_report_hooks=[str(tmp_path / "hook.yml")]).wait()
    assert outcome.code != 0
    assert "community.missing.mail" in outcome.output
    assert "Plan the run" not in outcome.output.replace("PLAY [Plan the run]", "")
    assert bench.tree() == before
