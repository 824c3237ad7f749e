# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Files of a guest into a directory of the proxy, under the paths that they have in the guest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Callable, NamedTuple

from ..errors import GuestFileError, InvalidInputError
from .appliance import shown
from .destination import Destination, kept_time
from .files import GuestFile, Source, walk


class Item(NamedTuple):
    """Something to copy. C(state) is what the target is: missing, current or different."""

    source: GuestFile
    state: str


@dataclass
class CopyPlan:
    """What a copy will do. C(left_out) is what it does not copy: the path and why."""

    items: list[Item] = field(default_factory=list)
    left_out: list[dict[str, str]] = field(default_factory=list)

    def count(self, kind: str, *states: str) -> int:
        """Return how many of a kind are in one of the states."""
        return sum(item.source.kind == kind and item.state in states for item in self.items)

    @property
    def size(self) -> int:
        """Return the bytes of the files to copy."""
        return sum(item.source.status.size for item in self._files())

    @property
    def space(self) -> int:
        """Return the bytes that they take: holes take none."""
        return sum(min(item.source.status.size, item.source.status.blocks * 512) for item in self._files())

    @property
    def changes(self) -> bool:
        """Return whether there is anything to do."""
        return any(item.state != "current" for item in self.items)

    def _files(self) -> Iterator[Item]:
        return (item for item in self.items if item.source.kind == "file" and item.state != "current")


@dataclass(frozen=True)
class CopyRules:
    """What may be copied. C(links): whether symbolic links are made anew; otherwise they are left out."""

    overwrite: bool = False
    links: bool = False
    max_files: int = 100_000
    max_size: int | None = None


def plan_copy(source: Source, paths: Sequence[bytes], destination: str, rules: CopyRules) -> CopyPlan:
    """Say what there is to do; raise for anything that could not work, before anything is written."""
    plan = CopyPlan()
    seen: set[bytes] = set()
    with Destination(destination) as target:
        for path in paths:
            for found in _with_parents(source, path):
                if found.path in seen:
                    continue
                seen.add(found.path)
                if len(seen) > rules.max_files:
                    raise GuestFileError(
                        f"There are more than {rules.max_files} files to copy: name less, or allow more",
                        path=shown(path),
                    )
                reason = _reason_to_skip(source, found, rules)
                if reason is not None:
                    plan.left_out.append({"path": shown(found.path), "reason": reason})
                elif found.path != b"/":
                    plan.items.append(Item(found, _state(source, found, target, rules)))
        if rules.max_size is not None and plan.size > rules.max_size:
            raise GuestFileError(f"The files to copy have {plan.size} bytes, and {rules.max_size} are allowed")
        target.check_space(plan.space)
    return plan


def copy_files(
    source: Source, plan: CopyPlan, destination: str, progress: Callable[[str, int, int], None] | None = None
) -> None:
    """Carry a plan out. Each file appears when it is complete; one that is not is gone."""
    total, done = plan.size, 0
    directories = [item.source for item in plan.items if item.source.kind == "directory"]
    with Destination(destination, make=True) as target:
        for item in plan.items:
            found = item.source
            if item.state == "current":
                continue
            if found.kind == "directory":
                target.make_directory(found)
            elif found.kind == "link":
                target.make_link(found, source.link(found.path))
            else:
                with source.content(found.path) as content:
                    target.make_file(found, content, replace=item.state == "different")
                done += found.status.size
                if progress is not None:
                    progress("files", done, total)
        # Their content has changed their times until now.
        for found in reversed(directories):
            target.keep_times(found)


def _with_parents(source: Source, path: bytes) -> Iterator[GuestFile]:
    """Yield the directories on the way, which have times to keep too, and then what is there."""
    parts = path.split(b"/")[1:]
    for number in range(1, len(parts)):
        above = b"/" + b"/".join(parts[:number])
        found = GuestFile(above, source.status(above))
        if found.kind != "directory":
            raise GuestFileError(
                f"{shown(above)} in the guest is not a directory but on the way to {shown(path)}: name the path "
                "without links",
                path=shown(above),
            )
        yield found
    yield from walk(source, path)


def _reason_to_skip(source: Source, found: GuestFile, rules: CopyRules) -> str | None:
    if found.kind == "other":
        return "it is neither a file, a directory nor a link"
    if found.kind == "link" and not rules.links:
        return f"it is a link to {shown(source.link(found.path))}"
    return None


def _state(source: Source, found: GuestFile, target: Destination, rules: CopyRules) -> str:
    there = target.status(found.path)
    if there is None:
        return "missing"
    path = target.path(found.path)
    kind = GuestFile(b"", found.status._replace(mode=there.st_mode)).kind
    if kind != found.kind:
        raise InvalidInputError(
            f"{path} exists and is no {found.kind}, as {shown(found.path)} in the guest is: move it away", path=path
        )
    if kind == "directory":
        return "current"
    if kind == "link":
        same = target.link(found.path) == source.link(found.path)
    else:
        kept = {kept_time(found.status.mtime), kept_time(found.status.mtime) // 10**9 * 10**9}
        same = there.st_size == found.status.size and there.st_mtime_ns in kept
    if not same and (not rules.overwrite or kind == "link"):
        raise InvalidInputError(
            f"{path} exists and is not {shown(found.path)} of the guest: "
            + ("allow it to be overwritten, or name another destination" if kind == "file" else "move it away"),
            path=path,
        )
    return "current" if same else "different"
