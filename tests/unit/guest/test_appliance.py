# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How an appliance starts, fails and ends. libguestfs is stood in for; the integration targets use the real one."""

from __future__ import annotations

import ctypes.util
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.ovm.backup.plugins.module_utils.errors import (
    ApplianceError,
    CorruptVaultError,
    GuestFileError,
)
from ansible_collections.ovm.backup.plugins.module_utils.guest import appliance as appliance_file
from ansible_collections.ovm.backup.plugins.module_utils.guest import libguestfs
from ansible_collections.ovm.backup.plugins.module_utils.guest.appliance import Appliance
from ansible_collections.ovm.backup.plugins.module_utils.guest.libguestfs import GuestfsError, Status
from ansible_collections.ovm.backup.plugins.module_utils.guest.serving import ServedDisk, ServedPoint

needs_library = pytest.mark.skipif(
    ctypes.util.find_library("guestfs") is None, reason="libguestfs is not installed: tests/tools/guest-packages.sh"
)
STATUS = Status(0o100644, 0, 0, 1, 1, 1, 1)


class Served(ServedPoint):
    """A recovery point that is said to be served; what the plugin has met is raised by C(check)."""

    problem: Exception | None = None

    def __init__(self) -> None:
        disks = (ServedDisk(0, "system", 1, "0"), ServedDisk(2, "data", 1, "2"))
        super().__init__("/run/x", disks, subprocess.Popen.__new__(subprocess.Popen))

    def check(self) -> None:
        if self.problem is not None:
            raise self.problem


class StandIn:
    """Behaves as a handle of libguestfs; the emulator is a process that only waits."""

    made: list[StandIn] = []
    launches: list[GuestfsError | None] = []

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.threads = {threading.get_ident()}
        self.emulator: subprocess.Popen[bytes] | None = None
        self.closed = False
        self.made.append(self)

    def close(self) -> None:
        self.threads.add(threading.get_ident())
        if self.emulator is not None:
            self.emulator.kill()
            self.emulator.wait()
        self.closed = True

    def add_nbd(self, socket: str, export: str) -> None:
        self.calls.append(("add_nbd", socket, export))

    def do(self, name: str, *arguments: Any) -> int:
        if name == "get_pid":
            assert threading.get_ident() in self.threads, "the library takes one call at a time"
            assert self.emulator is not None
            return self.emulator.pid
        self.threads.add(threading.get_ident())
        self.calls.append((name, *arguments))
        if name == "launch":
            self.emulator = subprocess.Popen(["sleep", "600"])
            failure = self.launches.pop(0) if self.launches else None
            if failure is not None:
                raise failure
        elif name == "wait":
            assert self.emulator is not None
            self.emulator.wait()
            raise GuestfsError("appliance closed the connection unexpectedly", 0)
        elif name == "download" and arguments[0] == b"/hangs":
            return self.do("wait")
        elif name == "download" and arguments[0] == b"/breaks":
            raise GuestfsError("download: Input/output error", 5)
        elif name == "download":
            Path(os.fsdecode(arguments[1])).write_bytes(b"content")
        elif name == "ls0":
            Path(os.fsdecode(arguments[1])).write_bytes(b"b\0a\0")
        elif name == "mount_ro":
            raise GuestfsError("mount_ro: no such device", 2)
        return 0

    def status(self, path: bytes) -> Status:
        raise GuestfsError("lstatns: No such file or directory", 2)

    def statuses(self, _directory: bytes, names: list[bytes]) -> list[Status | None]:
        return [STATUS if name == b"a" else None for name in names]


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[StandIn]]:
    monkeypatch.setattr(appliance_file, "Handle", StandIn)
    monkeypatch.setattr(appliance_file, "check_library", lambda: None)
    monkeypatch.setattr(os, "access", lambda path, mode: path == "/dev/kvm")
    monkeypatch.delenv("LIBGUESTFS_BACKEND", raising=False)
    StandIn.made, StandIn.launches = [], []
    yield StandIn
    assert all(handle.closed for handle in StandIn.made)
    assert all(len(handle.threads) == 1 for handle in StandIn.made), "a handle belongs to one thread"
    assert all(handle.emulator is None or handle.emulator.returncode is not None for handle in StandIn.made)


