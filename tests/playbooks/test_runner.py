# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks the way AWX runs them: ansible-runner, a private data directory, credentials in the environment."""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import ansible_runner
import pytest

from playbooks.bench import Bench, Playbook, only, wait_until
from playbooks.test_interrupted import BOTH, begun, halves

# While the transfers last, their progress is looked at all the time.
SLOW = {"ovm_backup_compression_level": 19, "ovm_backup_progress_interval": 0.1}
# Nothing of a job's own variables says where manager and vault are: that is in the credentials.
BLANK = ("OVM_FINGERPRINT", "OVM_REQUEST_TIMEOUT", "OVM_JOB_TIMEOUT", "OVM_VALIDATE_CERTS", "OVM_SSH_KEY_FILE")


@dataclass
class Job:
    """What ansible-runner says of a run."""

    status: str
    events: list[dict[str, Any]]
    directory: Path
    mark: str

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return what the events of a kind tell."""
        return [event["event_data"] for event in self.events if event["event"] == kind]

    @property
    def stats(self) -> dict[str, Any]:
        """Return the numbers at the end: hosts that failed, by name, and so on."""
        [found] = self.of("playbook_on_stats")
        return found

    @property
    def messages(self) -> dict[str, str]:
        """Return the message of the last task that failed for each host."""
        return {event["host"]: event["res"].get("msg", "") for event in self.of("runner_on_failed")}


@dataclass
class Controller:
    """Makes private data directories, as AWX does for each job, and runs ansible-runner on them."""

    bench: Bench
    jobs: list[Job] = field(default_factory=list)
    # Of the inventory: with a source of the plugin ovm.backup.ovm the VMs are in it, too, under their own names.
    vms: tuple[str, ...] = ()

    def launch(
        self,
        playbook: str = "backup",
        *,
        limit: str | None = None,
        cancel: Callable[[Playbook], bool] | None = None,
        **variables: Any,
    ) -> Job:
        """Run a playbook to its end; it is cancelled when C(cancel) says so, which is asked all the time."""
        bench, number = self.bench, len(self.jobs) + 1
        private = bench.directory / f"job-{number}"
        for folder in ("project/subclients", "inventory", "env"):
            (private / folder).mkdir(parents=True)
        # A project of a site, as the guide shows it.
        content = [{"name": "What the site runs", "ansible.builtin.import_playbook": f"ovm.backup.{playbook}"}]
        (private / "project" / f"{playbook}.yml").write_text(json.dumps(content), encoding="utf-8")
        hosts: dict[str, dict[str, str]] = {
            "localhost": {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"},
            **{vm: {} for vm in self.vms},
        }
        (private / "inventory" / "hosts.yml").write_text(json.dumps({"all": {"hosts": hosts}}), encoding="utf-8")
        (private / "env" / "envvars").write_text(json.dumps(self.credentials()), encoding="utf-8")
        for name, definition in bench.subclients.items():
            (private / "project" / "subclients" / f"{name}.yml").write_text(json.dumps(definition), encoding="utf-8")
        # In an execution environment that is /runner/project.
        extra = {"ovm_backup_subclients_path": str(private / "project" / "subclients"), **variables}
        (private / "env" / "extravars").write_text(json.dumps(extra), encoding="utf-8")
        mark = f"ovm-test-{uuid.uuid4()}"
        cancelled, ended = threading.Event(), threading.Event()

        def watch(when: Callable[[Playbook], bool]) -> None:
            try:
                wait_until(lambda: ended.is_set() or when(processes(private, mark)), "the job is to be cancelled")
            finally:
                cancelled.set()

        if cancel is not None:
            threading.Thread(target=watch, args=(cancel,), daemon=True).start()
        # The runner adds its variables to its own environment; in AWX there is nothing of anybody in that.
        with mock.patch.dict(os.environ, bench.environment(private, mark), clear=True):
            runner = ansible_runner.run(
                private_data_dir=str(private),
                playbook=f"{playbook}.yml",
                limit=limit,
                quiet=True,
                cancel_callback=cancelled.is_set,
                settings={"pexpect_timeout": 1},  # how often it asks whether it is cancelled
            )
        ended.set()
        job = Job(runner.status, list(runner.events), private, mark)
        self.jobs.append(job)
        return job

    def credentials(self) -> dict[str, str]:
        """Return the variables that the injectors of the credential types make; what is left blank is empty."""
        manager = self.bench.manager()
        return {
            "OVM_URL": manager["url"],
            "OVM_USER": manager["user"],
            "OVM_PASSWORD": manager["password"],
            "OVM_CA_PATH": str(manager["ca_path"]),
            "OVM_VAULT": str(self.bench.vault),
            "OVM_REPOSITORIES_PATH": str(self.bench.simulator.repositories),
            **dict.fromkeys(BLANK, ""),
        }


@pytest.fixture
def controller(bench: Bench) -> Iterator[Controller]:
    """A stand-in for what AWX does around ansible-runner."""
    made = Controller(bench)
    yield made
    for job in made.jobs:
        assert_no_secret(bench, job)


def assert_no_secret(bench: Bench, job: Job) -> None:
    """Assert that the password is where the credential and the runner itself put it, and nowhere else."""
    password = bench.simulator.password.encode()
    holders = [path for path in job.directory.rglob("*") if path.is_file() and password in path.read_bytes()]
    assert {path.name for path in holders} == {"envvars", "command"}


def test_job(bench: Bench, controller: Controller) -> None:
    """Credentials come from the environment only, and the events are what AWX shows."""
    bench.subclients = {"two": only("web01", "files01", max_age="1d")}
    job = controller.launch(subclient="two")
    assert job.status == "successful", job.messages
    assert bench.statuses() == {"web01": "Completed", "files01": "Completed"}
    # The VMs are hosts of the run, so the list of hosts of the job shows how each fared.
    assert set(job.stats["ok"]) == {"localhost", "web01 (VM)", "files01 (VM)"}
    assert job.stats["failures"] == job.stats["dark"] == {}
    # The same again changes nothing: what a relaunch on all hosts does to VMs that are done.
    again = controller.launch(subclient="two")
    assert again.status == "successful"
    assert again.stats["changed"] == {}
    assert [len(bench.points(vm)) for vm in ("web01", "files01")] == [1, 1]


def test_cancelled_in_the_middle_of_a_transfer(bench: Bench, controller: Controller) -> None:
    """AWX kills what it runs. The next run puts right what that left, as the guide says."""
    bench.subclients = {
        "both": only(*BOTH, two_pass=False),
        "none": only("nobody", allow_empty=True),
    }

    # Frozen at that moment, so that the end of Ansible meets both transfers, however busy the machine is.
    job = controller.launch(cancel=begun, subclient="both", **SLOW)
    assert job.status == "canceled"
    assert job.of("playbook_on_stats") == []
    assert (bench.state_of("bigfiles01"), len(bench.clones())) == ("STOPPED", 1)
    # The modules are told by nobody. They notice that they are alone, and remove what they have half done.
    processes(job.directory, job.mark).abandon()
    assert halves(bench) == set()
    assert controller.launch(subclient="none").status == "successful"
    bench.check_settled()


def test_relaunched(bench: Bench, controller: Controller) -> None:
    """What failed is repeated, and nothing else; on failed hosts only, which are proxies, it cannot be."""
    bench.subclients = {"two": only("web01", "files01")}
    controller.vms = ("web01", "files01")
    bench.simulator.job_fault("vm.clone", name="Clone Vm: web01", message="OVMAPI_4010E agent is ill")
    failed = controller.launch(subclient="two")
    assert failed.status == "failed"
    assert set(failed.stats["failures"]) == {"localhost", "web01 (VM)"}
    assert bench.statuses() == {"web01": "Failed", "files01": "Completed"}
    # AWX knows the hosts of its inventory only, so "relaunch on failed hosts" is a limit to the host that plans. If a
    # user sets one to a VM, Ansible would skip everything and call that success.
    calls, tree = len(bench.simulator.calls()), bench.tree()
    inventory = {"localhost", *controller.vms}
    for limit, why in (
        (",".join(inventory & set(failed.stats["failures"])), "and the VMs are hosts of the run"),
        ("web01", "which leaves out localhost"),
    ):
        limited = controller.launch(subclient="two", limit=limit)
        assert limited.status == "failed"
        [said] = set(limited.messages.values())
        assert said.startswith(f"This run is limited to {limit}, {why}")
        hint = "With restart_job=latest it repeats what failed in the last job and nothing else."
        assert (hint in said) == (limit != "web01")
    assert (len(bench.simulator.calls()), bench.tree()) == (calls, tree)
    job = controller.launch(subclient="two", restart_job="latest")
    assert job.status == "successful"
    assert set(job.stats["ok"]) == {"localhost", "web01 (VM)"}
    assert bench.statuses() == {"web01": "Completed", "files01": "Skipped"}
    assert [len(bench.points(vm)) for vm in ("web01", "files01")] == [1, 1]


def processes(directory: Path, mark: str) -> Playbook:
    """Return a handle on what a job has started; the runner itself keeps that on Ansible."""
    return Playbook(process=None, log=directory, mark=mark)  # type: ignore[arg-type]
