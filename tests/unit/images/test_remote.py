# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images on a server, through a stand-in for ssh: what is read, and every way in which that can fail."""

from __future__ import annotations

import os
import random
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from unit.images.stand_in import StandIn, server
from unit.vault.builders import KIB, MIB, write_sparse

from ansible_collections.ovm.backup.plugins.module_utils.errors import (
    ServerAuthenticationError,
    ServerError,
    ServerToolError,
    ServerUnreachableError,
    SourceError,
)
from ansible_collections.ovm.backup.plugins.module_utils.images import connection, remote
from ansible_collections.ovm.backup.plugins.module_utils.images.channel import Frame
from ansible_collections.ovm.backup.plugins.module_utils.images.dom0_program import EXTENT
from ansible_collections.ovm.backup.plugins.module_utils.images.local import LocalImage
from ansible_collections.ovm.backup.plugins.module_utils.images.remote import Server
from ansible_collections.ovm.backup.plugins.module_utils.images.types import MapUnavailable, Piece, Span

BATCH = 256 * KIB


@pytest.fixture(params=["python", "tools"])
def method(request: pytest.FixtureRequest, stand_in: StandIn) -> str:
    """The same with the program, and by the tools of a server without Python."""
    if request.param == "tools":
        stand_in.no_python()
        # This machine's file systems have no clones; those of a server say that they have.
        stand_in.tool("blkid", "echo 01234567-89AB-cdef-0123-456789abcdef\n")
    return str(request.param)


@pytest.fixture
def ovs(stand_in: StandIn, method: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(remote, "BATCH_BYTES", BATCH)
    monkeypatch.setattr(connection, "_GROWTH", 2)
    with server(stand_in.client(), streams=3) as found:
        assert found.method == method
        yield found


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def image_of(folder: Path, name: str = "image", size: int = 4 * MIB + 3000) -> Path:
    parts = {0: noise(5000), MIB + 8 * KIB: noise(300 * KIB, 2), 3 * MIB: noise(MIB + 3000, 3)}
    return write_sparse(folder / name, size, parts)


def some_spans(size: int, count: int, seed: int = 5) -> list[Span]:
    cuts = sorted(random.Random(seed).sample(range(size), 2 * count))
    return [Span(*pair) for pair in zip(cuts[0::2], cuts[1::2], strict=True)]


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 7, 400])
def test_spans_are_read_as_from_a_path(ovs: Server, tmp_path: Path, count: int) -> None:
    path = image_of(tmp_path)
    with ovs.open_image(str(path)) as image, LocalImage(str(path)) as local:
        spans = some_spans(image.size, count)
        assert list(image.read(spans, step=128 * KIB)) == list(local.read(spans, step=128 * KIB))
        wanted = sum(span.end - span.start for span in spans)
        assert image.bytes_read >= wanted
        assert ovs.method == "tools" or image.bytes_read == wanted


def test_whole_image(ovs: Server, tmp_path: Path) -> None:
    path = image_of(tmp_path)
    with ovs.open_image(str(path)) as image:
        pieces = list(image.read([Span(0, image.size)], step=MIB))
        assert [piece.offset for piece in pieces] == [0, MIB, 2 * MIB, 3 * MIB, 4 * MIB]
        assert b"".join(piece.data for piece in pieces) == path.read_bytes()
        assert list(image.read([], step=MIB)) == []


def test_data_spans_are_those_of_the_map(ovs: Server, tmp_path: Path) -> None:
    path = image_of(tmp_path)
    with ovs.open_image(str(path)) as image, LocalImage(str(path)) as local:
        assert image.data_spans() == local.data_spans()


def test_two_readers_at_once(ovs: Server, tmp_path: Path) -> None:
    first, second = image_of(tmp_path), write_sparse(tmp_path / "second", 3 * MIB, {MIB: noise(MIB, 9)})
    with ovs.open_image(str(first)) as one, ovs.open_image(str(second)) as two:
        spans = [Span(0, 3 * MIB)]
        pairs = list(zip(one.read(spans, step=64 * KIB), two.read(spans, step=64 * KIB), strict=True))
        assert b"".join(piece.data for piece, _other in pairs) == first.read_bytes()[: 3 * MIB]
        assert b"".join(piece.data for _piece, piece in pairs) == second.read_bytes()


