# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the playbooks of the collection as a user does, against a simulator, and look at what they left.

The collection is the one that holds this file: it has to lie in an ``ansible_collections/ovm/backup``, as the stage
does. A bench has one simulator and any number of vaults, one after the other.
"""

from __future__ import annotations

import contextlib
import filecmp
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simulator.testing import Simulator

COLLECTIONS = Path(__file__).resolve().parents[5]
LIMIT = 300.0  # seconds that any playbook may take, also on a machine that is busy with other things
POLL = 0.01
RECAP = re.compile(
    r"^(?P<host>.+?)\s+: ok=\d+\s+changed=(?P<changed>\d+)\s+unreachable=0\s+failed=(?P<failed>\d+) ", re.M
)
FATAL = re.compile(r"^fatal: \[(?P<host>.+?)(?: -> .+?)?\]: FAILED! => (?P<result>\{.*\})$", re.M)
DISK_FILE = re.compile(r"/clients/([^/ ]+)/[^ ]+\.img\.zst")
SHOWN = re.compile(r'^ok: \[[^\n]+\] => \{\n    "msg": (?P<lines>\[.*?\n    \])\n\}$', re.M | re.S)


def everything(**more: Any) -> dict[str, Any]:
    """Return the definition of a subclient with all VMs."""
    content = [{"rules": [{"field": "name", "value": "*"}]}]
    # A failure that is expected is not worth waiting for.
    return {"content": content, "nfs_policy": "shutdown", "retries": 0, **more}


def only(*names: str, **more: Any) -> dict[str, Any]:
    """Return the definition of a subclient with some VMs."""
    return {**everything(**more), "content": [{"rules": [{"field": "name", "value": list(names)}]}]}


def wait_until(condition: Callable[[], Any], what: str, limit: float = LIMIT) -> Any:
    """Look until something is so and return it."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(POLL)
    raise AssertionError(f"in {limit:g} s this did not come about: {what}")


def is_ansible(pid: int) -> bool:
    """Tell Ansible's own processes from the modules that it has started."""
    with contextlib.suppress(OSError):
        return b"ansible-playbook" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


@dataclass
class Outcome:
    """A playbook that has ended."""

    code: int
    output: str

    @property
    def changed(self) -> dict[str, int]:
        """Return the number of changed tasks of each host of the run."""
        return {found["host"]: int(found["changed"]) for found in RECAP.finditer(self.output)}

    @property
    def failed(self) -> set[str]:
        """Return the hosts of the run that the recap counts as failed."""
        return {found["host"] for found in RECAP.finditer(self.output) if int(found["failed"])}

    @property
    def messages(self) -> dict[str, str]:
        """Return the message of the last task that failed for each host; the result of some is not shown."""
        return {found["host"]: json.loads(found["result"]).get("msg", "") for found in FATAL.finditer(self.output)}

    @property
    def shown(self) -> list[list[str]]:
        """Return what the playbook printed as lists of lines: the plan, and at the end the summary."""
        return [json.loads(found["lines"]) for found in SHOWN.finditer(self.output)]