def test_start(stand_in: type[StandIn]) -> None:
    with Appliance(Served(), 60.0):
        (handle,) = stand_in.made
    assert handle.calls == [
        ("set_autosync", 0),
        ("set_tmpdir", b"/run/x"),
        ("set_backend", b"direct"),
        ("add_nbd", "/run/x/socket", "0"),
        ("add_nbd", "/run/x/socket", "2"),
        ("launch",),
    ]


def test_kvm_that_does_not_work(stand_in: type[StandIn], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBGUESTFS_BACKEND", "libvirt")
    stand_in.launches = [GuestfsError("qemu killed by signal 6 (Aborted).\nmore", 0), None]
    with Appliance(Served(), 60.0):
        first, second = stand_in.made
    assert ("set_backend_settings", [b"force_tcg"]) in second.calls
    assert not any(call[0].startswith("set_backend") for call in first.calls)


KERNEL = (
    ". It is made from a kernel in /boot that the user can read: install the package linux-image-cloud-amd64 (Debian)"
)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("guestfs_launch failed.\nThis means", "guestfs_launch failed. The program libguestfs-test-tool says more"),
        ("/usr/bin/supermin exited with error status 1.", "/usr/bin/supermin exited with error status 1" + KERNEL),
        ("cannot find any suitable supermin", "cannot find any suitable supermin" + KERNEL),
        ("qemu not found", "qemu not found. Install the package qemu-system-x86"),
    ],
)
def test_it_does_not_start(stand_in: type[StandIn], said: str, message: str) -> None:
    stand_in.launches = [GuestfsError(said, 0), GuestfsError(said, 0)]
    with pytest.raises(ApplianceError) as failure:
        Appliance(Served(), 60.0).__enter__()
    assert failure.value.message == f"The appliance of libguestfs does not start: {message}"
    assert len(stand_in.made) == 2


def test_calls() -> None:
    with Appliance(Served(), 60.0) as appliance:
        with pytest.raises(GuestFileError) as failure:
            appliance.status(b"/\xff")
        assert failure.value.message == "Cannot read /\\xff in the guest: lstatns: No such file or directory"
        assert failure.value.as_failure() == {"kind": "GuestFileError", "path": "/\\xff", "errno": 2}
        with pytest.raises(GuestFileError, match="^mount_ro: no such device$"):
            appliance.do("mount_ro", b"/dev/sda1", b"/")
        found = appliance.directory(b"/d")
        assert next(found) == (b"a", STATUS)
        with pytest.raises(GuestFileError, match="Cannot look at /d/b in the guest"):
            next(found)
        with appliance.content(b"/f") as descriptor:
            assert [os.read(descriptor, 100), os.read(descriptor, 100)] == [b"content", b""]


def test_damage_in_the_vault_is_told_instead_of_what_follows_from_it() -> None:
    served = Served()
    with Appliance(served, 60.0) as appliance:
        served.problem = CorruptVaultError("x is damaged", path="x", offset=1)
        with pytest.raises(CorruptVaultError, match="x is damaged"):
            appliance.status(b"/")


def test_a_file_that_ends_early_is_no_reason_but_what_ended_it_is() -> None:
    served = Served()
    short = GuestFileError("/x in the guest has 10 bytes but gives 7: its file system is damaged")
    with Appliance(served, 60.0) as appliance:
        with pytest.raises(GuestFileError, match="/breaks in the guest: download: Inp"), appliance.content(b"/breaks"):
            raise short
        served.problem = CorruptVaultError("x is damaged", path="x", offset=1)
        with pytest.raises(CorruptVaultError, match="x is damaged"), appliance.content(b"/breaks"):
            raise short
        served.problem = None
        with pytest.raises(GuestFileError, match="but gives 7"), appliance.content(b"/whole"):
            raise short


