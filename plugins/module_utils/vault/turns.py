# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Turns: what no two processes may do at once, whichever run or proxy they belong to.

How a process has the turn of a path is the matter of the storage: in a directory by a lock of the operating system, in
a bucket by an object with a lease. It ends with its process.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Callable

from ..errors import VaultLockedError
from .files import is_folder, make_directory, take_turn
from .points import Vault
from .text import safe_name

_PAUSE = 0.5  # seconds between two looks


@contextlib.contextmanager
def turns(
    vault: Vault,
    names: Mapping[str, int],
    *,
    limit: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Have the turns of all these names for the length of the block, after up to C(limit) seconds of waiting.

    C(names) say how many may have each turn at the same time. Raises C(VaultLockedError) when it does not come to that.
    """
    directory = os.path.join(vault.path, "turns")
    if not is_folder(directory):  # to make it durable once more costs writes
        make_directory(directory)
    deadline = clock() + limit
    with contextlib.ExitStack() as stack:
        # All take them in the same order, so that no two wait for each other.
        for name in sorted(names):
            places = [name if number == 0 else f"{name}.{number}" for number in range(names[name])]
            paths = [os.path.join(directory, safe_name(place)) for place in places]
            while not _take_one(paths, stack):
                if clock() >= deadline:
                    raise VaultLockedError(
                        f"Other runs did not leave {name} to this one in {limit:g} s: {paths[0]} is locked",
                        path=paths[0],
                    )
                sleep(_PAUSE)
        yield


def _take_one(paths: Sequence[str], stack: contextlib.ExitStack) -> bool:
    """Lock one of the files, for as long as the stack lives."""
    for path in paths:
        turn = take_turn(path)
        if turn is not None:
            stack.callback(turn.release)
            return True
    return False
