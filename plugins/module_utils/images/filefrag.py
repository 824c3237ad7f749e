# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What C(filefrag -v) of e2fsprogs prints, for servers without Python.

Two layouts are known. That of 1.41 (Oracle Linux 6) has columns of which C(expected) may be blank; it knows neither
C(last) nor C(shared). That of 1.42 and later has ranges with colons. Whatever is not exactly like one of them is
refused: a part of a map must never be taken for the whole.
"""

from __future__ import annotations

import re

from .dom0 import FIEMAP_EXTENT_LAST
from .types import Extent, ExtentMap, MapUnavailable

_SIZE = re.compile(r"File size of .* is (\d+) \((\d+) blocks?(?: of |, blocksize )(\d+)(?: bytes)?\)")
_COLUMNS_OLD = re.compile(r" ext +logical +physical +expected +length +flags")
_COLUMNS_NEW = re.compile(r" ext: +logical_offset: +physical_offset: +length: +expected: +flags:")
_LINE_OLD = re.compile(r" *(\d+) +(\d+) +(\d+) +(?:(\d+) +)?(\d+) +([a-z_,]*) *| *(\d+) +(\d+) +(\d+) +(\d+) *")
_LINE_NEW = re.compile(
    r" *(\d+): *(\d+)\.\. *(\d+): *(\d+)\.\. *(\d+): *(\d+): *(?:(\d+): *)?((?:[a-z_]+)(?:,[a-z_]+)*)? *"
)
_SUMMARY = re.compile(r".*: (\d+) extents? found(?:, perfection would be \d+ extents?)?")
_TYPE = re.compile(r"Filesystem type is: [0-9a-f]+")

# The flags of linux/fiemap.h by the names of all versions; C(eof) is none of them.
_FLAGS = {
    "last": FIEMAP_EXTENT_LAST,
    "unknown": 0x2,
    "unknown_loc": 0x2,
    "delalloc": 0x4,
    "encoded": 0x8,
    "encrypted": 0x80,
    "data_encrypted": 0x80,
    "not_aligned": 0x100,
    "inline": 0x200,
    "data_inline": 0x200,
    "tail_packed": 0x400,
    "data_tail": 0x400,
    "unwritten": 0x800,
    "merged": 0x1000,
    "shared": 0x2000,
    "eof": 0,
}
_INLINE = 0x200


def parse_filefrag(text: str) -> ExtentMap:
    """Return the map that C(filefrag -v) printed for one file; raise C(MapUnavailable) for anything that is not one."""
    size = block = None
    line_form = None
    complete = False
    extents: list[Extent] = []
    for line in text.splitlines():
        if not line.strip() or _TYPE.fullmatch(line):
            continue
        header = _SIZE.fullmatch(line)
        if complete or (header and size is not None):
            raise _unknown(line)
        if header:
            size, block = int(header[1]), int(header[3])
        elif _COLUMNS_OLD.fullmatch(line.rstrip()):
            line_form = _LINE_OLD
        elif _COLUMNS_NEW.fullmatch(line.rstrip()):
            line_form = _LINE_NEW
        elif summary := _SUMMARY.fullmatch(line):
            # It counts those that lie together as one, so it cannot be compared; but none and some are no small matter.
            if (summary[1] == "0") != (not extents):
                raise MapUnavailable(f"filefrag printed {len(extents)} extents, but says that it found {summary[1]}")
            complete = True
        else:
            if block is None or line_form is None:
                raise _unknown(line)
            extents.append(_extent(line, line_form, block, extents))
    if size is None or not complete:
        raise MapUnavailable("filefrag printed no complete extent map")
    if extents:
        # The summary says that this was all, also where filefrag does not know the flag.
        extents[-1] = extents[-1]._replace(flags=extents[-1].flags | FIEMAP_EXTENT_LAST)
    return ExtentMap(size, tuple(extents))


def _extent(line: str, form: re.Pattern[str], block: int, before: list[Extent]) -> Extent:
    found = form.fullmatch(line)
    if not found:
        raise _unknown(line)
    if form is _LINE_NEW:
        number, logical, logical_end, physical, physical_end, length = (int(found[index]) for index in range(1, 7))
        names = found[8] or ""
        if logical_end - logical + 1 != length or physical_end - physical + 1 != length:
            raise _unknown(line)
    elif found[1] is not None:
        number, logical, physical, length = int(found[1]), int(found[2]), int(found[3]), int(found[5])
        names = found[6] or ""
    else:
        number, logical, physical, length = (int(found[index]) for index in range(7, 11))
        names = ""
    flags = 0
    for name in filter(None, names.split(",")):
        if name not in _FLAGS:
            raise _unknown(line)
        flags |= _FLAGS[name]
    unit = 1 if flags & _INLINE else block  # what lies in an inode is told in bytes
    extent = Extent(logical * unit, physical * unit, length * unit, flags)
    end = before[-1].logical + before[-1].length if before else 0
    if number != len(before) or not length or extent.logical < end:
        raise _unknown(line)
    return extent


def _unknown(line: str) -> MapUnavailable:
    return MapUnavailable(f"filefrag printed what is not known: {line.strip()[:120]!r}")
