# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures: a simulator for each worker of pytest, a bench with a new vault for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from playbooks.bench import Bench, settled
from simulator.testing import Simulator, running

ESTATE = Path(__file__).with_name("estate.yml")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that several workers end together."""
    items.sort(key=lambda item: item.path.stem not in ("test_run", "test_interrupted"))


@pytest.fixture(scope="session")
def images_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory that keeps disk images between runs, where the caller names one."""
    kept = os.environ.get("OVM_TEST_IMAGES")
    return Path(kept) if kept else tmp_path_factory.mktemp("images")


@pytest.fixture(scope="session")
def simulator(images_cache: Path) -> Iterator[Simulator]:
    """A simulator with the estate of this suite."""
    with running(str(ESTATE), images_cache=images_cache) as started:
        yield started


@pytest.fixture
def bench(simulator: Simulator, tmp_path: Path) -> Iterator[Bench]:
    """A bench with an empty vault. When the test is over, nothing may be left anywhere."""
    made = Bench(simulator, tmp_path / "bench")
    made.make_vault()
    with settled(made):
        yield made
