# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Work on segments in several threads, with results in order and a bounded number in memory."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

_Result = TypeVar("_Result")
# Seconds. The caller's thread reads and writes between short waits for the interpreter lock; with the default of 5 ms,
# each of those could last as long as the compression of a whole segment.
_SWITCH_INTERVAL = 0.0005


class OrderedPool(Generic[_Result]):
    """A pool whose results are given to C(consume) in the order in which the work was handed in.

    Hashing, compression and file access release the interpreter lock, so threads are enough. At most C(2 * workers + 2)
    pieces of work exist at once. The first exception ends the pool and is raised to the caller.
    """

    def __init__(self, consume: Callable[[_Result], None], workers: int | None = None) -> None:
        self._consume = consume
        # One more than there are processors: what a thread does outside of the lock leaves one to the others.
        self._workers = workers or max(1, min(4, os.cpu_count() or 1)) + 1
        self._executor = ThreadPoolExecutor(self._workers, thread_name_prefix="ovm-backup")
        self._waiting: deque[Future[_Result]] = deque()

    def __enter__(self) -> OrderedPool[_Result]:
        self._interval = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_INTERVAL)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_exception: object) -> None:
        try:
            if kind is None:
                while self._waiting:
                    self._consume(self._waiting.popleft().result())
        finally:
            for future in self._waiting:
                future.cancel()
            self._executor.shutdown(wait=True)
            sys.setswitchinterval(self._interval)

    def submit(self, work: Callable[..., _Result], *arguments: Any) -> None:
        """Hand in a piece of work; may consume earlier results."""
        self._waiting.append(self._executor.submit(work, *arguments))
        while len(self._waiting) > 2 * self._workers + 1:
            self._consume(self._waiting.popleft().result())

    def put(self, result: _Result) -> None:
        """Hand in a result that needed no work, in its place in the order."""
        future: Future[_Result] = Future()
        future.set_result(result)
        self._waiting.append(future)
        while self._waiting and self._waiting[0].done():
            self._consume(self._waiting.popleft().result())