def test_reader_that_is_given_up(ovs: Server, tmp_path: Path) -> None:
    path = image_of(tmp_path)
    with ovs.open_image(str(path)) as image:
        reader = image.read([Span(0, image.size)], step=4 * KIB)
        assert next(reader) == Piece(0, path.read_bytes()[: 4 * KIB])
        reader.close()
        assert next(image.read([Span(MIB, 2 * MIB)], step=MIB)).data == path.read_bytes()[MIB : 2 * MIB]


def test_odd_names_are_never_interpreted(ovs: Server, tmp_path: Path) -> None:
    path = image_of(tmp_path, "-rf $(touch x) `id` 'a' \"b\" \\ ;*ü\udcff ")
    with ovs.open_image(str(path)) as image:
        assert next(image.read([Span(0, 10)], step=MIB)).data == noise(5000)[:10]
        assert image.data_spans()[0].start == 0
        assert image.free_space()[1] > 0
        image.check_unchanged()
    path.write_bytes(b"small")
    assert ovs.read_file(str(path), 5) == b"small"


def test_small_files(ovs: Server, tmp_path: Path) -> None:
    path = tmp_path / "vm.cfg"
    path.write_bytes(b"name = 'x'\n")
    assert ovs.read_file(str(path), 11) == b"name = 'x'\n"
    with pytest.raises(SourceError, match=r"vm.cfg on server ovs1: it has more than 10 bytes"):
        ovs.read_file(str(path), 10)
    with pytest.raises(
        SourceError, match="Cannot read .*missing on server ovs1: .*No such file or directory"
    ) as caught:
        ovs.read_file(str(tmp_path / "missing"), 10)
    assert caught.value.details["server"] == "ovs1"
    free, size = ovs.free_space(str(tmp_path))
    assert 0 < free < size


# --- comparing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "load", "compared"), [("server", 99, True), ("auto", 0, True), ("auto", 99, False), ("proxy", 0, False)]
)
def test_blocks_that_differ(
    stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str, load: float, compared: bool
) -> None:
    old = image_of(tmp_path, "old")
    new = image_of(tmp_path, "new")
    with open(new, "r+b") as file:
        file.seek(3 * MIB + 70 * KIB)
        file.write(b"changed")
    with server(stand_in.client(), compare=policy) as ovs:
        monkeypatch.setattr(ovs, "load", lambda: load)
        with ovs.open_image(str(old)) as reference, ovs.open_image(str(new)) as image:
            spans = [Span(0, MIB), Span(3 * MIB + 6 * KIB, 4 * MIB)]
            found = list(image.read_differing(reference, spans, step=MIB, block=4 * KIB))
            data = new.read_bytes()
            everything = [Piece(start, data[start:end]) for start, end in spans]
            block = 3 * MIB + 68 * KIB
            assert found == ([Piece(block, data[block : block + 4 * KIB])] if compared else everything)
            total = sum(end - start for start, end in spans)
            assert image.bytes_read == (2 * total if compared else total)


def test_load_is_per_processor(stand_in: StandIn) -> None:
    with server(stand_in.client()) as ovs:
        assert 0 <= ovs.load() < 1000


