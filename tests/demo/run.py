# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The demonstration: full backup, a day of changes, incremental backup, restore, and the proof that it is identical.

Usage: run.py DIRECTORY (removed at the end unless KEEP=1 is in the environment)

Everything but Oracle VM is real: the simulator stands in for the manager and its servers, and the program debugfs for
the guests that change their data.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS))

from simulator import guest  # noqa: E402
from simulator.testing import Simulator, running  # noqa: E402

SUBCLIENTS = Path(__file__).with_name("subclients.yml")
RESTORED = "db01"
# VM, path in the guest, bytes.
CHANGES = (
    ("db01", "/srv/redo.log", 300_000),
    ("erp01", "/srv/orders.csv", 200_000),
    ("files01", "/srv/minutes.txt", 50_000),
)


def title(text: str) -> None:
    """Print a heading."""
    print(f"\n{'=' * 100}\n{text}\n{'=' * 100}", flush=True)


class Demo:
    """One run of the demonstration in a directory of its own."""

    def __init__(self, directory: Path, simulator: Simulator) -> None:
        self.directory = directory
        self.simulator = simulator
        self.vault = directory / "vault"
        self.reports = directory / "reports"
        self.variables = directory / "variables.json"
        self.proofs: list[str] = []

    def configure(self) -> None:
        """Write what a site would have in its inventory."""
        ready = self.simulator
        variables = {
            "ovm_backup_manager": {
                "url": ready.url,
                "user": ready.user,
                "password": ready.password,
                "ca_path": ready.ca,
            },
            "ovm_backup_repositories_path": str(ready.repositories),
            "ovm_backup_vault": str(self.vault),
            "ovm_backup_reports": {"html": str(self.reports)},
        }
        self.reports.mkdir()
        self.variables.write_text(json.dumps(variables, indent=2) + "\n", encoding="utf-8")
        interpreter = "{{ ansible_playbook_python }}"
        inventory = f"localhost ansible_connection=local ansible_python_interpreter='{interpreter}'\n"
        (self.directory / "inventory").write_text(inventory, encoding="utf-8")

    def playbook(self, name: str, *flags: str, **variables: str) -> None:
        """Run a playbook of the collection."""
        options = [*flags, *(word for key, value in variables.items() for word in ("-e", f"{key}={value}"))]
        command = ["ansible-playbook", "-i", str(self.directory / "inventory"), f"ovm.backup.{name}"]
        command += ["-e", f"@{self.variables}", "-e", f"@{SUBCLIENTS}", *options]
        settings = {"ANSIBLE_DISPLAY_SKIPPED_HOSTS": "False"}
        shown = " ".join([f"ovm.backup.{name}", *options])
        print(f"$ ansible-playbook {shown}", flush=True)
        subprocess.run(command, env={**os.environ, **settings}, check=True)

    def images(self, vm: str) -> list[Path]:
        """Return the images of a VM in its storage repositories, in the order of slots."""
        vm_id = self.simulator.find("Vm", vm)["id"]["value"]
        point = self.points(vm)[-1]
        manifest = json.loads((point / "vm.json").read_text(encoding="utf-8"))
        assert manifest["vm"]["id"]["value"] == vm_id
        disks = {disk["id"]["value"]: disk for disk in manifest["virtual_disks"]}
        mappings = sorted(manifest["disk_mappings"], key=lambda mapping: int(mapping["diskTarget"]))
        wanted = [disks[mapping["virtualDiskId"]["value"]] for mapping in mappings if mapping["virtualDiskId"]]
        return [
            self.simulator.repositories / disk["repositoryId"]["value"] / disk["path"].lstrip("/")
            for disk in wanted
            if disk["diskType"] == "VIRTUAL_DISK"
        ]

    def points(self, client: str) -> list[Path]:
        """Return the folders of the recovery points of a client, oldest first."""
        return sorted(path.parent for path in (self.vault / "clients" / client).glob("*/point.json"))

    def change_guests(self) -> None:
        """Let guests write, as a day of work does."""
        for vm, path, size in CHANGES:
            data = (f"{vm} {path} line\n".encode() * (size // 10))[:size]
            guest.write_file(self.images(vm)[0], path, data)
            print(f"{vm}: {size} bytes written to {path}")

    def prove_full(self) -> None:
        """Compare what plain zstd makes of a full with the disk that it was read from."""
        self.prove_file_by_zstd(self.points(RESTORED)[0], "full")

    def prove_file_by_zstd(self, point: Path, kind: str) -> None:
        """Compare what plain zstd makes of the files of a point with the disks."""
        for file, image in zip(sorted(point.glob("*.img.zst")), self.images(RESTORED), strict=True):
            with subprocess.Popen(["zstd", "-dc", "--quiet", str(file)], stdout=subprocess.PIPE) as zstd:
                same = subprocess.run(["cmp", "-", str(image)], stdin=zstd.stdout, check=False).returncode == 0
            if not same or zstd.returncode:
                raise SystemExit(f"zstd -dc {file} does not give {image}")
            self.proofs.append(
                f"zstd -dc {file.name} of the {kind} gives the disk, bit for bit, without this collection"
            )

    def prove_synthetic_full(self) -> None:
        """Compare what plain zstd makes of a synthetic full with the disk, and see that the manager was not asked."""
        if self.simulator.calls():
            raise SystemExit("the manager was asked for a synthetic full")
        self.prove_file_by_zstd(self.points(RESTORED)[-1], "synthetic full")
        self.proofs.append("no synthetic full has asked the manager for anything")

    def prove_restore(self, directory: Path) -> None:
        """Compare the restored images with the disks."""
        restored = sorted(directory.glob("*.img"))
        for file, image in zip(restored, self.images(RESTORED), strict=True):
            subprocess.run(["cmp", str(file), str(image)], check=True)
            self.proofs.append(f"{file.name} of the incremental, restored, is identical to the disk of {RESTORED}")

    def run(self) -> None:
        """Go through the whole demonstration."""
        self.configure()
        before = self.simulator.running_vms()
        title("1. Make a vault")
        self.playbook("vault")
        title("2. Full backup of the subclient: hot clones on OCFS2, a shutdown on NFS, one VM that is powered off")
        self.playbook("backup", subclient="demo", backup_type="full")
        self.prove_full()
        title("3. Guests change their data")
        self.change_guests()
        title("4. Incremental backup of the subclient")
        self.playbook("backup", subclient="demo")
        title(f"5. Restore the disks of {RESTORED}")
        restored = self.directory / "restored"
        self.playbook("restore_image", client=RESTORED, directory=str(restored))
        self.prove_restore(restored)
        title("6. Synthetic fulls: from the vault alone, without manager and servers")
        self.simulator.clear_calls()
        self.playbook("backup", subclient="demo", backup_type="synthetic_full")
        self.prove_synthetic_full()
        title("7. Verify all recovery points, show what retention would remove, write the reports")
        self.playbook("verify", subclient="demo")
        self.playbook("retention", "--check", subclient="demo")
        self.playbook("report")
        title("8. What was proved")
        pages = ", ".join(sorted(path.name for path in self.reports.iterdir()))
        if self.simulator.running_vms() != before:
            raise SystemExit("not the same VMs run as before")
        left = [vm["name"] for vm in self.simulator.state()["vms"].values() if "ovm-backup" in (vm["name"] or "")]
        if left:
            raise SystemExit(f"clones are left: {left}")
        self.proofs.append("the same VMs run as before, and no clone is left on the manager")
        for proof in self.proofs:
            print(f"  - {proof}")
        print(f"  - pages in {self.reports.name}/: {pages} (make demo KEEP=1 keeps them)")
        stored = [sum(file.stat().st_size for file in point.glob("*.zst")) for point in self.points(RESTORED)]
        kinds = ("full", "incremental", "synthetic full")
        sizes = ", ".join(f"{size} by the {kind}" for size, kind in zip(stored, kinds, strict=True))
        print(f"  - {RESTORED}, bytes stored: {sizes}")


def main() -> int:
    """Run as a program."""
    directory = Path(sys.argv[1]).absolute()
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    keep = os.environ.get("KEEP", "") not in ("", "0")
    started = time.monotonic()
    try:
        state = directory / "simulator"
        with running("sample", state_dir=state, images_cache=directory.parent / "cache" / "images") as simulator:
            Demo(directory, simulator).run()
    finally:
        if not keep:
            shutil.rmtree(directory, ignore_errors=True)
    kept = f"; everything is kept in {directory}" if keep else "; make demo KEEP=1 keeps vault and images"
    print(f"\nDone in {time.monotonic() - started:.0f} s{kept}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
