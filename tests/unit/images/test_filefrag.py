# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What filefrag of each version prints, and what must not be taken for a map."""

from __future__ import annotations

import pytest

from ansible_collections.ovm.backup.plugins.module_utils.images.filefrag import parse_filefrag
from ansible_collections.ovm.backup.plugins.module_utils.images.types import Extent, ExtentMap, MapUnavailable

BLOCK = 4096

# The layout of e2fsprogs 1.41.12: blank "expected", no "last", no "shared".
OLD = """\
Filesystem type is: 7461636f
File size of /OVS/Repositories/0004fb/a 1 (2 blocks of 3 bytes).img is 20971520 (5120 blocks, blocksize 4096)
 ext logical physical expected length flags
   0       0 30103552            1280
   1    1280 30104832 30104319    512 unwritten
   2    2048 30106000 30105343   1024 merged
   3    4864 30200000 30107023    256 unwritten,eof
/OVS/Repositories/0004fb/a 1 (2 blocks of 3 bytes).img: 4 extents found
"""
# 1.42.9 of Oracle Linux 7: colons, but neither flag.
MIDDLE = """\
Filesystem type is: 7461636f
File size of a.img is 8388608 (2048 blocks of 4096 bytes)
 ext:     logical_offset:        physical_offset: length:   expected: flags:
   0:        0..     255:     172032..    172287:    256:
   1:     1536..    1791:     172288..    172543:    256:     173568: eof
a.img: 2 extents found
"""
NEW = """\
Filesystem type is: 58465342
File size of a.img is 314572800 (76800 blocks of 4096 bytes)
 ext:     logical_offset:        physical_offset: length:   expected: flags:
   0:      256..     511:   65800448..  65800703:    256:        256: shared
   1:     1280..    1535:   65801472..  65801727:    256:             unwritten,shared
   2:    51200..   51967:   65799168..  65799935:    768:   65830912: last,unwritten
a.img: 2 extents found
"""
INLINE = """\
Filesystem type is: 7461636f
File size of vm.cfg is 700 (1 block of 4096 bytes)
 ext:     logical_offset:        physical_offset: length:   expected: flags:
   0:        0..    3863:   88096960..  88100823:   3864:             last,not_aligned,inline,eof
vm.cfg: 1 extent found
"""
EMPTY = """\
Filesystem type is: ef53
File size of f3 is 1048576 (256 blocks of 4096 bytes)
f3: 0 extents found
"""


def extent(logical: int, physical: int, length: int, flags: int = 0) -> Extent:
    return Extent(logical * BLOCK, physical * BLOCK, length * BLOCK, flags)


def test_layout_of_1_41() -> None:
    assert parse_filefrag(OLD) == ExtentMap(
        20971520,
        (
            extent(0, 30103552, 1280),
            extent(1280, 30104832, 512, 0x800),
            extent(2048, 30106000, 1024, 0x1000),
            extent(4864, 30200000, 256, 0x801),
        ),
    )


def test_layout_of_1_42_without_the_flags_of_later_ones() -> None:
    assert parse_filefrag(MIDDLE) == ExtentMap(8388608, (extent(0, 172032, 256), extent(1536, 172288, 256, 1)))


def test_layout_of_1_47() -> None:
    assert parse_filefrag(NEW) == ExtentMap(
        314572800,
        (
            extent(256, 65800448, 256, 0x2000),
            extent(1280, 65801472, 256, 0x2800),
            extent(51200, 65799168, 768, 0x801),
        ),
    )


def test_what_lies_in_an_inode_is_in_bytes() -> None:
    assert parse_filefrag(INLINE) == ExtentMap(700, (Extent(0, 88096960, 3864, 0x301),))


def test_file_without_data() -> None:
    assert parse_filefrag(EMPTY) == ExtentMap(1048576, ())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "FIBMAP/FIEMAP unsupported",
        "a.img: FIBMAP unsupported\n",
        # FIBMAP, one block after the other, as old versions print it
        "Filesystem type is: 6969\nFilesystem cylinder groups is approximately 61\nBlocksize of file a is 4096\n"
        "File size of a is 8192 (2 blocks)\nFirst block: 5\nLast block: 6\na: 1 extent found",
        NEW.replace("a.img: 2 extents found\n", ""),  # cut off
        NEW + "and more\n",
        NEW + NEW,
        NEW.replace("   1:     1280", "   2:     1280"),  # a line is missing
        NEW.replace("51967:", "51966:"),  # ends that do not fit the length
        NEW.replace("65801727", "65801728"),
        NEW.replace("unwritten,shared", "unwritten,0x10000"),  # a flag that later versions print as a number
        NEW.replace("unwritten,shared", "compressed"),
        NEW.replace("     1280..    1535", "      300..     555"),  # one over the other
        NEW.replace(" ext:", " extent:"),
        OLD.replace("   1    1280", "   1    x280"),
        OLD.replace("1024 merged", "0 merged"),
        "\n".join(OLD.splitlines()[:2] + OLD.splitlines()[3:]),  # without the heads of the columns
        "\n".join(NEW.splitlines()[:1] + NEW.splitlines()[2:]),  # without the size
    ],
)
def test_anything_else_is_no_map(text: str) -> None:
    with pytest.raises(MapUnavailable, match="^filefrag printed"):
        parse_filefrag(text)


@pytest.mark.parametrize(
    "text",
    [
        # Without FIEMAP, filefrag asks block by block and prints no extents of a file that lies together.
        EMPTY.replace("0 extents", "1 extent"),
        NEW.replace("2 extents", "0 extents"),
    ],
)
def test_none_and_some_do_not_fit_each_other(text: str) -> None:
    with pytest.raises(MapUnavailable, match=r"filefrag printed \d extents, but says that it found \d"):
        parse_filefrag(text)
