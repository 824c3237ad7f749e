# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The simulator's clock: seconds since the epoch, which tests may push forward."""

from __future__ import annotations

import time


class Clock:
    """Real time multiplied by ``speed``, plus whatever was added by :meth:`advance`."""

    def __init__(self, speed: float = 1.0) -> None:
        self._speed = speed
        # Whole milliseconds, as the manager's times are.
        self._begin = round(time.time(), 3)
        self._real_begin = time.monotonic()
        self._added = 0.0

    def now(self) -> float:
        """Seconds since the epoch in simulated time."""
        return self._begin + (time.monotonic() - self._real_begin) * self._speed + self._added

    def advance(self, seconds: float) -> None:
        """Push simulated time forward by this many seconds."""
        if seconds < 0:
            raise ValueError("time cannot go backwards")
        self._added += seconds


class ManualClock(Clock):
    """A clock that only moves when told to."""

    def __init__(self, begin: float = 1_582_725_527.0) -> None:
        super().__init__(speed=0.0)
        self._begin = begin
