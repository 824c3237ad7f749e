# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Report files: compared with what is there, and replaced in one step."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile

from ..errors import ReportError

# Reports hold the names of VMs and what is wrong with them. The node exporter is another user than ours.
PRIVATE_MODE = 0o640
PUBLIC_MODE = 0o644


def read_report(path: str) -> bytes | None:
    """Return what a report file holds, or nothing if there is none."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ReportError(f"Cannot read the report {path}: {error.strerror}", path=path) from error


def check_place(path: str) -> None:
    """Raise C(ReportError) unless a report can be at this path: its directory is there and it is no directory."""
    directory = os.path.dirname(path) or "."
    if not os.path.isdir(directory):
        raise ReportError(
            f"Cannot write the report {path}: there is no directory {directory}. Reports do not make "
            "directories, so that a file system that is not mounted is noticed",
            path=path,
        )
    if os.path.isdir(path):
        raise ReportError(f"Cannot write the report {path}: it is a directory; name a file in it", path=path)


def write_report(path: str, data: bytes, new_mode: int = PRIVATE_MODE) -> None:
    """Replace a report in one step: who reads it sees the old or the new one, whoever else writes it at the same time.

    A new file has the mode that is given; an existing one keeps its own.
    """
    # Of a link the file that it leads to is replaced, as if it were opened.
    target = os.path.realpath(path)
    try:
        with contextlib.ExitStack() as undo:
            descriptor, temporary = tempfile.mkstemp(prefix=".ovm-backup-", suffix=".new", dir=os.path.dirname(target))
            undo.callback(_remove, temporary)
            with open(descriptor, "wb") as file:
                os.fchmod(descriptor, _mode_of(target, new_mode))
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            os.replace(temporary, target)
            undo.pop_all()
    except OSError as error:
        raise ReportError(f"Cannot write the report {path}: {error.strerror}", path=path) from error


def _mode_of(path: str, new_mode: int) -> int:
    try:
        return stat.S_IMODE(os.stat(path).st_mode)
    except FileNotFoundError:
        return new_mode


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
