# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The appliance of libguestfs over the disks of a recovery point: the kernel that mounts them is that of a small VM.

What a guest has written on its disks is never parsed by the kernel of the proxy, nor with the rights of the user beyond
those of an emulator without a network.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import Callable, TypeVar

from ..errors import ApplianceError, GuestFileError
from .libguestfs import Argument, GuestfsError, Handle, Status, check_library
from .serving import ServedPoint

_Result = TypeVar("_Result")
# So many files are asked for at once; the answers of an appliance may have 4 MiB.
_BATCH = 1000
# Seconds.
_PATIENCE = 10.0
_MOMENT = 1.0
_PAUSE = 0.2


class Appliance:
    """A started appliance. Every failure of a call is a C(GuestFileError), or what ended the whole.

    Its thread makes all the calls: so an interruption of the program is noticed at once and not after the call, and
    ends the appliance, as does the end of C(time_limit) seconds.
    """

    def __init__(self, served: ServedPoint, time_limit: float) -> None:
        check_library()
        self._served = served
        self._limit = time_limit
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="ovm-appliance")
        self._timer = threading.Timer(time_limit, self._expire)
        self._timer.daemon = True
        self._handle: Handle | None = None
        self._expired = False
        self._over = threading.Event()
        self._caller: int | None = None  # the thread that makes the calls, as the kernel knows it
        self._emulator: int | None = None

    def __enter__(self) -> Appliance:
        self._timer.start()
        try:
            self._in_thread(self._launch)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        self._close()

    def do(self, name: str, *arguments: Argument) -> int:
        """Call a function of libguestfs that returns a number."""
        return self._call(lambda handle: handle.do(name, *arguments))

    def text(self, name: str, *arguments: Argument) -> str:
        """Call one that returns a text."""
        return self._call(lambda handle: handle.text(name, *arguments))

    def words(self, name: str, *arguments: Argument) -> list[bytes]:
        """Call one that returns words."""
        return self._call(lambda handle: handle.words(name, *arguments))

    def pairs(self, name: str, *arguments: Argument) -> dict[bytes, bytes]:
        """Call one that returns pairs of words."""
        return self._call(lambda handle: handle.pairs(name, *arguments))

    def status(self, path: bytes) -> Status:
        """Return what is known of a file; a link is not followed."""
        return self._call(lambda handle: handle.status(path), path)

    def directory(self, path: bytes) -> Iterator[tuple[bytes, Status]]:
        """Yield the names in a directory, sorted, and what is known of them."""
        names = self._names(path)
        for start in range(0, len(names), _BATCH):
            batch = names[start : start + _BATCH]
            statuses = self._call(lambda handle, batch=batch: handle.statuses(path, batch), path)  # type: ignore[misc]
            for name, status in zip(batch, statuses):
                if status is None:
                    whole = os.path.join(path, name)
                    raise GuestFileError(f"Cannot look at {shown(whole)} in the guest", path=shown(whole))
                yield name, status

    def link(self, path: bytes) -> bytes:
        """Return where a symbolic link leads."""
        return self._call(lambda handle: handle.raw("readlink", path), path)

    @contextlib.contextmanager
    def content(self, path: bytes) -> Iterator[int]:
        """Give a file descriptor that the content of a file is read from, up to its end.

        Raises C(GuestFileError) at the end of the block when not all could be read.
        """
        ours, theirs = os.pipe()
        done: concurrent.futures.Future[int] | None = None
        try:
            done = self._thread.submit(self._download, path, theirs)
            theirs = -1
            try:
                yield ours
            except GuestFileError:
                # What has ended it says more than that something is missing, and may be damage in the vault.
                if concurrent.futures.wait([done], _MOMENT).done:
                    self._result(done, path)
                raise
            os.close(ours)
            ours = -1
            self._result(done, path)
        finally:
            for descriptor in (ours, theirs):
                if descriptor >= 0:
                    os.close(descriptor)
            if done is not None and not concurrent.futures.wait([done], _PATIENCE).done:
                # Without a reader the call fails at its next write. Where none comes, the appliance hangs.
                self._end_call(done)

    def _download(self, path: bytes, descriptor: int) -> int:
        try:
            return self._handle.do("download", path, b"/dev/fd/%d" % descriptor) if self._handle else -1
        finally:
            os.close(descriptor)

    def _names(self, path: bytes) -> list[bytes]:
        descriptor = os.memfd_create("ovm-names")
        try:
            self._call(lambda handle: handle.do("ls0", path, b"/dev/fd/%d" % descriptor), path)
            size = os.fstat(descriptor).st_size
            return sorted(name for name in os.pread(descriptor, size, 0).split(b"\0") if name)
        finally:
            os.close(descriptor)

    def _launch(self) -> None:
        """Start with what the machine has, and once more without KVM: that may be there and not work."""
        problem = ""
        self._caller = threading.get_native_id()
        for settings in ([], [b"force_tcg"]):
            handle = Handle()
            try:
                handle.do("set_autosync", 0)
                # Gone with nbdkit, also when this process is killed. What the guest's journals replay is written there.
                handle.do("set_tmpdir", os.fsencode(self._served.directory))
                if "LIBGUESTFS_BACKEND" not in os.environ:
                    handle.do("set_backend", b"direct")
                if settings:
                    handle.do("set_backend_settings", settings)
                for disk in self._served.disks:
                    handle.add_nbd(self._served.socket, disk.export)
                self._handle = handle
                handle.do("launch")
                with contextlib.suppress(GuestfsError):  # not every backend knows
                    self._emulator = handle.do("get_pid")
                return
            except GuestfsError as error:
                problem = str(error)
            except BaseException:
                self._forget(handle)
                raise
            self._forget(handle)
            if self._over.is_set() or self._expired or not os.access("/dev/kvm", os.R_OK | os.W_OK):
                break
        raise ApplianceError(f"The appliance of libguestfs does not start: {_advice(problem)}", output=problem)

    def _forget(self, handle: Handle) -> None:
        self._handle = None
        handle.close()

    def _call(self, function: Callable[[Handle], _Result], path: bytes | None = None) -> _Result:
        def call() -> _Result:
            if self._handle is None:
                raise ApplianceError("The appliance has ended")
            return function(self._handle)

        return self._result(self._thread.submit(call), path)

    def _in_thread(self, function: Callable[[], None]) -> None:
        self._result(self._thread.submit(function), None)

    def _result(self, future: concurrent.futures.Future[_Result], path: bytes | None) -> _Result:
        try:
            return future.result()
        except (GuestfsError, ApplianceError) as error:
            # What lies at the bottom of it comes first: damage in the vault is only an I/O error for the appliance.
            self._served.check()
            if self._expired:
                raise ApplianceError(f"The appliance was given {self._limit:.0f} seconds, and was ended") from error
            if isinstance(error, ApplianceError):
                raise
            where = f"Cannot read {shown(path)} in the guest: " if path is not None else ""
            raise GuestFileError(
                f"{where}{error}", path=shown(path) if path is not None else None, errno=error.number or None
            ) from error

    def _expire(self) -> None:
        self._expired = True
        while not self._over.is_set():
            self._kill()
            self._over.wait(_PAUSE)

    def _kill(self) -> None:
        """End the emulator, or what the library starts before it: the call that waits for it fails.

        The library cannot be asked for it now: it takes one call at a time, and that is the one to be ended.
        """
        for process in self._processes():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)

    def _processes(self) -> list[int]:
        """Return what the thread of the calls has started: nothing but the library starts anything there."""
        try:
            with open(f"/proc/self/task/{self._caller}/children", encoding="ascii") as file:
                return [int(process) for process in file.read().split()]
        except OSError:  # not every kernel tells, or the thread has not begun
            return [] if self._handle is None or self._emulator is None else [self._emulator]

    def _end_call(self, call: concurrent.futures.Future[_Result]) -> None:
        """Return when a call has ended, whatever it takes."""
        while not call.done():
            self._kill()
            concurrent.futures.wait([call], _PAUSE)

    def _close(self) -> None:
        self._timer.cancel()
        self._over.set()
        self._kill()
        ended = self._thread.submit(self._end)
        self._end_call(ended)
        ended.result()
        self._thread.shutdown()

    def _end(self) -> None:
        if self._handle is not None:
            self._forget(self._handle)


def shown(path: bytes) -> str:
    """Return a guest's path as a text that can be shown and sent, whatever bytes it has."""
    return path.decode("utf-8", "backslashreplace")


def _advice(problem: str) -> str:
    first = problem.splitlines()[0].rstrip(".") if problem else "unknown error"
    if "supermin" in problem or "kernel" in problem:
        return (
            f"{first}. It is made from a kernel in /boot that the user can read: install the package "
            "linux-image-cloud-amd64 (Debian)"
        )
    if "qemu" in first and ("not found" in first or "cannot find" in first):
        return f"{first}. Install the package qemu-system-x86"
    return f"{first}. The program libguestfs-test-tool says more"
