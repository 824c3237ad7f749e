# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small Linux that is started from the vault for real, by emulation; and what does not come up or cannot be tried."""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import os
import re
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from unit.export.machines import BOOTS, machine
from unit.guest.conftest import needs_nbdkit
from unit.transfer.builders import Estate
from unit.vault.kinds import ENCRYPTED

from ansible_collections.ovm.backup.plugins.module_utils.errors import (
    BootTestError,
    CorruptVaultError,
    InvalidInputError,
)
from ansible_collections.ovm.backup.plugins.module_utils.export import boot_test, qemu
from ansible_collections.ovm.backup.plugins.module_utils.export.boot_test import (
    BootTestRequest,
    Started,
    plan_boot_test,
    run_boot_test,
)
from ansible_collections.ovm.backup.plugins.module_utils.export.mapping import Wishes, map_machine
from ansible_collections.ovm.backup.plugins.module_utils.export.qmp import connect
from ansible_collections.ovm.backup.plugins.module_utils.export.watch import Conditions, Watch
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point

Bootable = tuple[Estate, Point]
UP = Conditions(pattern=r"guest01 is up and has read its disk")


def start(bootable: Bootable, conditions: Conditions, **options: Any) -> Started:
    estate, point = bootable
    request = BootTestRequest(conditions, accelerator="tcg", cpus=1, **options)
    return run_boot_test(estate.client, plan_boot_test(estate.client, point, request), request)


