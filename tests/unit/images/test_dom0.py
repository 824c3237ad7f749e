# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program for dom0: it stays within Python 2.6, reads maps as they are, and ends when nobody listens."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.images.stand_in import loader

from ansible_collections.ovm.backup.plugins.module_utils.images import dom0
from ansible_collections.ovm.backup.plugins.module_utils.images.connection import BOOTSTRAP, PARTS, program
from ansible_collections.ovm.backup.plugins.module_utils.images.dom0_files import SPAN
from ansible_collections.ovm.backup.plugins.module_utils.images.dom0_program import FRAME, READY

FILES = [Path(part.__file__) for part in PARTS]


# --- what may be sent ------------------------------------------------------------------------------------------------


def test_program_runs_on_python_2_6_and_3() -> None:
    command = [Path(sys.executable).with_name("vermin"), "--no-tips", "--violations", "--target=2.6", "--target=3.0"]
    found = subprocess.run([*command, *FILES], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout.splitlines()[-1]) == (0, "Minimum required versions: 2.6, 3.0"), found.stdout


def test_program_needs_no_encoding_and_imports_the_standard_library_only() -> None:
    text = program()
    assert int(text[:8]) == len(text) - 8
    assert text.isascii()
    lines = [line.split()[1] for line in text.decode().splitlines() if line.startswith("import ")]
    assert set(lines) <= sys.stdlib_module_names


def test_loader_is_constant_and_has_no_quotes_that_a_shell_would_end() -> None:
    assert "'" not in BOOTSTRAP
    assert "\n" not in BOOTSTRAP


def test_program_runs_with_an_old_python_if_there_is_one() -> None:
    old = shutil.which("python2.7") or shutil.which("python2")
    if old is None or subprocess.run([old, "-c", ""], capture_output=True, check=False).returncode != 0:
        pytest.skip("there is no Python 2 on this machine")
    answers = talk([old, "-c", "import sys; exec(sys.stdin.read(int(sys.stdin.read(8))))"], [({"do": "hello"}, b"")])
    assert answers[0][0]["python"].startswith("2.")


# --- extent maps -----------------------------------------------------------------------------------------------------


def kernel(batches: list[list[tuple[int, int, int, int]]]) -> Callable[..., int]:
    """Stand in for FIEMAP: each call gives the next batch."""
    left = iter(batches)

    def ioctl(_fd: int, request: int, data: Any, _mutate: bool) -> int:
        assert request == dom0.FS_IOC_FIEMAP
        extents = next(left)
        data[20:24] = type(data)("B", struct.pack("=I", len(extents)))
        for number, (logical, physical, length, flags) in enumerate(extents):
            packed = struct.pack("=QQQ16xI12x", logical, physical, length, flags)
            data[32 + 56 * number : 88 + 56 * number] = type(data)("B", packed)
        return 0

    return ioctl


def mapped(monkeypatch: pytest.MonkeyPatch, batches: list[list[tuple[int, int, int, int]]]) -> Any:
    monkeypatch.setattr(fcntl, "ioctl", kernel(batches))
    return dom0.fiemap(0)


def test_map_is_read_until_the_last_extent(monkeypatch: pytest.MonkeyPatch) -> None:
    extents = [(0, 100, 10, 0x2000), (10, 500, 5, 0x800), (40, 700, 1, 0x2001)]
    assert mapped(monkeypatch, [extents[:1], extents[1:]]) == extents


def test_map_without_a_last_extent_is_given_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert mapped(monkeypatch, [[(0, 100, 10, 0x302)], []]) == [(0, 100, 10, 0x302)]
    assert mapped(monkeypatch, [[]]) == []


@pytest.mark.parametrize(
    "batches",
    [
        [[(0, 100, 10, 0)], [(0, 100, 10, 0)]],  # the same again
        [[(0, 100, 0, 0)]],  # nothing
        [[(0, 100, 10, 0), (5, 100, 10, 1)]],  # one over the other
        [[(0, 100, 10, 1), (10, 200, 10, 1)]],  # more behind the last one
    ],
)
def test_map_that_goes_astray_is_an_error(
    monkeypatch: pytest.MonkeyPatch, batches: list[list[tuple[int, int, int, int]]]
) -> None:
    with pytest.raises(OSError, match="overlaps or does not advance") as caught:
        mapped(monkeypatch, batches)
    assert caught.value.errno == errno.EIO


def test_file_system_that_gives_no_uuid(tmp_path: Path) -> None:
    with open("/proc/version", "rb") as file:
        assert dom0.file_system(file.fileno(), "/proc/version") == ("proc", "")