def test_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    class AtOnce(threading.Timer):
        """A timer that is set off by hand."""

        def start(self) -> None:
            timers.append(self)

    timers: list[AtOnce] = []
    monkeypatch.setattr(threading, "Timer", AtOnce)
    with Appliance(Served(), 90.0) as appliance:
        assert timers[0].interval == 90.0
        expired = threading.Thread(target=timers[0].function)
        expired.start()
        for name in ("wait", "wait"):  # also the calls after the end
            with pytest.raises(ApplianceError, match="The appliance was given 90 seconds, and was ended"):
                appliance.do(name)
    expired.join()


def test_an_interruption_ends_the_appliance(stand_in: type[StandIn]) -> None:
    main = threading.get_ident()

    def interrupt() -> None:
        while not stand_in.made:
            pass
        handle = stand_in.made[0]
        while ("wait",) not in handle.calls:
            pass
        signal.pthread_kill(main, signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may ignore it
    try:
        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt), Appliance(Served(), 60.0) as appliance:
            appliance.do("wait")
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("call", ["wait", "content"])
@pytest.mark.parametrize("known", [True, False])
def test_a_call_that_hangs_is_ended(call: str, known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not known:
        monkeypatch.setattr(appliance_file, "open", no_children, raising=False)
    monkeypatch.setattr(appliance_file, "_PATIENCE", 0.1)
    with pytest.raises(KeyboardInterrupt), Appliance(Served(), 60.0) as appliance:
        if call == "content":
            with appliance.content(b"/hangs"):
                raise KeyboardInterrupt
        appliance._thread.submit(appliance._handle.do, "wait")  # type: ignore[union-attr]
        raise KeyboardInterrupt


def no_children(path: str, **options: Any) -> Any:
    if path.endswith("/children"):
        raise FileNotFoundError(path)
    return open(path, **options)


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The real library, with an emulator that hangs before it does anything."""
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(512))

    class Real(libguestfs.Handle):
        def add_nbd(self, socket: str, export: str) -> None:
            self.do("add_drive_ro", os.fsencode(disk))

    monkeypatch.setattr(appliance_file, "Handle", Real)
    for name in ("kernel", "initrd", "root", "README.fixed"):
        (tmp_path / name).touch()
    emulator = tmp_path / "emulator"
    emulator.write_text("#!/bin/sh\nexec sleep 600\n")
    emulator.chmod(0o755)
    monkeypatch.setenv("LIBGUESTFS_PATH", str(tmp_path))
    monkeypatch.setenv("LIBGUESTFS_HV", str(emulator))
    monkeypatch.setenv("LIBGUESTFS_CACHEDIR", str(tmp_path))


@needs_library
def test_the_real_library_is_ended_when_the_time_is_over(hanging: None, tmp_path: Path) -> None:
    served = Served()
    served.directory = str(tmp_path)
    with pytest.raises(ApplianceError, match="The appliance was given 1 seconds, and was ended"):
        Appliance(served, 1.0).__enter__()


@needs_library
def test_the_real_library_is_ended_by_an_interruption(hanging: None, tmp_path: Path) -> None:
    served = Served()
    served.directory = str(tmp_path)
    main = threading.get_ident()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Timer(1.0, signal.pthread_kill, (main, signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            Appliance(served, 600.0).__enter__()
    finally:
        signal.signal(signal.SIGINT, before)


def test_libguestfs_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    libguestfs._library.cache_clear()
    monkeypatch.setattr(libguestfs, "LIBRARY", "libno-such.so.0")
    with pytest.raises(ApplianceError) as missing:
        libguestfs.check_library()
    assert missing.value.as_failure() == {"kind": "ApplianceError", "package": "libguestfs0"}
    assert missing.value.message.startswith("libguestfs is not installed (libno-such.so.0: cannot open shared object")
    assert "install the packages libguestfs0 (Debian) or libguestfs (Oracle Linux)" in missing.value.message
