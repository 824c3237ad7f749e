# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the cost of an increment grows with the disk.

The disks have the density of a used one: of every 16 MiB, 11.5 are data and the rest is a hole. The data of all of them
are the same blocks on the volume again and again (FICLONERANGE), so that a disk of 64 GiB takes no more than one of
1 GiB: the extent map and the tables in the vault are those of a disk with 46 GiB of data.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .content import MIB
from .ground import GIB, Ground
from .measure import Measured, measure, run, stored_bytes
from .rounds import Comparison, report
from .spans import changed_extents, clone, clone_range, warm
from .tools.ovm import Ovm, engine

SEED = 5
PERIOD, DATA = 16 * MIB, 11 * MIB + MIB // 2
UNCHANGED_IN_A_ROUND = 5  # they take a part of a second, in which much else can come between
CHANGED, RUN = 0.01, 64 * 1024  # share of the data that a changed disk differs in, by pieces of this size


def label(size: int) -> str:
    """Return how a size stands in the names of operations."""
    return f"{size // GIB}gib" if size % GIB == 0 else f"{size // MIB}mib"


def grow(ground: Ground, sizes: Sequence[int], rounds: int, result: Comparison) -> None:
    """Measure a full once, and in each round some unchanged and a changed increment, for each size."""
    if not ground.maps:
        reason = f"growth curves need extent maps: {ground.reason}"
        result.missing.update({f"unchanged_{label(size)}": reason for size in sizes})
        return
    directory = ground.fresh("growth")
    pattern = directory / "pattern"
    _write_pattern(pattern)
    vaults = {}
    for size in sizes:
        vaults[size] = vault = directory / f"vault-{label(size)}"
        base = _image(directory, size, "base")
        _make_disk(pattern, base, size)
        run(engine("create", vault))
        _measure(ground, result, f"full_{label(size)}", "full", vault, base)
        clone(base, _image(directory, size, "unchanged"))
    # All disks share the blocks of one pattern: once one of them has changed, the kernel has to find out for each
    # extent of all of them what of it is still shared, which no real disk has to do with another one.
    for kind in ("unchanged", "changed"):
        for size in sizes:
            if kind == "changed":
                clone(_image(directory, size, "base"), _image(directory, size, kind))
                _change(_image(directory, size, kind), size)
        for _round in range(rounds * (UNCHANGED_IN_A_ROUND if kind == "unchanged" else 1)):
            for size in sizes:
                # The chain must not become longer from round to round.
                vault = directory / "vault"
                ground.copy_tree(vaults[size], vault)
                image = _image(directory, size, kind)
                measured = _measure(ground, result, f"{kind}_{label(size)}", "incremental", vault, image)
                if kind == "unchanged" and measured.extra.get("changed"):
                    raise SystemExit(f"an unchanged disk of {label(size)} has changed: {measured.extra}")
    for size in sizes:
        changed = changed_extents(_image(directory, size, "base"), _image(directory, size, "changed"))
        found = result.rounds[f"changed_{label(size)}"]["ovm"]
        found[-1] = replace(found[-1], extra={**found[-1].extra, "changed_extents": changed})
    shutil.rmtree(directory)


def _image(directory: Path, size: int, kind: str) -> Path:
    return directory / f"{label(size)}-{kind}.img"


def _write_pattern(path: Path) -> None:
    """Write what fills the disks: no block of it is zeros, none is like another, and it compresses very well."""
    rng = random.Random(SEED)
    filler = rng.randbytes(248)
    with path.open("wb") as file:
        for block in range(DATA // 4096):
            line = block.to_bytes(8, "little") + filler
            file.write(line * 16)


def _make_disk(pattern: Path, path: Path, size: int) -> None:
    with pattern.open("rb") as source, path.open("wb") as target:
        target.truncate(size)
        for at in range(0, size, PERIOD):
            clone_range(source.fileno(), 0, min(DATA, size - at), target.fileno(), at)


def _change(path: Path, size: int) -> None:
    rng = random.Random(SEED)
    runs = DATA // RUN
    with path.open("r+b", buffering=0) as file:
        for _number in range(int(size / PERIOD * DATA * CHANGED / RUN)):
            at = rng.randrange(size // PERIOD) * PERIOD + rng.randrange(runs) * RUN
            os.pwrite(file.fileno(), rng.randbytes(RUN), at)


def _measure(ground: Ground, result: Comparison, operation: str, kind: str, vault: Path, image: Path) -> Measured:
    before = stored_bytes(vault)
    warm(*(path for path in vault.rglob("*") if path.is_file()))
    measured, output = measure(
        engine(kind, vault, image=image, **({"method": "extent_maps"} if kind == "incremental" else {})),
        ground.directory,
    )
    told = Ovm("ovm").told(output)
    measured = replace(measured, stored=stored_bytes(vault) - before, read=told.get("read"), extra=told)
    result.rounds[operation]["ovm"].append(measured)
    report(operation, "ovm", measured)
    return measured