def test_file_system_is_found_by_its_mount_point_where_the_device_tells_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dom0, "_type_by_device", lambda _device: "")
    with open("/proc/version", "rb") as file:
        assert dom0.file_system(file.fileno(), b"/proc/version")[0] == "proc"


@pytest.mark.parametrize("kind", ["xfs", "ocfs2"])
def test_uuids_of_file_systems_with_clones(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    def xfs(_fd: int, request: int, _data: bytes) -> bytes:
        assert request == dom0.XFS_IOC_FSGEOMETRY_V1
        return bytes(64) + bytes(range(0xF0, 0x100)) + bytes(32)

    monkeypatch.setattr(dom0, "_type_by_device", lambda _device: kind)
    monkeypatch.setattr(dom0, "_uuid_by_device", lambda _device: "FEDC-ba98")
    if kind == "xfs":
        monkeypatch.setattr(fcntl, "ioctl", xfs)
    with open(__file__, "rb") as file:
        # A kernel that refuses the question leaves it to udev.
        expected = "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff" if kind == "xfs" else "fedcba98"
        assert dom0.file_system(file.fileno(), __file__) == (kind, expected)


@given(st.integers(0, 4 * 10**9), st.integers(0, 999_999_999))
def test_times_are_the_same_for_all_versions(seconds: int, rest: int) -> None:
    found = dom0.nanoseconds(seconds + 1e-9 * rest)  # what os.stat of Python 2.6 computes
    assert abs(found - (seconds * 10**9 + rest)) < 500


# --- the protocol ----------------------------------------------------------------------------------------------------


def frame(header: dict[str, Any], payload: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return FRAME.pack(len(text), len(payload)) + text + payload


def frames(raw: bytes) -> list[tuple[dict[str, Any] | None, bytes]]:
    source, found = io.BytesIO(raw), []
    while head := source.read(FRAME.size):
        header, payload = FRAME.unpack(head)
        text = source.read(header)
        found.append((json.loads(text) if header else None, source.read(payload)))
    return found


def talk(command: list[str], requests: list[tuple[dict[str, Any], bytes]]) -> list[tuple[dict[str, Any] | None, bytes]]:
    """Return the frames that requests are answered with, one after the other."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    assert process.stdin is not None
    assert process.stdout is not None
    answers: list[tuple[dict[str, Any] | None, bytes]] = []
    with process:
        process.stdin.write(program())
        reader = io.BufferedReader(process.stdout)
        assert reader.read(len(READY)) == READY
        for header, payload in requests:
            process.stdin.write(frame(header, payload))
            while True:
                sizes = FRAME.unpack(reader.read(FRAME.size))
                answers += frames(FRAME.pack(*sizes) + reader.read(sum(sizes)))
                if sizes[0]:
                    break
        process.stdin.close()
        assert reader.read() == b""
        assert process.wait(30) == 0
    return answers


def test_program_answers_one_request_after_the_other(tmp_path: Path) -> None:
    image = tmp_path / 'it\'s "odd"; $(name)'
    image.write_bytes(b"a" * 5000)
    path = os.fsencode(image)
    answers = talk(
        loader(),
        [
            ({"do": "hello"}, b""),
            ({"do": "state"}, path),
            ({"do": "nonsense"}, b""),
            ({"do": "open"}, b"/nowhere"),
            ({"do": "file", "limit": 3}, path),
            ({"do": "space"}, path),
        ],
    )
    hello, state, nonsense, nowhere, content, space = answers
    assert hello[0]["protocol"] == 1
    assert (state[0]["inode"], state[0]["size"], state[0]["regular"]) == (image.stat().st_ino, 5000, True)
    assert abs(state[0]["mtime"] - image.stat().st_mtime_ns) < 500
    assert nonsense[0] == {"error": {"text": "unknown request"}}
    assert nowhere[0] == {"error": {"errno": errno.ENOENT, "text": "No such file or directory"}}
    assert content == ({"size": 4}, b"aaaa")
    assert 0 < space[0]["free"] < space[0]["size"]


def test_program_refuses_requests_without_end(tmp_path: Path) -> None:
    done = subprocess.run(
        loader(), input=program() + FRAME.pack(2, 1 << 30) + b"{}", capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, READY)


def test_program_ends_when_nobody_reads_its_answers(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(os.urandom(1 << 20) * 8)
    process = subprocess.Popen(loader(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        request = frame({"do": "open"}, os.fsencode(image)) + frame({"do": "read", "handle": 3}, SPAN.pack(0, 8 << 20))
        process.stdin.write(program() + request)
        process.stdin.flush()
        assert process.stdout.read(len(READY)) == READY
        process.stdout.close()
        assert process.wait(30) == 0


def test_a_loader_without_a_program_ends() -> None:
    done = subprocess.run(loader(), input=program()[:500], capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (9, b"")