def test_client_gets_no_secret(stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real one would send to the server what its configuration names."""
    for name in ("OVM_VAULT_ENCRYPTION_KEY", "OVM_TARGET_VAULT_SECRET_ACCESS_KEY", "OVM_PASSWORD", "OTHER"):
        monkeypatch.setenv(name, f"value of {name}")
    client = stand_in.client('env > "$0.environment"\nexec sh -c "$command"\n')
    with server(client) as ovs:
        assert ovs.load() >= 0
    told = Path(f"{client}.environment").read_text(encoding="utf-8")
    assert [line for line in told.splitlines() if "value of" in line] == ["OTHER=value of OTHER"]


def test_image_of_another_server_is_not_compared(stand_in: StandIn, tmp_path: Path) -> None:
    path = image_of(tmp_path)
    with (
        server(stand_in.client(), compare="server") as one,
        LocalImage(str(path)) as local,
        one.open_image(str(path)) as image,
    ):
        found = list(image.read_differing(local, [Span(0, 10)], step=MIB, block=4 * KIB))
        assert found == [Piece(0, path.read_bytes()[:10])]


# --- images that are not as they should be ---------------------------------------------------------------------------


def test_images_that_are_none(ovs: Server, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for path, what in ((tmp_path / "empty", "is empty"), (tmp_path, "is not a regular file")):
        with pytest.raises(SourceError, match=f"on server ovs1 {what}: it cannot be a disk"):
            ovs.open_image(str(path))
    with pytest.raises(SourceError, match="Cannot open the image /nowhere on server ovs1: .*No such file or directory"):
        ovs.open_image("/nowhere")


def test_image_that_shrinks_while_it_is_read(ovs: Server, tmp_path: Path) -> None:
    path = image_of(tmp_path)
    with ovs.open_image(str(path)) as image:
        os.truncate(path, 2 * MIB)
        with pytest.raises(SourceError, match=f"ends at offset {2 * MIB}, but had {4 * MIB + 3000} bytes"):
            list(image.read([Span(0, image.size)], step=MIB))


def test_image_that_changes_or_is_replaced(ovs: Server, tmp_path: Path) -> None:
    path = image_of(tmp_path)
    with ovs.open_image(str(path)) as image:
        image.check_unchanged()
        os.utime(path, (1, 1))
        with pytest.raises(SourceError, match="changed while it was read"):
            image.check_unchanged()
    with ovs.open_image(str(path)) as image:
        image_of(tmp_path, "other").replace(path)
        with pytest.raises(SourceError, match="changed while it was read"):
            image.check_unchanged()


def test_image_that_is_replaced_before_all_streams_have_it(stand_in: StandIn, tmp_path: Path) -> None:
    path = image_of(tmp_path)
    with server(stand_in.client()) as ovs, ovs.open_image(str(path)) as image:
        image_of(tmp_path, "other").replace(path)
        with pytest.raises(SourceError, match="was replaced while it was read"):
            list(image.read([Span(0, 10)], step=MIB))


def test_no_map_where_clones_share_nothing(ovs: Server, tmp_path: Path) -> None:
    with ovs.open_image(str(image_of(tmp_path))) as image:
        image._before = {**image._before, "file_system": "nfs"}
        with pytest.raises(MapUnavailable, match="the file system nfs has no clones that share extents"):
            image.extents()


def test_maps_are_taken_where_clones_share(ovs: Server, tmp_path: Path) -> None:
    path = image_of(tmp_path)
    with ovs.open_image(str(path)) as image:
        image._before = {**image._before, "file_system": "xfs"}
        found = image.extents()
        assert found.size == image.size
        assert [item.logical for item in found.extents][0] == 0
        assert found.extents[-1].flags & 1


def test_identity(ovs: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = image_of(tmp_path)
    with ovs.open_image(str(path)) as image:
        if ovs.method == "python":
            state = dict(image.state())
            monkeypatch.setattr(image, "state", lambda: {**state, "uuid": ""})
            with pytest.raises(MapUnavailable, match="does not tell its UUID"):
                image.identity()
            monkeypatch.setattr(image, "state", lambda: {**state, "uuid": "0123456789abcdef0123456789abcdef"})
        found = image.identity()
        assert (found.uuid, found.size) == ("0123456789abcdef0123456789abcdef", image.size)
        assert found.inode == path.stat().st_ino
        assert abs(found.mtime - path.stat().st_mtime_ns) < 500
        assert abs(found.ctime - path.stat().st_ctime_ns) < 500
        monkeypatch.undo()
        path.unlink()
        with pytest.raises(MapUnavailable, match="No such file or directory"):
            image.identity()


@pytest.mark.parametrize(
    ("payload", "told"),
    [(b"junk", "damaged"), (zlib.compress(b"half"), "damaged"), (zlib.compress(EXTENT.pack(0, 1, 2, 1)), "incomplete")],
)
def test_map_that_came_damaged(
    stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, payload: bytes, told: str
) -> None:
    with server(stand_in.client()) as ovs, ovs.open_image(str(image_of(tmp_path))) as image:
        answer = Frame({"extents": 2, "size": 10}, payload)
        monkeypatch.setattr(ovs.connection.control, "ask", lambda *_request: answer)
        with pytest.raises(MapUnavailable, match=f"the extent map came {told}"):
            image.extent_map()


# --- connections -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 10, 500, 200_000, 3_000_000])
def test_connection_that_is_lost(stand_in: StandIn, tmp_path: Path, size: int) -> None:
    path = image_of(tmp_path)
    with (
        pytest.raises(ServerUnreachableError, match="The connection to server ovs1 .* closed by remote host") as caught,
        server(stand_in.dropping(size)) as ovs,
        ovs.open_image(str(path)) as image,
    ):
        list(image.read([Span(0, image.size)] * 4, step=MIB))
    assert caught.value.as_failure()["retryable"] is True


@pytest.mark.parametrize("size", [0, 500, 200_000])
def test_server_that_hangs(stand_in: StandIn, tmp_path: Path, size: int) -> None:
    path = image_of(tmp_path)
    with (
        pytest.raises(ServerUnreachableError, match="sent nothing for 0.3 seconds"),
        server(stand_in.hanging(size), stall_timeout=0.3) as ovs,
        ovs.open_image(str(path)) as image,
    ):
        list(image.read([Span(0, image.size)], step=MIB))


def test_interruption_ends_all(stand_in: StandIn, tmp_path: Path) -> None:
    path = image_of(tmp_path)
    with (
        pytest.raises(KeyboardInterrupt),
        server(stand_in.client()) as ovs,
        ovs.open_image(str(path)) as image,
    ):
        for _piece in image.read([Span(0, image.size)], step=4 * KIB):
            raise KeyboardInterrupt
    assert len(stand_in.pids()) == 2


def test_login_script_may_print_a_little(stand_in: StandIn, tmp_path: Path) -> None:
    path = image_of(tmp_path)
    with (
        server(stand_in.client('echo "Welcome to ovs1"\nexec sh -c "$command"\n')) as ovs,
        ovs.open_image(str(path)) as image,
    ):
        assert image.size == 4 * MIB + 3000
    with (
        pytest.raises(ServerToolError, match="its login scripts print too much"),
        server(stand_in.client("yes\n")),
    ):
        pass


def test_output_of_others_in_between_is_noticed(stand_in: StandIn) -> None:
    with (
        pytest.raises(ServerToolError, match="something else writes to its standard output"),
        server(stand_in.client("printf '\\novm.backup dom0 1\\nwhat is this, then?'; cat >/dev/null\n")),
    ):
        pass


def test_there_is_no_client(tmp_path: Path) -> None:
    with (
        pytest.raises(ServerToolError, match="cannot be started on this proxy: No such file or directory"),
        server(str(tmp_path / "ssh")),
    ):
        pass


def test_server_without_all_tools(stand_in: StandIn) -> None:
    stand_in.no_python()
    client = stand_in.client(f'PATH={stand_in.tools}\nexport PATH\nexec /bin/sh -c "$command"\n')
    stand_in.tool("cat", "exec /bin/cat\n")
    with (
        pytest.raises(ServerToolError, match=r"Server ovs1 \(192.0.2.1\) has neither Python nor dd: it cannot be read"),
        server(client),
    ):
        pass


def test_second_attempt_with_old_signatures(stand_in: StandIn) -> None:
    denied = "root@x: Permission denied (publickey)."
    refuse = f'case "$*" in *PubkeyAcceptedAlgorithms=+*) echo "{denied}" >&2; exit 255;; esac\n'
    client = stand_in.client(refuse + 'exec sh -c "$command"\n')
    with server(client, legacy=True) as ovs:
        assert ovs.load() >= 0
    with (
        pytest.raises(ServerAuthenticationError),
        server(stand_in.saying(denied), legacy=True),
    ):
        pass


def test_sudo_is_in_front_of_everything(stand_in: StandIn) -> None:
    stand_in.tool("sudo", '[ "$1" = -n ] && shift && exec "$@"\n')
    stand_in.tool("sh", 'case "$2" in "exec sudo -n /bin/sh -c "*) exec /bin/sh "$@";; esac\nexit 3\n')
    with server(stand_in.client(), user="backup", sudo=True) as ovs:
        assert ovs.load() >= 0
    stand_in.tool("sudo", 'echo "sudo: sorry, you must have a tty to run sudo" >&2; exit 1\n')
    with (
        pytest.raises(ServerAuthenticationError, match="must have a tty"),
        server(stand_in.client(), user="backup", sudo=True),
    ):
        pass


def test_errors_are_one_family() -> None:
    assert {kind.__base__ for kind in (ServerAuthenticationError, ServerToolError, ServerUnreachableError)} == {
        ServerError
    }
