# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the benchmark looks at parts of files."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from bench import spans
from bench.content import Content

# As filefrag 1.47 prints it: expected places and flags may be missing.
FILEFRAG = """\
Filesystem type is: 58465342
File size of {name} is 65536 (16 blocks of 4096 bytes)
 ext:     logical_offset:        physical_offset: length:   expected: flags:
   0:        0..       1:         24..        25:      2:
   1:        2..       5:        {second}:      4:         26: shared
   2:        8..       9:        104..       105:      2:        {after}: unwritten,last,eof
{name}: 3 extents found
"""


def test_extents_are_compared_block_by_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "filefrag"
    before = FILEFRAG.format(name="before", second="26..      29", after="30")
    after = FILEFRAG.format(name="after", second="60..      63", after="64")
    program.write_text(f"#!/bin/sh\ncase $3 in *before) cat <<'E'\n{before}E\n;; *) cat <<'E'\n{after}E\n;; esac\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert spans.extents(Path("before")) == [
        (0, 24 * 4096, 2 * 4096, False),
        (2 * 4096, 26 * 4096, 4 * 4096, False),
        (8 * 4096, 104 * 4096, 2 * 4096, True),
    ]
    assert spans.changed_extents(Path("before"), Path("after")) == 4 * 4096


def test_changes_turn_one_image_into_the_other(tmp_path: Path) -> None:
    before, after, kept = tmp_path / "before", tmp_path / "after", tmp_path / "kept"
    with before.open("wb") as file:
        file.truncate(3 << 20)
        file.seek(1 << 20)
        file.write(b"x" * 8192)
    spans.copy_sparse(before, after)
    assert spans.same_content(before, after)
    spans.patch(after, [(4096, b"y" * 4096), (1 << 20, b"z" * 4096)])
    assert spans.write_blocks(kept, spans.changed_blocks(before, after)) == 2
    assert list(spans.read_blocks(kept)) == [(4096, b"y" * 4096), (1 << 20, b"z" * 4096)]
    spans.patch(before, spans.read_blocks(kept), step=1 << 20)
    assert spans.same_content(before, after)


def test_content_is_the_same_for_the_same_seed() -> None:
    one, two = Content(7), Content(7)
    for kind in ("log", "pages", "media"):
        made = one.make(kind, 100_000, random.Random(1))
        assert len(made) == 100_000
        assert made == two.make(kind, 100_000, random.Random(1))
        assert made != one.make(kind, 100_000, random.Random(2))


CLAIM = """\
import os, re, sys
from bench.spans import claim_memory
os.sysconf = {"SC_AVPHYS_PAGES": int(sys.argv[1]) << 8, "SC_PAGE_SIZE": 4096}.__getitem__
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read()).group(1)) >> 10
before = peak()
claim_memory(int(sys.argv[2]) << 20)
print(peak() - before)
"""


@pytest.mark.parametrize(("free", "wanted", "claimed"), [(1000, 128, 128), (100, 128, 90), (100, 0, 0), (0, 128, 0)])
def test_memory_is_claimed_as_far_as_it_is_free(free: int, wanted: int, claimed: int) -> None:
    """All in MiB."""
    command = [sys.executable, "-c", CLAIM, str(free), str(wanted)]
    done = subprocess.run(command, check=True, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE)
    assert claimed - 16 <= int(done.stdout) <= claimed + 16
