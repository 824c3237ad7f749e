# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images on a path: their holes, their identity, and every way in which they can change under our hands."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.vault.builders import KIB, MIB, noise, write_image, write_sparse

from ansible_collections.ovm.backup.plugins.module_utils.errors import InvalidInputError, SourceError
from ansible_collections.ovm.backup.plugins.module_utils.images import dom0
from ansible_collections.ovm.backup.plugins.module_utils.images.local import LocalImage, read_local_file
from ansible_collections.ovm.backup.plugins.module_utils.images.spans import image_path
from ansible_collections.ovm.backup.plugins.module_utils.images.types import Identity, MapUnavailable, Piece, Span

SEGMENT = 64 * KIB


def spans_of(path: Path) -> list[Span]:
    with LocalImage(str(path)) as image:
        return image.data_spans()


def read(image: LocalImage, offset: int, length: int) -> bytes:
    pieces = list(image.read([Span(offset, offset + length)], step=MIB))
    assert [piece.offset for piece in pieces] == [offset]
    return pieces[0].data


def fake_seek(monkeypatch: pytest.MonkeyPatch, answer: Callable[[int, int], int]) -> None:
    monkeypatch.setattr(os, "lseek", lambda _descriptor, offset, whence: answer(offset, whence))


def test_data_and_holes(tmp_path: Path) -> None:
    image = write_sparse(tmp_path / "raw", 10 * SEGMENT + 1, {3 * SEGMENT: b"x", 9 * SEGMENT: b"x"})
    assert spans_of(image) == [Span(3 * SEGMENT, 3 * SEGMENT + 4096), Span(9 * SEGMENT, 9 * SEGMENT + 4096)]


def test_an_image_that_is_all_hole_or_all_data(tmp_path: Path) -> None:
    assert spans_of(write_sparse(tmp_path / "hole", 5 * SEGMENT, {})) == []
    assert spans_of(write_image(tmp_path / "data", noise(SEGMENT + 1))) == [Span(0, SEGMENT + 1)]
    assert spans_of(write_image(tmp_path / "byte", b"\0", holes=False)) == [Span(0, 1)]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTTY])
def test_a_file_system_that_does_not_know_its_holes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    image = write_sparse(tmp_path / "raw", 3 * SEGMENT + 1, {})

    def refuse(_offset: int, _whence: int) -> int:
        raise OSError(number, os.strerror(number))

    fake_seek(monkeypatch, refuse)
    assert spans_of(image) == [Span(0, 3 * SEGMENT + 1)]


def test_an_error_of_the_file_system_is_not_a_hole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = write_sparse(tmp_path / "raw", 3 * SEGMENT, {})

    def answer(offset: int, whence: int) -> int:
        if offset >= SEGMENT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return offset if whence == os.SEEK_DATA else SEGMENT

    fake_seek(monkeypatch, answer)
    with pytest.raises(SourceError) as caught:
        spans_of(image)
    assert caught.value.message == f"Cannot find the data of the image {image} at offset {SEGMENT}: Invalid argument"
    assert caught.value.details == {"path": str(image), "offset": SEGMENT}


def test_nonsense_of_the_file_system_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = write_sparse(tmp_path / "raw", 3 * SEGMENT, {})
    fake_seek(monkeypatch, lambda offset, whence: offset if whence == os.SEEK_DATA else 0)
    assert spans_of(image) == [Span(0, 3 * SEGMENT)]


def test_data_behind_the_size_of_the_beginning_is_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = write_sparse(tmp_path / "raw", 3 * SEGMENT, {})
    fake_seek(monkeypatch, lambda offset, whence: 5 * SEGMENT if whence == os.SEEK_DATA else 6 * SEGMENT)
    assert spans_of(image) == []
    fake_seek(monkeypatch, lambda offset, whence: SEGMENT if whence == os.SEEK_DATA else 6 * SEGMENT)
    assert spans_of(image) == [Span(SEGMENT, 3 * SEGMENT)]


def test_reading(tmp_path: Path) -> None:
    data = noise(10_000)
    with LocalImage(str(write_image(tmp_path / "raw", data))) as image_file:
        assert image_file.size == 10_000
        assert read(image_file, 0, 10_000) == data
        assert read(image_file, 777, 3) == data[777:780]
        image_file.check_unchanged()