def digests(directory: str) -> dict[str, str]:
    """Hashes of all files in a directory."""
    files = sorted(path for path in Path(directory).rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@needs_nbdkit
@pytest.mark.parametrize("bootable", [ENCRYPTED], indirect=True)  # the integration target has a plain one
def test_guest_comes_up_and_leaves_nothing(bootable: Bootable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    vault = bootable[0].vault.path
    before = digests(vault)
    seen: list[list[str]] = []

    def missing(self: Watch, *arguments: Any) -> list[str]:
        (folder,) = scratch.iterdir()
        seen.append([path.name for path in folder.iterdir()])
        return look(self, *arguments)

    look = Watch._missing
    monkeypatch.setattr(Watch, "_missing", missing)

    estate, point = bootable
    conditions = Conditions(pattern=UP.pattern, port=80)
    wishes = Wishes(disk_bus="virtio", nic_model="virtio")
    request = BootTestRequest(conditions, wishes, accelerator="tcg", scratch=str(scratch))
    found = run_boot_test(estate.client, plan_boot_test(estate.client, point, request), request)
    result = found.result
    assert result.ok, found.log.decode(errors="replace")
    told = re.sub(r"after \d+ s", "after N s", result.verdict)
    assert told == f"up after N s: its consoles say {UP.pattern!r}, it answers on port 80"
    machine = {"accelerator": "tcg", "chipset": "q35", "firmware": "bios", "disk_bus": "virtio", "nic_model": "virtio"}
    assert result.machine == {**machine, "memory": 256, "cpus": 1}
    assert found.screenshot is not None and found.screenshot.startswith(b"\x89PNG")
    assert b"guest01 is up" in found.log and b"Linux version" in found.log
    # The guest has written to its disk. That was never under a name, nothing of it is left, the vault is as it was.
    assert len(seen) > 2 and all(names == [] for names in seen)
    assert list(scratch.iterdir()) == []
    assert digests(vault) == before


@needs_nbdkit
@pytest.mark.parametrize(
    ("conditions", "options", "verdict"),
    [
        (Conditions(pattern="never"), {"slots": [1]}, "not up after N s: its console says '(Boot failed|No bootable)"),
        (Conditions(pattern="never"), {"timeout": 1.0}, "not up after N s: its consoles do not say 'never'$"),
        (
            Conditions(screen_seconds=1.0, failures=()),
            {"slots": [1]},
            "up after N s: its screen has been the same for",
        ),
        (
            Conditions(port=9, failures=()),
            {"slots": [1], "timeout": 1.0},
            "not up after N s: it does not answer on port",
        ),
    ],
)
def test_verdicts(bootable: Bootable, conditions: Conditions, options: dict[str, Any], verdict: str) -> None:
    found = start(bootable, conditions, **options)
    assert re.match(verdict, re.sub(r"after \d+ s", "after N s", found.result.verdict)), found.result.verdict
    assert found.result.ok is verdict.startswith("up")
    assert found.screenshot is not None
    if options.get("slots"):
        assert b"== text screen\nSeaBIOS" in found.log


@needs_nbdkit
def test_damage_in_the_vault_is_named(bootable: Bootable) -> None:
    estate, point = bootable
    path = Path(estate.client.directory) / point.id / point.disks[0].file
    data = bytearray(path.read_bytes())
    data[3_000_000] ^= 1  # in the kernel
    path.write_bytes(data)
    with pytest.raises(CorruptVaultError, match=f"{path} is damaged"):
        start(bootable, UP)


@needs_nbdkit
def test_qemu_dies_with_who_started_it(bootable: Bootable, tmp_path: Path) -> None:
    """Kill a process while its guest runs; nobody else is left to end it."""
    estate, point = bootable
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    program = textwrap.dedent(
        f"""
        import sys
        sys.path[:0] = {sys.path!r}
        from ansible_collections.ovm.backup.plugins.module_utils.export.boot_test import *
        from ansible_collections.ovm.backup.plugins.module_utils.export.watch import Conditions, Watch
        from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Vault
        client = Vault.open({estate.vault.path!r}).client({estate.client.name!r})
        request = BootTestRequest(Conditions(pattern="never", failures=()), slots=[1], accelerator="tcg",
                                  scratch={str(scratch)!r}, timeout=600)
        plan = plan_boot_test(client, client.point({point.id!r}), request)
        Watch._missing = lambda *_: print("runs", flush=True) or ["more"]
        run_boot_test(client, plan, request)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "runs\n"
    marks = [str(scratch), estate.vault.path]
    assert guests(marks)
    process.kill()
    process.wait()
    process.stdout.close()
    until = time.monotonic() + 20
    while guests(marks) and time.monotonic() < until:
        os.sched_yield()
    assert guests(marks) == []


def guests(marks: list[str]) -> list[int]:
    """Return the ids of processes of qemu whose working directory lies in one of these."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and "qemu" in (entry / "comm").read_text():
                place = os.readlink(entry / "cwd")
                found += [int(entry.name)] if any(place.startswith(mark) for mark in marks) else []
        except OSError:
            continue
    return found


@needs_nbdkit
def test_many_disks(tmp_path: Path) -> None:
    # What an HVM guest gets that has more disks than IDE takes.
    slots = tuple(range(13))
    target = map_machine(machine(*slots), dict.fromkeys(slots, BOOTS), Wishes())
    assert {disk.bus for disk in target.disks} == {"sata"}
    paths = {slot: str(tmp_path / f"{slot}.img") for slot in slots}
    for path in paths.values():
        Path(path).write_bytes(bytes(512))
    hardware = qemu.Hardware(qemu.find_qemu(), "tcg", 64, 1, target, paths, extra=("-S",))
    with tempfile.TemporaryDirectory(dir="/tmp") as short, (tmp_path / "errors").open("w+b") as errors:
        process = qemu.start(qemu.command(hardware, f"{short}/qmp"), str(tmp_path), errors)
        try:
            with contextlib.closing(connect(f"{short}/qmp", lambda: process.poll() is None)) as told:
                assert len(told.command("query-block")) == 13
        finally:
            qemu.end(process)


# --- what cannot be tried --------------------------------------------------------------------------------------------


def test_without_qemu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qemu, "_PROGRAMS", ("no-such-program",))
    with pytest.raises(BootTestError, match="qemu is not installed: install the package qemu-system-x86") as found:
        qemu.find_qemu()
    assert found.value.details == {"package": "qemu-system-x86"}
    monkeypatch.setattr(qemu, "_FIRMWARE", ("/no/such/file",))
    with pytest.raises(BootTestError, match="There is no UEFI firmware for qemu: install the package ovmf"):
        qemu.find_firmware("uefi")
    assert qemu.find_firmware("bios") is None


def test_accelerators(tmp_path: Path) -> None:
    device, able, unable = tmp_path / "kvm", tmp_path / "able", tmp_path / "unable"
    able.write_text("flags\t\t: fpu vmx sse\n")
    unable.write_text("flags\t\t: fpu sse\n")

    def choose(wanted: str, cpus: Path) -> str:
        return qemu.choose_accelerator(wanted, device=str(device), cpus=str(cpus))

    assert choose("auto", able) == "tcg"
    with pytest.raises(BootTestError, match="this user cannot use .*: take auto or tcg"):
        choose("kvm", able)
    device.touch()
    assert [choose(*one) for one in (("auto", able), ("auto", unable), ("kvm", unable), ("tcg", able))] == [
        "kvm", "tcg", "kvm", "tcg",
    ]  # fmt: skip
    with pytest.raises(InvalidInputError, match="accelerator must be one of auto, kvm, tcg, not 'xen'"):
        choose("xen", able)


@pytest.mark.parametrize(
    ("address", "net", "host"), [(None, "10.0.2.0/24", "10.0.2.2"), ("192.168.5.2/28", "192.168.5.0/28", "192.168.5.3")]
)
def test_network_ends_in_qemu(address: str | None, net: str, host: str) -> None:
    found = qemu.Network.parse(address, 22)
    guest = str(ipaddress.IPv4Interface(address or "10.0.2.15/24").ip)
    options = found.option.split(",")
    assert options[:4] == ["user", "id=net0", "restrict=on", "ipv6=off"]
    assert {f"net={net}", f"host={host}", f"dhcpstart={guest}", f"hostfwd=tcp:127.0.0.1:0-{guest}:22"} < set(options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conditions": Conditions()}, "Say what counts as up: one or more of pattern, port and screen_seconds"),
        ({"conditions": Conditions(pattern="(")}, "pattern must be a regular expression, and '\\(' is none: "),
        ({"conditions": Conditions("x", failures=("*",))}, "failure_patterns must be a regular expression, and "),
        ({"conditions": Conditions(screen_seconds=0)}, "screen_seconds must be from 1 to 3600, not 0"),
        ({"conditions": Conditions(port=70000)}, "port must be from 1 to 65535, not 70000"),
        ({"conditions": Conditions(port=22), "network": False}, "port needs the network"),
        ({"address": "10.0.0.1"}, "address must be one of a host in a network of 16 addresses or more, not 10.0.0.1"),
        ({"address": "me"}, "address must be the guest's own with its network, as 192.168.5.20/24, not 'me'"),
        ({"memory": 1}, "memory must be 64 MiB or more, not 1"),
        ({"memory": 1 << 40}, "memory of 1099511627776 MiB was asked for, \\d+ MiB are free here"),
        ({"cpus": 0}, "cpus must be from 1 to 64, not 0"),
        ({"timeout": 0.0}, "timeout must be more than 0, not 0"),
        ({"scratch": "/no/such/directory"}, "scratch_directory /no/such/directory is not a directory"),
        ({"slots": [9]}, "has no disk in slot 9"),
    ],
)
def test_wrong_values(bootable: Bootable, change: dict[str, Any], message: str) -> None:
    estate, point = bootable
    request = BootTestRequest(**{"conditions": UP, **change})
    with pytest.raises(InvalidInputError, match=message):
        plan_boot_test(estate.client, point, request)


def test_memory_by_itself_leaves_the_host_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boot_test, "_free_memory", lambda: 1000)
    assert [boot_test._memory(None, saved) for saved in (16, 400, 4096)] == [64, 400, 500]
