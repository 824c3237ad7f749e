# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The targets, as ratios within one run, and whether they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Numbers = Mapping[str, Mapping[str, Mapping[str, Any]]]  # operation, tool, what was measured
MIB = 1 << 20
RESTIC = ("restic", "restic-stdin")


@dataclass(frozen=True)
class Target:
    """What is wanted: C(ratio) gives the measured number, or raises C(KeyError) where a part of it was not measured."""

    operation: str
    what: str
    limit: float
    ratio: Callable[[Numbers], float]
    unit: str = ""


@dataclass(frozen=True)
class Verdict:
    """A target and what was measured; C(measured) is missing where it could not be, C(reason) says why."""

    target: Target
    measured: float | None
    reason: str = ""

    @property
    def word(self) -> str:
        """Return how it went."""
        if self.measured is None:
            return "not measured"
        return "pass" if self.measured <= self.target.limit else "FAIL"

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "operation": self.target.operation,
            "target": self.target.what,
            "limit": self.target.limit,
            "measured": self.measured,
            "verdict": self.word,
            "reason": self.reason,
        }


def best(numbers: Numbers, operation: str, tools: Iterable[str], name: str) -> float:
    """Return the smallest value that any of the tools has: the hardest to compare with."""
    found = [numbers[operation][tool][name] for tool in tools if tool in numbers[operation]]
    if not found:
        raise KeyError(" or ".join(tools))
    return float(min(found))


def against(
    operation: str, tools: tuple[str, ...], name: str = "wall", ours: str = "ovm"
) -> Callable[[Numbers], float]:
    """Return a ratio of ours to the best of other tools in the same operation."""
    return lambda numbers: numbers[operation][ours][name] / best(numbers, operation, tools, name)


def by_maps(ratio: Callable[[Numbers], float], ours: str) -> Callable[[Numbers], float]:
    """Return the same for increments that were found by extent maps; others do not count."""

    def checked(numbers: Numbers) -> float:
        numbers["incremental"][ours]["changed_extents"]
        return ratio(numbers)

    return checked


def growth(operation: str, small: str, large: str, name: str) -> Callable[[Numbers], float]:
    """Return how much more an operation costs for a large disk than for a small one."""
    return lambda numbers: numbers[f"{operation}_{large}"]["ovm"][name] / numbers[f"{operation}_{small}"]["ovm"][name]


def read_of_changed(ours: str, operation: str = "incremental") -> Callable[[Numbers], float]:
    """Return the bytes read for an increment by those in changed extents."""
    return lambda numbers: numbers[operation][ours]["read"] / numbers[operation][ours]["changed_extents"]


def peak_memory(numbers: Numbers) -> float:
    """Return the largest peak of all that the engine did, in MiB."""
    found = [tools[name].get("rss") for tools in numbers.values() for name in tools if name.startswith("ovm")]
    known = [float(rss) for rss in found if rss is not None]
    if not known:
        raise KeyError("ovm")
    return max(known) / MIB


def targets(sizes: tuple[str, str] = ("1gib", "64gib"), vms: tuple[int, ...] = (1, 10, 50)) -> list[Target]:
    """Return all targets; C(sizes) are the smallest and the largest disk of the growth curves."""
    maps = "incremental, extents of 4 KiB"
    coarse = "incremental, clusters of 1 MiB (stand-in)"
    ocfs2 = "incremental, OCFS2 over ssh"
    found = [
        Target("full", "CPU / zstd-1 with the same hash", 1.1, against("full", ("zstd1+blake3",), "cpu")),
        Target("full", "wall / restic", 0.5, against("full", RESTIC)),
        Target("full", "wall / borg", 0.5, against("full", ("borg",))),
    ]
    for operation, ours, limit in ((maps, "ovm", 0.1), (coarse, "ovm-1mib", 0.3)):
        wanted = (
            ("wall / restic", limit, against("incremental", RESTIC, ours=ours)),
            ("wall / borg", limit, against("incremental", ("borg",), ours=ours)),
            ("bytes read / changed extents", 1.2, read_of_changed(ours)),
            ("stored / restic", 0.3, against("incremental", RESTIC, "stored", ours)),
            ("stored / borg", 0.3, against("incremental", ("borg",), "stored", ours)),
        )
        found += [Target(operation, what, most, by_maps(ratio, ours)) for what, most, ratio in wanted]
    found += [
        Target(ocfs2, "wall / restic", 0.3, against("incremental_ocfs2", RESTIC)),
        Target(ocfs2, "wall / borg", 0.3, against("incremental_ocfs2", ("borg",))),
        Target(ocfs2, "bytes read / changed extents", 1.2, read_of_changed("ovm-proxy", "incremental_ocfs2")),
        # The server reads both clones to compare them.
        Target(ocfs2, "the same, server compares", 2.4, read_of_changed("ovm-server", "incremental_ocfs2")),
        Target(ocfs2, "stored / restic", 0.3, against("incremental_ocfs2", RESTIC, "stored")),
        Target(ocfs2, "stored / borg", 0.3, against("incremental_ocfs2", ("borg",), "stored")),
        Target("nothing changed", f"wall, {sizes[1]} / {sizes[0]}", 1.5, growth("unchanged", *sizes, "wall")),
        Target("nothing changed", f"CPU, {sizes[1]} / {sizes[0]}", 1.5, growth("unchanged", *sizes, "cpu")),
        Target("restore", "wall / restic", 0.6, against("restore", RESTIC)),
        Target(
            "synthetic full",
            "CPU / that of a full",
            0.5,
            lambda numbers: numbers["synthetic_full"]["ovm"]["cpu"] / numbers["full"]["ovm"]["cpu"],
        ),
        Target("synthetic full", "bytes read of the VM", 0, lambda numbers: numbers["synthetic_full"]["ovm"]["read"]),
        Target("peak memory", "of any operation", 150, peak_memory, "MiB"),
    ]
    return found + orchestration_targets(vms)


def orchestration_targets(vms: tuple[int, ...]) -> list[Target]:
    """Return those about the cost of a VM in a run in which nothing has changed."""

    def per_vm(name: str, count: int) -> Callable[[Numbers], float]:
        return lambda numbers: numbers[f"orchestration_{count}_vms"]["ovm"][name]

    def growing(name: str) -> Callable[[Numbers], float]:
        return lambda numbers: per_vm(name, vms[-1])(numbers) / per_vm(name, vms[0])(numbers)

    found = []
    for count in vms:
        found.append(Target("orchestration", f"CPU per VM of {count}", 3, per_vm("cpu", count), "s"))
        found.append(Target("orchestration", f"manager calls per VM of {count}", 25, per_vm("calls", count)))
    found.append(Target("orchestration", f"CPU per VM, {vms[-1]} VMs / {vms[0]}", 1, growing("cpu")))
    found.append(Target("orchestration", f"calls per VM, {vms[-1]} VMs / {vms[0]}", 1, growing("calls")))
    return found


def judge(numbers: Numbers, wanted: Iterable[Target], missing: Mapping[str, str]) -> list[Verdict]:
    """Compare what was measured with the targets. C(missing) says why a tool or an operation was not measured."""
    found = []
    for target in wanted:
        try:
            found.append(Verdict(target, target.ratio(numbers)))
        except (KeyError, TypeError) as error:
            name = str(error.args[0])
            found.append(Verdict(target, None, missing.get(name, f"{name} was not measured")))
    return found
