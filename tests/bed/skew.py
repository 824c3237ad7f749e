# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How far do the clones of several disks lie apart, and in which order?

A writer writes the numbers 1, 2, 3 ... to the disks in turn, each safe before the next begins. Then it tells what each
clone holds. Printed, in figures that depend on the machine: C(make bed-skew), C(make bed-skew ARGS="--rounds 50").
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from .bed import Bed, BedError, running
from .guest_content import PAGE, SLOTS, ordered_numbers

MIB = 1 << 20
ACK = "/run/bed/order.ack"
# How the clones are taken: one program clones all; one request each, as a manager sends to its server; writer stopped.
WAYS = ("together", "request each", "paused")


@dataclass(frozen=True)
class Clone:
    """What one clone holds. C(before), C(after): the last number that was safe when it began, and when it was there."""

    numbers: frozenset[int]
    before: int
    after: int
    begin: float
    end: float

    @property
    def newest(self) -> int:
        """The last number in it."""
        return max(self.numbers)


class Disks:
    """Disks of one guest that writes to them in turn."""

    def __init__(self, bed: Bed, folder: str, devices: Sequence[str], images: Sequence[str], pid: int) -> None:
        self._bed = bed
        self._folder = folder
        self._images = images
        self.devices = devices
        self.pid = pid

    def clones(self, way: str, writes: int = 50) -> list[Clone]:
        """Let the guest write, clone all disks in order, read what the clones hold, remove them."""
        bed = self._bed
        bed.wait_for(ACK, bed.acknowledged(ACK)[0] + writes, self.pid)
        pairs = [(image, f"{image}.clone") for image in self._images]
        if way == "paused":
            bed.run(["kill", "-STOP", str(self.pid)])
        if way == "request each":
            taken = [bed.reflink_all([pair], ACK)[0] for pair in pairs]
        else:
            taken = bed.reflink_all(pairs, ACK)
        if way == "paused":
            bed.run(["kill", "-CONT", str(self.pid)])
        result = []
        for (_image, clone), facts in zip(pairs, taken, strict=True):
            numbers = frozenset(ordered_numbers(bed.read(clone, 0, SLOTS * PAGE)))
            result.append(Clone(numbers, facts["before"][0], facts["after"][0], facts["begin"], facts["end"]))
            bed.remove(clone)
        return result


@contextmanager
def disks(bed: Bed, folder: str, count: int = 2, *, extents: int = 0) -> Iterator[Disks]:
    """Make disks, as loop devices over images as a server gives them to its guests, and start to write to them."""
    images = [f"{folder}/disk{number}.img" for number in range(count)]
    devices = []
    pid = 0
    try:
        for image in images:
            bed.create(image, (64 + 2 * extents) * MIB)
            if extents:
                bed.scribble(image, extents, block=PAGE, begin=MIB, seed=image)
            devices.append(bed.run(["losetup", "--find", "--show", image]).text)
        pid = bed.start(["bed-writer", "order", ACK, *devices])
        bed.wait_for(ACK, 1, pid)
        yield Disks(bed, folder, devices, images, pid)
    finally:
        if pid:
            bed.stop(pid)
        for device in devices:
            bed.run(["losetup", "--detach", device])
        for image in images:
            bed.run(["rm", "-f", image, ACK])


def disk_of(number: int, count: int) -> int:
    """Which disk a number is written to."""
    return (number - 1) % count


def missing_before(clones: Sequence[Clone], newest: int) -> list[int]:
    """Numbers up to C(newest) that no clone holds, as far back as the disks keep them."""
    held: set[int] = set().union(*(clone.numbers for clone in clones))
    return [number for number in range(max(1, newest - SLOTS // 2), newest + 1) if number not in held]


def measure(bed: Bed, way: str, rounds: int, *, extents: int = 0) -> list[tuple[int, float, float]]:
    """Of each round: writes that the second clone is ahead, milliseconds between begins, milliseconds of a clone."""
    folder = f"{bed.repository()}/VirtualDisks/skew"
    bed.mkdir(folder)
    try:
        with disks(bed, folder, extents=extents) as guest:
            result = []
            for _round in range(rounds):
                first, second = guest.clones(way)
                apart = (second.begin - first.begin) * 1000
                result.append((second.newest - first.newest, apart, (first.end - first.begin) * 1000))
        return result
    finally:
        bed.remove(folder)


def main(arguments: list[str] | None = None) -> int:
    """Run as a program."""
    parse = argparse.ArgumentParser(prog="python -m bed.skew", description="Skew between the clones of two disks")
    parse.add_argument("--rounds", type=int, default=20)
    parse.add_argument("--extents", type=int, default=200, help="separate extents of each disk (default 200)")
    options = parse.parse_args(arguments)
    print("                       second clone is ahead by    begins apart     a clone takes")
    print("clones         rounds  writes: median, most, least  ms: median, most  ms: median, most")
    try:
        with running() as bed:
            for way in WAYS:
                found = measure(bed, way, options.rounds, extents=options.extents)
                ahead, apart, each = (sorted(column) for column in zip(*found, strict=True))
                print(
                    f"{way:<14} {len(found):>6}{statistics.median(ahead):>16.0f}{ahead[-1]:>7}{ahead[0]:>7}"
                    f"{statistics.median(apart):>11.1f}{apart[-1]:>7.1f}{statistics.median(each):>11.1f}{each[-1]:>7.1f}",
                    flush=True,
                )
    except BedError as problem:
        print(f"bed: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
