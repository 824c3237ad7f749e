# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""How the changes of a disk are found: by extent maps where every condition for that holds, else by hashes.

The conditions are those of the design, section 5: the image that the base was read from is still there, on the same
file system, the same file and never written to since; both maps are read now. Any doubt is a reason to compare hashes.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import SourceError
from ..images.complaints import no_clones
from ..images.maps import mapped_data
from ..images.types import MAPPED_FILE_SYSTEMS, DiskImage, Identity, MapUnavailable
from ..vault.format import Geometry
from ..vault.manifest import PointDisk
from .changes import find_changes, total
from .disk_backup import Comparison
from .opening import Images
from .sampling import Sample, draw_sample

EXTENT_MAPS, HASH, ALL = "extent_maps", "hash", "all"


@dataclass(frozen=True)
class Detection:
    """How changes are found, and why so. C(comparison) and C(sample) are for extent maps only."""

    method: str
    reason: str
    comparison: Comparison | None = None
    identity: Identity | None = None  # of the reference
    sample: Sample = Sample(())

    def check_reference(self) -> None:
        """Raise C(SourceError) when the reference was written to since it was compared."""
        if self.comparison is None:
            return
        reference = self.comparison.reference
        try:
            now = reference.identity()
        except MapUnavailable as doubt:
            raise SourceError(
                f"The reference clone was lost while it was used: {doubt}", path=reference.name
            ) from doubt
        if now != self.identity:
            raise SourceError(
                f"The reference clone {reference.name} was changed while it was used: somebody started or edited it",
                path=reference.name,
            )

    def as_dict(self) -> dict[str, Any]:
        """Return what the manifest says of it. Bytes."""
        changes = self.comparison.changes if self.comparison is not None else None
        return {
            "method": self.method,
            "reason": self.reason,
            "candidate": total(changes.data) if changes is not None else None,
            "sampled": self.sample.size,
        }


def detect_changes(
    images: Images,
    plan: Mapping[str, Any],
    planned: Mapping[str, Any],
    image: DiskImage,
    base: PointDisk,
    *,
    sample: float,
    chance: random.Random,
) -> Detection:
    """Return how the changes of an increment's disk are found. C(sample): per cent of the unchanged data to read again.

    Raises C(ServerError)s when the server cannot be reached: then the image cannot be read either.
    """
    if planned["changes"] != EXTENT_MAPS:
        return Detection(HASH, planned["changes_reason"])
    try:
        return _by_maps(images, plan, planned, image, base, sample, chance)
    except MapUnavailable as doubt:
        return Detection(HASH, str(doubt))


def _by_maps(
    images: Images,
    plan: Mapping[str, Any],
    planned: Mapping[str, Any],
    image: DiskImage,
    base: PointDisk,
    sample: float,
    chance: random.Random,
) -> Detection:
    wanted, known = plan["reference"], base.image
    if wanted is None:
        raise MapUnavailable(plan["reference_reason"])
    if known is None or known["identity"] is None or known["clone_id"] != wanted["clone_id"]:
        raise MapUnavailable("the recovery point does not say which image of the reference clone it was read from")
    recorded = Identity.parse(known["identity"])
    try:
        reference = images.open(planned, known)
    except SourceError as error:
        raise MapUnavailable(f"the reference clone cannot be read: {error.message}") from error
    found = reference.identity()
    if found != recorded:
        raise MapUnavailable(f"the reference clone is not what it was: {_difference(recorded, found)}")
    own = image.identity()
    if (own.file_system, own.uuid) != (found.file_system, found.uuid):
        raise MapUnavailable("the reference clone lies on another file system")
    now = image.extents()
    changes = find_changes(reference.extents(), now)
    drawn = draw_sample(mapped_data(now), changes, Geometry(image.size), percent=sample, chance=chance)
    reason = f"compared with reference clone {wanted['clone_id']} of recovery point {wanted['point_id']}"
    return Detection(EXTENT_MAPS, reason, Comparison(reference, changes), found, drawn)


def _difference(recorded: Identity, found: Identity) -> str:
    before, now = recorded.as_dict(), found.as_dict()
    return ", ".join(f"{key} {before[key]} became {now[key]}" for key in before if before[key] != now[key])


def identify(image: DiskImage) -> tuple[Identity | None, str]:
    """Return what an image is known by later as a reference, or why it can be none."""
    try:
        found = image.identity()
    except MapUnavailable as doubt:
        return None, str(doubt)
    if found.file_system not in MAPPED_FILE_SYSTEMS:
        return None, no_clones(found.file_system)
    return found, ""
