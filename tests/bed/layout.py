# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the bed keeps what it makes, and what its guest looks like: the facts that its parts share."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
GUEST_FILES = HERE / "guest"

# Storage repositories of the guest by ubd disk. The ids have the shape of Oracle VM's.
REPOSITORIES = ("0004fb0000030000bed0000000000001", "0004fb0000030000bed0000000000002")
REPOSITORIES_PATH = "/OVS/Repositories"
USER_SUDO = "backup"  # may become root by sudo, without a password
USER_PLAIN = "guest"  # may not
USER_NO_PYTHON = "nopython"  # root by another name; its PATH has no python
MODERN_PORT, LEGACY_PORT = 22, 2253


class BedError(RuntimeError):
    """The bed cannot be built, started or used, with what to do about it."""


class BedUnavailable(BedError):
    """This machine cannot run a bed: tests skip with this reason."""


def base_directory() -> Path:
    """C(build/bed) of the clone, or what the make targets say: their stage is not where the cache lies."""
    configured = os.environ.get("OVM_BED_DIR")
    return Path(configured).absolute() if configured else HERE.parents[1] / "build" / "bed"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file; whoever else wants it waits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_locked(path: Path) -> bool:
    """Tell whether some process holds the lock file. The kernel lets go of it with the process, however that ends."""
    try:
        with path.open("r", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
