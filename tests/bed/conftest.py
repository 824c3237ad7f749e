# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The bed for tests in this folder: one for all of them, a folder in it for each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from bed.bed import Bed, BedUnavailable, running

_numbers = itertools.count()


@pytest.fixture(scope="session")
def bed() -> Iterator[Bed]:
    """The bed of C(make bed), cleared, or one for this run. Skips with the reason where there can be none."""
    try:
        context = running()
        found = context.__enter__()
    except BedUnavailable as problem:
        pytest.skip(f"no test bed: {problem}")
    try:
        yield found
    finally:
        context.__exit__(None, None, None)


@pytest.fixture(scope="session")
def bed_file(bed: Bed) -> Path:
    """What a simulator takes to keep its storage repositories on the bed. Skips where it could not mount them."""
    if not Path("/dev/fuse").exists():
        pytest.skip("no simulator on the bed: it needs /dev/fuse, which this machine does not have")
    return Path(bed.info["run_dir"]) / "bed.json"


@pytest.fixture
def folder(bed: Bed) -> Iterator[str]:
    """A folder of the test's own in the first storage repository, removed after it."""
    path = f"{bed.repository()}/VirtualDisks/test-{next(_numbers)}"
    bed.mkdir(path)
    yield path
    bed.remove(path)