def test_pieces_are_cut_at_the_step_and_lie_in_their_span(tmp_path: Path) -> None:
    data = noise(10_000)
    with LocalImage(str(write_image(tmp_path / "raw", data))) as image_file:
        pieces = list(image_file.read([Span(10, 20), Span(950, 2_100), Span(9_000, 10_000)], step=1_000))
        assert [(piece.offset, len(piece.data)) for piece in pieces] == [
            (10, 10),
            (950, 50),
            (1_000, 1_000),
            (2_000, 100),
            (9_000, 1_000),
        ]
        assert all(piece == Piece(piece.offset, data[piece.offset :][: len(piece.data)]) for piece in pieces)
        assert image_file.bytes_read == 2_160


def test_short_reads_are_put_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = noise(10_000)
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda descriptor, length, offset: pread(descriptor, min(length, 999), offset))
    with LocalImage(str(write_image(tmp_path / "raw", data))) as image_file:
        assert read(image_file, 5, 9_000) == data[5:9_005]


@pytest.mark.parametrize("takes_advice", [True, False])
def test_the_kernel_is_told_of_what_is_read_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, takes_advice: bool
) -> None:
    told: list[tuple[int, int]] = []

    def advise(_descriptor: int, offset: int, length: int, _advice: int) -> None:
        told.append((offset, length))
        if not takes_advice:
            raise OSError(errno.EINVAL, "no advice")

    monkeypatch.setattr("os.posix_fadvise", advise)
    content = noise(400 * KIB)
    spans = [Span(start, start + 4 * KIB) for start in range(0, 400 * KIB, 8 * KIB)]
    with LocalImage(str(write_image(tmp_path / "disk.img", content))) as image:
        for number, piece in enumerate(image.read(spans, step=MIB)):
            assert piece == Piece(spans[number].start, content[spans[number].start : spans[number].end])
            assert len(told) == min(number + 33, len(spans)), "some more than this one, and not all of the disk"
    assert told == [(span.start, 4 * KIB) for span in spans]


def test_an_image_that_is_cut_off_while_it_is_read(tmp_path: Path) -> None:
    image = write_image(tmp_path / "raw", noise(10_000))
    with LocalImage(str(image)) as image_file:
        os.truncate(image, 4_000)
        with pytest.raises(SourceError) as caught:
            read(image_file, 1_000, 5_000)
        assert caught.value.message == (
            f"The image {image} ends at offset 4000, but had 10000 bytes when it was opened: it was truncated while it "
            "was read"
        )
        assert caught.value.details == {"path": str(image), "offset": 4000}
        with pytest.raises(SourceError, match="10000 bytes, then 4000"):
            image_file.check_unchanged()


def replace(image: Path) -> None:
    other = image.with_suffix(".other")
    other.write_bytes(image.read_bytes())
    found = image.stat()
    os.utime(other, ns=(found.st_atime_ns, found.st_mtime_ns))
    other.replace(image)


@pytest.mark.parametrize(
    "change",
    [
        lambda image: os.truncate(image, 10_001),
        lambda image: os.truncate(image, 9_999),
        lambda image: os.utime(image, ns=(0, 1)),
        replace,
    ],
    ids=["appended", "truncated", "written", "replaced"],
)
def test_an_image_that_changes_while_it_is_read(tmp_path: Path, change: Callable[[Path], None]) -> None:
    image = write_image(tmp_path / "raw", noise(10_000))
    with LocalImage(str(image)) as image_file:
        image_file.check_unchanged()
        change(image)
        with pytest.raises(SourceError) as caught:
            image_file.check_unchanged()
    assert caught.value.message.startswith(f"The image {image} changed while it was read (10000 bytes, then ")
    assert caught.value.details["path"] == str(image)


def test_an_image_that_is_removed_while_it_is_read(tmp_path: Path) -> None:
    image = write_image(tmp_path / "raw", noise(100))
    with LocalImage(str(image)) as image_file:
        image.unlink()
        with pytest.raises(SourceError, match="Cannot open the image .*: No such file"):
            image_file.check_unchanged()


def test_reading_the_image_is_no_change(tmp_path: Path) -> None:
    image = write_image(tmp_path / "raw", noise(100))
    with LocalImage(str(image)) as image_file:
        os.utime(image, ns=(99, image.stat().st_mtime_ns))
        image_file.check_unchanged()


