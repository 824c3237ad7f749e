# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""A recovery point that is served for a person or another program, until it is told to end or its time is over.

A directory stands for it. nbdkit removes the directory when it ends, whatever ends it but a SIGKILL.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import select
import shutil
import signal
import time
from collections.abc import Collection
from typing import Any

from ..errors import InvalidInputError, ServingError, TargetError
from ..vault.manifest import Point, chosen_disks
from ..vault.points import Client
from ..vault.processes import boot_id, is_dead_process, is_of_earlier_boot
from .plugin import ABOUT, SOCKET
from .serving import ServedDisk, check_length, find_nbdkit, nbdkit_command, prepare, start

_END_LIMIT = 10.0
_PAUSE = 0.05


def served_at(directory: str) -> dict[str, Any] | None:
    """Return what is served at a directory now, or nothing when there is no such directory, or what it was has ended.

    Raises C(InvalidInputError) for a directory that is not one of ours, or that another host or container serves: the
    number of its process is that of somebody else here.
    """
    try:
        with open(os.path.join(directory, ABOUT), encoding="utf-8") as file:
            about = dict(json.load(file))
    except FileNotFoundError:
        if not os.path.lexists(directory):
            return None
        raise InvalidInputError(
            f"{directory} exists and no recovery point is served there: name a directory that does not exist",
            path=directory,
        ) from None
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"{directory} exists and cannot be looked at: {error}", path=directory) from error
    if is_dead_process(about) or is_of_earlier_boot(about):
        return None
    if about.get("host") != platform.node() or about.get("boot") != boot_id():
        raise InvalidInputError(
            f"{directory} is served by another host or container ({about.get('host')}): end it there, or name another "
            "directory",
            path=directory,
        )
    return about


def describe_served(client: Client, point: Point, directory: str, slots: Collection[int] | None) -> dict[str, Any]:
    """Return what will be served, for people and programs; raise for what could not be, before anything is made."""
    find_nbdkit()
    check_length(directory)
    parent = os.path.dirname(directory)
    if not os.path.isdir(parent):
        raise InvalidInputError(
            f"{directory} cannot be made: {parent} does not exist. Name a directory in one that does", path=directory
        )
    chosen = chosen_disks(point, slots)
    for disk in chosen:
        client.open_disk(point, disk).close()
    socket = os.path.join(directory, SOCKET)
    disks = [ServedDisk(disk.slot, disk.name, disk.size, str(disk.slot)).as_dict(socket) for disk in chosen]
    return {"directory": directory, "socket": socket, "client": client.name, "point": point.id, "disks": disks}


def check_same(served: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raise C(InvalidInputError) when another recovery point or other disks are served than those that are wanted."""
    if any(served.get(name) != wanted[name] for name in ("client", "point", "disks")):
        slots = ", ".join(str(disk["slot"]) for disk in served["disks"])
        raise InvalidInputError(
            f"{wanted['directory']} serves recovery point {served['point']} of client {served['client']}, slots "
            f"{slots}: end that first, or name another directory",
            path=wanted["directory"],
        )


def begin_serving(client: Client, point: Point, wanted: dict[str, Any], *, seconds: int, now: float) -> dict[str, Any]:
    """Serve what C(describe_served) returned, detached from this process; return it with the time of its end."""
    directory = wanted["directory"]
    end_serving(directory)
    about = {**wanted, "ends": now + seconds}
    try:
        os.mkdir(directory, 0o700)
    except OSError as error:
        raise TargetError(f"Cannot create {directory}: {error.strerror}", path=directory, errno=error.errno) from error
    try:
        prepare(client, point, directory, slots=[disk["slot"] for disk in wanted["disks"]], about=about)
        # nbdkit ends with its parent: with timeout, which nothing but its time ends.
        keeper = ["setsid", "--fork", "timeout", "--kill-after=10", str(seconds)]
        start([*keeper, *nbdkit_command(find_nbdkit(), directory)], directory, client.vault_path).wait()
    except BaseException:
        with contextlib.suppress(Exception):
            end_serving(directory)
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return about


def end_serving(directory: str) -> bool:
    """End what is served at a directory, and remove what is left of it; return whether there was anything.

    A process is ended only when it is proved to be the one that serves there.
    """
    about = served_at(directory)
    if about is None:
        if not os.path.lexists(directory):
            return False
    elif not _end(about):
        raise ServingError(f"The process {about['pid']} that serves {directory} does not end", path=directory)
    shutil.rmtree(directory, ignore_errors=True)
    return True


def _end(about: dict[str, Any]) -> bool:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            process = os.pidfd_open(about["pid"])
        except ProcessLookupError:
            return True
        except (AttributeError, OSError):  # an old kernel or Python, or a container that does not know this call
            if _signalled(about, number):
                return True
            continue
        try:
            # Behind the descriptor is now one process only; it is the right one if it has been so just now.
            if is_dead_process(about):
                return True
            signal.pidfd_send_signal(process, number)
            if select.select([process], [], [], _END_LIMIT)[0]:
                return True
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        finally:
            os.close(process)
    return False


def _signalled(about: dict[str, Any], number: int) -> bool:
    """Send a signal to the process, and return whether it has ended then."""
    until = time.monotonic() + _END_LIMIT
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if not is_dead_process(about):
            os.kill(about["pid"], number)
        while not is_dead_process(about) and time.monotonic() < until:
            time.sleep(_PAUSE)
    return is_dead_process(about)
