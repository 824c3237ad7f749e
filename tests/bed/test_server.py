# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images on a server with real OCFS2 behind real ssh: maps, identity, bytes and comparison, with and without Python."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.ovm.backup.plugins.module_utils.errors import (
    HostKeyError,
    ServerAlgorithmError,
    ServerAuthenticationError,
    SourceError,
)
from ansible_collections.ovm.backup.plugins.module_utils.images.remote import Server
from ansible_collections.ovm.backup.plugins.module_utils.images.ssh import SshSettings
from ansible_collections.ovm.backup.plugins.module_utils.images.types import DiskImage, Extent, ExtentMap, Span
from bed.bed import Bed
from bed.layout import USER_NO_PYTHON, USER_PLAIN, USER_SUDO

MIB = 1 << 20
SIZE = 24 * MIB + 4096


def server(bed: Bed, user: str = "root", *, legacy: bool = False, **more: Any) -> Server:
    settings = SshSettings.parse({**bed.ssh_settings(user, legacy=legacy), **more})
    return Server(settings, "127.0.0.1", "bed")


@pytest.fixture(scope="module", params=["root", "sudo", "legacy", "no python"])
def ovs(request: pytest.FixtureRequest, bed: Bed) -> Iterator[Server]:
    """The ways to reach a server."""
    made = {
        "root": lambda: server(bed, compare="server"),
        "sudo": lambda: server(bed, USER_SUDO, sudo=True, compare="server"),
        "legacy": lambda: server(bed, legacy=True, compare="server"),
        "no python": lambda: server(bed, USER_NO_PYTHON),
    }[request.param]()
    with made:
        assert made.method == ("tools" if request.param == "no python" else "python")
        yield made


@pytest.fixture
def clones(bed: Bed, folder: str) -> tuple[str, str]:
    """Two clones of a disk, between which a guest has written."""
    disk, old, new = (f"{folder}/{name}.img" for name in ("disk", "it's $(old)", "new"))
    bed.create(disk, SIZE)
    bed.write_noise(disk, 0, 5 * MIB)
    bed.write_noise(disk, 12 * MIB, 4 * MIB, seed="more")
    bed.write(disk, SIZE - 1, b"x")
    bed.allocate(disk, 8 * MIB, 2 * MIB)
    bed.reflink(disk, old)
    bed.scribble(disk, 3, end=5 * MIB)
    bed.punch(disk, 13 * MIB, MIB)
    bed.write(disk, 9 * MIB, b"y")
    bed.reflink(disk, new)
    return old, new


def content(image: DiskImage, spans: list[Span]) -> bytes:
    return b"".join(piece.data for piece in image.read(spans, step=MIB))


def test_map_and_identity_are_those_of_the_kernel(bed: Bed, ovs: Server, clones: tuple[str, str]) -> None:
    device = bed.run(f"df -P {bed.repository()} | tail -n 1 | cut -d' ' -f1").text
    uuid = bed.run(["blkid", "-o", "value", "-s", "UUID", device]).text
    for path in clones[ovs.method == "tools" :]:  # there, each question is a session
        with ovs.open_image(path) as image:
            found = image.identity()
            known = bed.stat(path)
            assert (found.file_system, found.uuid) == ("ocfs2", uuid.replace("-", ""))
            assert (found.inode, found.size) == (known["inode"], SIZE)
            raw = image.extents()
            extents = tuple(Extent(*item) for item in bed.extents(path))
            assert raw == ExtentMap(SIZE, extents, known["allocated"])
            assert found == image.identity()
            assert image.free_space()[0] < image.free_space()[1]
            image.check_unchanged()


def test_bytes(bed: Bed, ovs: Server, clones: tuple[str, str]) -> None:
    with ovs.open_image(clones[1]) as image:
        spans = image.data_spans()
        assert Span(0, 5 * MIB) in spans
        everything = content(image, [Span(0, SIZE)])
        data = bytearray(SIZE)
        for start, end in spans:
            data[start:end] = content(image, [Span(start, end)])
    assert everything == data
    assert hashlib.sha256(data).hexdigest() == bed.digest(clones[1])


def test_blocks_that_differ(bed: Bed, ovs: Server, clones: tuple[str, str]) -> None:
    with ovs.open_image(clones[0]) as old, ovs.open_image(clones[1]) as new:
        pieces = list(new.read_differing(old, [Span(0, SIZE)], step=MIB, block=4096))
        data = bytearray(content(old, [Span(0, SIZE)]))
        for offset, part in pieces:
            data[offset : offset + len(part)] = part
        assert hashlib.sha256(data).hexdigest() == bed.digest(clones[1])
        found = {start for offset, part in pieces for start in range(offset, offset + len(part), 4096)}
        differing = set(bed.differing(*clones))
        assert len(differing) > 250
        assert found == differing if ovs.method == "python" else found >= differing


def test_clone_that_is_written_to_is_another_one(bed: Bed, ovs: Server, clones: tuple[str, str]) -> None:
    with ovs.open_image(clones[0]) as image:
        before = image.identity()
        bed.write(clones[0], 20 * MIB, b"z")
        assert image.identity() != before
        with pytest.raises(SourceError, match=r"it's \$\(old\).img on server bed changed while it was read"):
            image.check_unchanged()


def test_small_file_that_lies_in_its_inode(bed: Bed, ovs: Server, folder: str) -> None:
    path = f"{folder}/vm.cfg"
    bed.create(path, 0)
    bed.write(path, 0, b"name = 'x'\n" * 20)
    assert ovs.read_file(path, 1000) == b"name = 'x'\n" * 20
    with ovs.open_image(path) as image:
        (extent,) = image.extents().extents
        assert extent.flags & 0x300 == 0x300


def test_server_runs_an_old_python(bed: Bed) -> None:
    with server(bed) as ovs:
        frame = ovs.connection.control.ask({"do": "hello"})
        assert frame.header is not None
        assert frame.header["python"].startswith("2.7.")
        assert ovs.load() >= 0


def test_nothing_is_left_on_the_server(bed: Bed, clones: tuple[str, str]) -> None:
    count = "ps ax -o args | grep -c '[p]ython -ES' || true"
    before = bed.run(count).text
    with server(bed) as ovs, ovs.open_image(clones[0]) as image:
        reader = image.read([Span(0, SIZE)], step=4096)
        next(reader)
        assert bed.run(count).text != before
    gone = f"[ $({count}) = {before} ]"
    bed.run(f"for i in $(seq 100); do {gone} && exit 0; sleep 0.1; done; exit 1")


def test_what_a_server_refuses(bed: Bed, tmp_path: Any) -> None:
    with (
        pytest.raises(ServerAuthenticationError, match="sudo on server bed .* refuses user guest"),
        server(bed, USER_PLAIN, sudo=True),
    ):
        pass
    empty = tmp_path / "known_hosts"
    empty.touch()
    with pytest.raises(HostKeyError, match="is not trusted"), server(bed, known_hosts=str(empty)):
        pass
    with pytest.raises(ServerAlgorithmError, match="set legacy: true"):
        settings = SshSettings.parse({**bed.ssh_settings(legacy=True), "legacy": False})
        with Server(settings, "127.0.0.1", "bed"):
            pass
