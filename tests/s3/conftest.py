# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures for the tests of object storage."""

from __future__ import annotations

import pytest

from s3.fixtures import s3_faults, s3_server, s3_storage, without_pauses

__all__ = ["s3_faults", "s3_server", "s3_storage"]


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return how long the library would have waited before it tried again; nobody waits."""
    return without_pauses(monkeypatch)
