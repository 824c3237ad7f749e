# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images in the format qcow2: what qemu says of them, and what is read back."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from ansible_collections.ovm.backup.plugins.module_utils.errors import TargetError
from ansible_collections.ovm.backup.plugins.module_utils.export.qcow2 import CLUSTER, COMPRESSIONS, Qcow2Target
from ansible_collections.ovm.backup.plugins.module_utils.images.target import Written, digest

KINDS = random.Random(7)


def clusters(number: int) -> dict[int, bytes]:
    """Return clusters at scattered places: noise that cannot be compressed, text that can, and a mixture."""
    noise = KINDS.randbytes(CLUSTER)
    kinds = (noise, b"compressible " * 5041 + bytes(3), noise[:20000].ljust(CLUSTER, b"x"))
    places = KINDS.sample(range(3 * number), number)
    return {place: kinds[place % 3] for place in places}


def write(path: Path, size: int, content: dict[int, bytes], compression: str) -> bytes:
    whole = bytearray(size)
    with Qcow2Target(str(path), size, compression) as target:
        for place, data in content.items():
            piece = data[: size - place * CLUSTER]
            target.write(place * CLUSTER, piece)
            whole[place * CLUSTER : place * CLUSTER + len(piece)] = piece
        target.flush()
        assert target.read(0, size) == bytes(whole)
    return bytes(whole)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_qemu_reads_the_same(tmp_path: Path, compression: str) -> None:
    if shutil.which("qemu-img") is None:
        pytest.skip("qemu-img is not installed (qemu-utils)")
    image, raw = tmp_path / "x.qcow2", tmp_path / "x.raw"
    size = 200 * CLUSTER + 512
    raw.write_bytes(write(image, size, {**clusters(60), 200: b"end".ljust(512, b".")}, compression))
    check = subprocess.run(["qemu-img", "check", str(image)], capture_output=True, text=True, check=False)
    assert (check.returncode, check.stdout.splitlines()[0]) == (0, "No errors were found on the image.")
    same = ["qemu-img", "compare", "-f", "qcow2", "-F", "raw", str(image), str(raw)]
    assert subprocess.run(same, capture_output=True, check=False).returncode == 0


def test_sparse_disk_takes_hardly_any_space(tmp_path: Path) -> None:
    image = tmp_path / "x.qcow2"
    size = 64 << 30
    with Qcow2Target(str(image), size) as target:
        target.write(size - CLUSTER, b"x" * CLUSTER)
        target.flush()
        assert target.read(size - CLUSTER, CLUSTER) == b"x" * CLUSTER
    assert image.stat().st_blocks * 512 < 1 << 20


def test_nothing_is_left_of_a_failure(tmp_path: Path) -> None:
    image = tmp_path / "x.qcow2"
    with pytest.raises(ValueError, match="not whole clusters"), Qcow2Target(str(image), 1 << 20) as target:
        target.write(100, b"x")
    assert not image.exists()
    image.write_text("there already")
    with pytest.raises(TargetError, match="Cannot create"):
        Qcow2Target(str(image), 1 << 20)
    assert image.read_text() == "there already"


def test_another_cluster_is_noticed(tmp_path: Path) -> None:
    image = tmp_path / "x.qcow2"
    for compression in ("zlib", "zstd"):
        with Qcow2Target(str(image), 1 << 20, compression) as target:
            target.write(0, b"text" * (CLUSTER // 4))
            target.flush()
            with image.open("r+b") as file:
                file.seek(3 * CLUSTER)
                file.write(b"\xff" * 64)
            with pytest.raises(TargetError, match="does not hold what was written"):
                target.read(0, CLUSTER)
        image.unlink()


def test_what_is_read_again_comes_from_the_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "image.qcow2"
    with Qcow2Target(str(path), CLUSTER) as image:
        image.write(0, b"x" * CLUSTER)
        image.flush()
        calls: list[str] = []
        forget, read = os.posix_fadvise, os.pread
        monkeypatch.setattr(os, "posix_fadvise", lambda *given: calls.append("forget") or forget(*given))
        monkeypatch.setattr(os, "pread", lambda *given: calls.append("read") or read(*given))
        image.verify([Written(0, CLUSTER, digest(b"x" * CLUSTER))], [])
    assert (calls[0], set(calls[1:])) == ("forget", {"read"})
