# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Spans cut into the portions that are read at once, and the path of an image."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator

from ..errors import InvalidInputError
from .types import Span


def split_spans(spans: Iterable[Span], step: int) -> Iterator[Span]:
    """Yield the spans cut at every multiple of C(step)."""
    for span in spans:
        start = span.start
        while start < span.end:
            end = min((start // step + 1) * step, span.end)
            yield Span(start, end)
            start = end


def image_path(repositories_path: str, repository_id: str, path: str) -> str:
    """Return where a file of a storage repository lies below the directory that holds the repositories.

    C(path) is relative to the repository, as the manager gives it (C(/VirtualDisks/0004fb….img), ovm-rest-api 10.2). It
    comes from outside, so it must not lead out of the repository.
    """
    relative = posixpath.normpath(path).lstrip("/")
    escapes = relative.split("/")[0] == ".." or relative in ("", ".") or "\0" in path + repository_id
    if escapes or "/" in repository_id or repository_id in ("", ".", ".."):
        raise InvalidInputError(f"{path!r} in repository {repository_id!r} is not a path inside a storage repository")
    return posixpath.join(repositories_path, repository_id, relative)
