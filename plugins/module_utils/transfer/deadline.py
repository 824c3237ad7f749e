# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""How long a transfer may go on while its VM is down."""

from __future__ import annotations

import time
from typing import Callable

from ..errors import OutageLimitError


class Deadline:
    """So many seconds from now on, whatever happens to the time of day.

    A read that hangs cannot be ended: the deadline is seen when it returns.
    """

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._end = clock() + seconds

    def check(self) -> None:
        """Raise C(OutageLimitError) when the time is over."""
        if self._clock() >= self._end:
            raise OutageLimitError(
                f"The transfer was given up after {max(self._seconds, 0.0):.0f} s, so that the VM can run again before "
                "its outage is longer than max_outage or the outage window allows",
                seconds=self._seconds,
            )