@dataclass
class Playbook:
    """A playbook that runs, in a session of its own."""

    process: subprocess.Popen[bytes]
    log: Path
    mark: str

    def wait(self) -> Outcome:
        """Wait for its end."""
        try:
            code = self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the playbook does not end:\n{self.log.read_text(encoding='utf-8')}") from None
        return Outcome(code, self.log.read_text(encoding="utf-8"))

    def interrupt(self, number: signal.Signals) -> Outcome:
        """Signal its process group, as a terminal or a supervisor does, and wait until all that it started has gone."""
        os.killpg(self.process.pid, number)
        outcome = self.wait()
        self.abandon()
        return outcome

    def abandon(self) -> None:
        """Let transfers that were stopped go on only when Ansible is gone, and wait until they have gone, too."""
        wait_until(lambda: not any(map(is_ansible, self.family())), "the processes of Ansible end")
        self.freeze_transfers(False)
        wait_until(lambda: not self.family(), "all processes of the playbook end")

    def freeze(self, frozen: bool = True) -> None:
        """Stop its processes where they are, or let them go on."""
        for pid in self.family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP if frozen else signal.SIGCONT)

    def freeze_transfers(self, frozen: bool = True) -> set[str]:
        """Stop the modules that write disk files, but not Ansible, or let them go on; return their clients."""
        found = set()
        for pid in self.family():
            with contextlib.suppress(OSError):
                links = " ".join(os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir())
                clients = set(DISK_FILE.findall(links))
                if clients:
                    os.kill(pid, signal.SIGSTOP if frozen else signal.SIGCONT)
                found |= clients
        return found

    def kill(self) -> None:
        """Kill it with all that it started, as a crash of the proxy does: nothing gets a chance to clean up."""
        while self.process.poll() is None or self.family():
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            for pid in self.family():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(POLL)

    def family(self) -> list[int]:
        """Return the processes that this playbook has started, whatever session they are in."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and self.mark.encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
        return found


@dataclass
class Bench:
    """A simulator, a vault, and the playbooks. ``variables`` go into every run, ``surroundings`` into its
    environment, and ``wrapper`` stands before its command, which runs in a directory of its own."""

    simulator: Simulator
    directory: Path
    subclients: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)
    hosts: dict[str, dict[str, Any]] = field(default_factory=lambda: {"localhost": {}})
    surroundings: dict[str, str] = field(default_factory=dict)
    wrapper: list[str] = field(default_factory=list)
    runs: int = 0

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True)
        self.vault = self.directory / "vault"
        self.temporary = self.directory / "temporary"
        self.temporary.mkdir()
        self.running = self.simulator.running_vms()
        self.objects = self.listed()

    # -- running -----------------------------------------------------------------------------------------------

    def manager(self, **changes: Any) -> dict[str, Any]:
        """Return the connection, with changes."""
        ready = self.simulator
        known = {"url": ready.url, "user": ready.user, "password": ready.password, "ca_path": ready.ca}
        return {**known, **changes}

    def start(self, playbook: str = "backup", *options: str, **variables: Any) -> Playbook:
        """Start a playbook of the collection, or the one at a path; the variables win over all others."""
        self.runs += 1
        folder = self.directory / f"run-{self.runs}"
        folder.mkdir()
        mark = f"ovm-test-{uuid.uuid4()}"
        common = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        inventory = {"all": {"hosts": {name: {**common, **facts} for name, facts in self.hosts.items()}}}
        # JSON is YAML.
        (folder / "inventory.yml").write_text(json.dumps(inventory), encoding="utf-8")
        site = {
            "ovm_backup_manager": self.manager(),
            "ovm_backup_vault": str(self.vault),
            "ovm_backup_repositories_path": str(self.simulator.repositories),
            "ovm_backup_subclients": self.subclients,
            **self.variables,
            **variables,
        }
        own = {name for facts in self.hosts.values() for name in facts}
        site = {name: value for name, value in site.items() if name not in own}
        (folder / "variables.json").write_text(json.dumps(site), encoding="utf-8")
        # As the guide on runs advises: else Ansible takes a tenth of a CPU for looking whether a module has ended.
        (folder / "ansible.cfg").write_text("[defaults]\ninternal_poll_interval = 0.01\n", encoding="utf-8")
        log = folder / "output"
        # Whoever started the tests in the background has them ignore Ctrl-C.
        command = ["env", "--default-signal=INT", str(Path(sys.executable).with_name("ansible-playbook"))]
        command += ["-i", "inventory.yml"]
        command = [
            *self.wrapper,
            *command,
            "-e",
            "@variables.json",
            playbook if "/" in playbook else f"ovm.backup.{playbook}",
            *options,
        ]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=self.environment(folder, mark),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return Playbook(process, log, mark)

    def environment(self, folder: Path, mark: str) -> dict[str, str]:
        """Return an environment that does not depend on the user's."""
        # Nor on where Python is told to look for compiled files: to compile all anew costs a module more than its work.
        foreign = ("ANSIBLE_", "OVM_", "PYTHONPYCACHEPREFIX", "PYTHONDONTWRITEBYTECODE")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return {
            **kept,
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
            "ANSIBLE_DEPRECATION_WARNINGS": "False",
            "ANSIBLE_HOME": str(folder / "home"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_NOCOWS": "1",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_REMOTE_TEMP": str(folder / "temporary"),
            "ANSIBLE_SYSTEM_TMPDIRS": str(self.temporary),
            "LC_ALL": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",  # what it prints can be read while it runs
            "TEST_MARK": mark,
            **self.surroundings,
        }

    def run(self, playbook: str = "backup", *options: str, code: int = 0, **variables: Any) -> Outcome:
        """Run a playbook to its end. Warnings of Ansible and tracebacks are never expected."""
        outcome = self.start(playbook, *options, **variables).wait()
        assert outcome.code == code, outcome.output
        for sign in ("[WARNING]", "Traceback"):
            assert sign not in outcome.output, outcome.output
        return outcome

    def backup(self, subclient: str, *options: str, code: int = 0, **variables: Any) -> Outcome:
        """Back up a subclient."""
        return self.run("backup", *options, code=code, subclient=subclient, **variables)

    def make_vault(self, encryption_key: str | None = None) -> None:
        """Make the vault, not by its playbook, which costs the most of two seconds; its own tests are elsewhere."""
        sys.path.insert(0, str(COLLECTIONS)) if str(COLLECTIONS) not in sys.path else None
        from ansible_collections.ovm.backup.plugins.module_utils.vault.access import VaultAccess
        from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Vault

        access = VaultAccess(encryption_key=encryption_key)
        Vault.create(str(self.vault), access, encrypted=encryption_key is not None)

    def take_vault(self, other: Bench) -> None:
        """Go on with a copy of another bench's vault: what is backed up once serves several tests."""
        shutil.rmtree(self.vault)
        shutil.copytree(other.vault, self.vault)

    # -- looking -----------------------------------------------------------------------------------------------

    def jobs(self) -> list[dict[str, Any]]:
        """Return the records of all jobs, oldest first."""
        found = [json.loads(path.read_text(encoding="utf-8")) for path in (self.vault / "jobs").glob("*.json")]
        return sorted(found, key=lambda job: job["started"])

    def job(self) -> dict[str, Any]:
        """Return the record of the newest job, its VMs by name."""
        newest = self.jobs()[-1]
        return {**newest, "vms": {vm["vm_name"]: vm for vm in newest["vms"]}}

    def statuses(self) -> dict[str, str]:
        """Return what the newest job says of each VM."""
        return {name: vm["status"] for name, vm in self.job()["vms"].items()}

    def points(self, client: str) -> list[dict[str, Any]]:
        """Return the manifests of the recovery points of a client, oldest first."""
        found = (self.vault / "clients" / client).glob("*/point.json")
        return sorted(
            (json.loads(path.read_text(encoding="utf-8")) for path in found), key=lambda point: point["sequence"]
        )

    def locks(self) -> dict[str, dict[str, Any]]:
        """Return the locks by client."""
        found = (self.vault / "clients").glob("*/lock.json*")
        return {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in found}

    def end_leases(self) -> None:
        """Let the leases of all locks be over, as if time had passed."""
        for path in (self.vault / "clients").glob("*/lock.json"):
            lock = json.loads(path.read_text(encoding="utf-8"))
            path.write_text(json.dumps({**lock, "heartbeat": lock["heartbeat"] - lock["lease"] - 1}), encoding="utf-8")

    def tree(self) -> dict[str, tuple[int, int]]:
        """Return all that is in the vault, with size and time of the last change."""
        found = {str(path.relative_to(self.vault)): path.lstat() for path in self.vault.rglob("*")}
        return {name: (facts.st_size, facts.st_mtime_ns) for name, facts in found.items()}

    def listed(self) -> dict[str, set[str]]:
        """Return the ids of what clones are made of, and the image files."""
        kinds = ("Vm", "VirtualDisk", "VmDiskMapping", "VmCloneDefinition", "VmCloneStorageMapping")
        found = {kind: {item["id"]["value"] for item in self.peek(f"/{kind}")} for kind in kinds}
        images = self.simulator.repositories.glob("*/VirtualDisks/*")
        return {**found, "images": {str(path.relative_to(self.simulator.repositories)) for path in images}}

    def peek(self, path: str) -> Any:
        """Return what the manager answers, without a trace in its log."""
        return self.simulator._get(path)

    def clones(self) -> list[str]:
        """Return the names of our clones on the manager."""
        vms = self.simulator.state()["vms"].values()
        return [vm["name"] for vm in vms if ".ovm-backup." in (vm["name"] or "")]

    def state_of(self, vm: str) -> str:
        """Return the run state of a VM."""
        return str(self.simulator.find("Vm", vm)["vmRunState"])

    def images(self, vm: str) -> dict[int, Path]:
        """Return the images of the virtual disks of a VM by slot."""
        vm_id = self.simulator.find("Vm", vm)["id"]["value"]
        disks = {disk["id"]["value"]: disk for disk in self.peek("/VirtualDisk")}
        found = {}
        for mapping in self.peek("/VmDiskMapping"):
            disk = disks.get((mapping["virtualDiskId"] or {}).get("value"))
            if mapping["vmId"]["value"] == vm_id and disk is not None and disk["diskType"] == "VIRTUAL_DISK":
                path = self.simulator.repositories / disk["repositoryId"]["value"] / disk["path"].lstrip("/")
                found[int(mapping["diskTarget"])] = path
        return found

    def overlapping_clones(self) -> list[tuple[str, str]]:
        """Return the pairs of clone jobs that were with the manager at the same time, for one storage repository."""
        repositories = {vm["name"]: (vm["repositoryId"] or {}).get("value") for vm in self.peek("/Vm")}
        jobs = [job for job in self.peek("/Job") if job["name"].startswith("Clone Vm: ")]
        jobs = sorted((job for job in jobs if job["parentJobId"] is None), key=lambda job: job["startTime"])
        spans = [(job["startTime"], job["endTime"], job["name"].removeprefix("Clone Vm: ")) for job in jobs]
        return [
            (one, two)
            for index, (_begin, end, one) in enumerate(spans)
            for begin, _end, two in spans[index + 1 :]
            if begin < end and repositories.get(one) == repositories.get(two)
        ]

    # -- what must be so after every run -----------------------------------------------------------------------

    def check_settled(self) -> None:
        """Assert that nothing is left: no VM stopped, no clone, no lock, no half recovery point, no open job."""
        assert self.simulator.running_vms() == self.running
        assert self.listed() == self.objects
        assert self.simulator.state()["jobs"] == []
        if not self.vault.is_dir():
            return
        assert self.locks() == {}
        clients = self.vault / "clients"
        folders = {path for path in clients.glob("*/*") if path.is_dir()}
        assert {path for path in folders if not (path / "point.json").is_file()} == set()
        known = {"client.json", "outages.json", "point.json", "pin.json", "vm.json", "vm.cfg", "verification.json"}
        files = {path for path in clients.glob("**/*") if path.is_file()}
        assert {path for path in files if path.name not in known and not path.name.endswith(".img.zst")} == set()
        for point in (path.parent for path in clients.glob("*/*/point.json")):
            manifest = json.loads((point / "point.json").read_text(encoding="utf-8"))
            images = {path.name: path.stat().st_size for path in point.glob("*.img.zst")}
            assert images == {disk["file"]: disk["file_size"] for disk in manifest["disks"]}
        assert [job["id"] for job in self.jobs() if job["state"] != "finished"] == []
        assert [path for path in (self.vault / "jobs").iterdir() if path.suffix != ".json"] == []

    def check_restored(self, directory: Path, vm: str) -> None:
        """Assert that the images in a directory are those of a VM, bit for bit."""
        restored = sorted(directory.glob("*.img"))
        images = [image for _slot, image in sorted(self.images(vm).items())]
        assert len(restored) == len(images)
        for ours, source in zip(restored, images, strict=True):
            assert filecmp.cmp(ours, source, shallow=False), f"{ours} is not {source}"


@contextlib.contextmanager
def settled(bench: Bench) -> Iterator[Bench]:
    """Clean the simulator's faults before and after, and assert afterwards that nothing is left."""
    bench.simulator.clear_faults()
    bench.simulator.clear_calls()
    try:
        yield bench
    finally:
        bench.simulator.clear_faults()
    bench.check_settled()


def reasons(job: Mapping[str, Any]) -> dict[str, str]:
    """Return the reason of each VM of a job."""
    return {name: vm["reason"] for name, vm in job["vms"].items()}
