# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A proxy that is lost in the middle: Ansible runs neither rescue nor always for an unreachable host by itself."""

from __future__ import annotations

from playbooks.bench import Bench, only, reasons, wait_until

VM = "bigfiles01"


def test_proxy_is_lost_while_a_vm_is_shut_down(bench: Bench) -> None:
    temporary = bench.directory / "temporary-of-proxy2"
    # Without pipelining each step needs a directory on the proxy; when that cannot be made, the proxy is unreachable.
    bench.hosts = {"localhost": {}, "proxy2": {"ansible_remote_tmp": str(temporary), "ansible_pipelining": False}}
    bench.subclients = {"one": only(VM, two_pass=False), "none": only("nobody", allow_empty=True)}
    slow = {"ovm_backup_compression_level": 19, "ovm_backup_proxies": ["proxy2"]}
    playbook = bench.start("backup", subclient="one", **slow)
    wait_until(lambda: playbook.freeze_transfers() or playbook.process.poll() is not None, "the VM is being read")
    assert bench.state_of(VM) == "STOPPED"
    temporary.rename(bench.directory / "gone")
    temporary.touch()
    playbook.freeze_transfers(False)
    outcome = playbook.wait()

    assert outcome.code != 0
    assert bench.state_of(VM) == "STOPPED"
    job = bench.job()
    assert (job["state"], job["status"]) == ("finished", "Failed")
    # The record of the VM could not be written from the proxy either.
    assert reasons(job) == {VM: "the run ended before this VM was finished"}
    assert "the VM is not running again: Proxy proxy2 cannot be reached" in outcome.output
    assert bench.locks()[VM]["debts"] == {"vm_stopped": True}

    bench.end_leases()
    outcome = bench.backup("none")
    assert f"left work undone on VM {VM}: the VM was started" in outcome.output
    assert bench.state_of(VM) == "RUNNING"


def test_proxy_that_hangs_is_left_out(bench: Bench) -> None:
    """As where the vault is mounted by a server that does not answer any more."""
    hanging = bench.directory / "python"
    hanging.write_text("#!/bin/sh\nexec sleep 600\n", encoding="utf-8")
    hanging.chmod(0o755)
    bench.hosts = {"localhost": {}, "proxy2": {"ansible_python_interpreter": str(hanging)}}
    bench.subclients = {"two": only("web01", "mail01", reference_clone="remove")}
    playbook = bench.start("backup", subclient="two", ovm_backup_proxies=["localhost", "proxy2"], plan_proxy_timeout=8)
    outcome = playbook.wait()
    playbook.kill()  # what still sleeps
    assert outcome.code == 0, outcome.output
    found = {name: (vm["status"], vm["proxy"]) for name, vm in bench.job()["vms"].items()}
    assert found == dict.fromkeys(("web01", "mail01"), ("Completed", "localhost"))
    why = "it gave no answer in time: perhaps a mount hangs there"
    assert bench.job()["warnings"] == [f"proxy 'proxy2': {why}; it is left out of this run, the others do its work"]


def test_proxy_that_cannot_be_reached_is_left_out(bench: Bench) -> None:
    bench.hosts = {"localhost": {}, "proxy2": {"ansible_remote_tmp": "/dev/null/none", "ansible_pipelining": False}}
    bench.subclients = {"two": only("web01", "mail01")}
    outcome = bench.start("backup", subclient="two", ovm_backup_proxies=["localhost", "proxy2"]).wait()
    assert outcome.code == 0, outcome.output
    found = {name: (vm["status"], vm["proxy"]) for name, vm in bench.job()["vms"].items()}
    assert found == dict.fromkeys(("web01", "mail01"), ("Completed", "localhost"))
    [warning] = bench.job()["warnings"]
    assert warning.startswith("proxy 'proxy2': it cannot be reached: ")
    assert warning.endswith("; it is left out of this run, the others do its work")