def test_a_read_error_names_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = write_image(tmp_path / "raw", noise(100))

    def fail(*_arguments: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with LocalImage(str(image)) as image_file:
        monkeypatch.setattr(os, "pread", fail)
        with pytest.raises(SourceError) as caught:
            read(image_file, 40, 10)
    assert caught.value.message == f"Cannot read the image {image} at offset 40: Input/output error"
    assert caught.value.details == {"path": str(image), "offset": 40, "errno": errno.EIO}


def test_what_is_not_an_image(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").write_bytes(b"")
    for name, message in (
        ("missing", "Cannot open the image {}: No such file or directory"),
        (".", "The image {} is not a regular file: it cannot be a disk"),
        ("pipe", "The image {} is not a regular file: it cannot be a disk"),
        ("empty", "The image {} is empty: it cannot be a disk"),
    ):
        path = str(tmp_path / name)
        with pytest.raises(SourceError) as caught:
            LocalImage(path)
        assert caught.value.message == message.format(path)
        assert caught.value.details["path"] == path
    with pytest.raises(SourceError, match="is not a regular file"):
        LocalImage("/dev/null")


def test_closing_twice_is_fine(tmp_path: Path) -> None:
    image_file = LocalImage(str(write_image(tmp_path / "raw", b"x")))
    image_file.close()
    image_file.close()


@pytest.mark.parametrize(
    ("path", "relative"),
    [
        ("/VirtualDisks/0004fb.img", "VirtualDisks/0004fb.img"),
        ("VirtualDisks/0004fb.img", "VirtualDisks/0004fb.img"),
        ("//VirtualDisks//a", "VirtualDisks/a"),
        ("/VirtualMachines/../VirtualDisks/a", "VirtualDisks/a"),
        ("/../../a", "a"),
        ("/..a", "..a"),
        ("/a/...", "a/..."),
    ],
)
def test_paths_inside_a_repository(path: str, relative: str) -> None:
    assert image_path("/OVS/Repositories", "0004fb", path) == f"/OVS/Repositories/0004fb/{relative}"


@pytest.mark.parametrize(
    ("repository", "path"),
    [
        ("0004fb", ""),
        ("0004fb", "/"),
        ("0004fb", "."),
        ("0004fb", ".."),
        ("0004fb", "../.."),
        ("0004fb", "../other/a"),
        ("0004fb", "a/../../b"),
        ("0004fb", "a/.."),
        ("0004fb", "a\0b"),
        ("", "a"),
        (".", "other/VirtualDisks/a"),
        ("..", "a"),
        ("a/b", "a"),
        ("/etc", "passwd"),
        ("a\0b", "a"),
    ],
)
def test_paths_that_lead_out_of_a_repository(repository: str, path: str) -> None:
    with pytest.raises(InvalidInputError, match="is not a path inside a storage repository"):
        image_path("/OVS/Repositories", repository, path)


@given(st.text(alphabet="ab./", max_size=12), st.text(alphabet="ab./", max_size=4))
def test_no_path_leads_out_of_its_repository(path: str, repository: str) -> None:
    try:
        found = image_path("/r", repository, path)
    except InvalidInputError:
        return
    assert os.path.normpath(found).startswith(f"/r/{repository}/")


def test_a_small_file_is_read_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "vm.cfg"
    path.write_bytes(b"name = 'x'\n")
    assert read_local_file(str(path), 11) == b"name = 'x'\n"
    with pytest.raises(SourceError, match="has more than 10 bytes"):
        read_local_file(str(path), 10)
    with pytest.raises(SourceError, match="No such file"):
        read_local_file(str(tmp_path / "missing"), 10)


def test_the_identity_changes_with_every_write(tmp_path: Path) -> None:
    path = write_image(tmp_path / "raw", noise(100))
    with LocalImage(str(path)) as image_file:
        try:
            before = image_file.identity()
        except MapUnavailable as doubt:
            pytest.skip(str(doubt))
        assert (before.inode, before.size) == (path.stat().st_ino, 100)
        assert abs(before.mtime - path.stat().st_mtime_ns) < 1_000
        assert Identity.parse(before.as_dict()) == before
        os.utime(path, ns=(0, 0))
        assert image_file.identity() != before
        replace(path)
        assert image_file.identity().inode != before.inode


def test_there_is_no_map_without_clones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dom0, "file_system", lambda _descriptor, _path: ("ext4", "1234"))
    with (
        LocalImage(str(write_image(tmp_path / "raw", noise(100)))) as image_file,
        pytest.raises(MapUnavailable, match="file system ext4 has no clones that share extents"),
    ):
        image_file.extents()


def test_a_file_system_without_a_uuid_identifies_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dom0, "file_system", lambda _descriptor, _path: ("nfs", ""))
    with (
        LocalImage(str(write_image(tmp_path / "raw", noise(100)))) as image_file,
        pytest.raises(MapUnavailable, match=r"\(nfs\) does not tell its UUID"),
    ):
        image_file.identity()
