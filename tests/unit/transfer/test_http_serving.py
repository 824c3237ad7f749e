# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A disk over HTTP: right, whole or broken off, under its secret path only, and gone when the block ends."""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from unit.vault.builders import KIB, MIB, RECORD_OFFSET, Stored, noise, open_files, records, store, write_image

from ansible_collections.ovm.backup.plugins.module_utils.errors import CorruptVaultError, TargetError
from ansible_collections.ovm.backup.plugins.module_utils.transfer.http_serving import ServedDisk, serve_disk

STATE = noise(2 * MIB) + bytes(30 * MIB) + noise(8192, 1)


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    return store(write_image(tmp_path / "raw", STATE), tmp_path / "full.zst", block_size=64 * KIB)


@pytest.fixture
def served(stored: Stored) -> Iterator[ServedDisk]:
    with (
        open_files([stored]) as chain,
        serve_disk(chain, "a b", content_hash=stored.result.content_hash, address="127.0.0.1") as opened,
    ):
        yield opened


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as opened:
        opened.trust_env = False
        yield opened


def test_the_whole_disk(served: ServedDisk, session: requests.Session) -> None:
    assert served.url.endswith("/a_b.img")
    head = session.head(served.url)
    assert (head.status_code, head.headers["Content-Length"], head.content) == (200, str(len(STATE)), b"")
    assert served.sent == 0
    assert session.get(served.url).content == STATE
    served.check_complete()
    assert served.sent == len(STATE)


def test_it_tells_how_much_went_out(stored: Stored, session: requests.Session) -> None:
    seen: list[tuple[int, int]] = []
    how = {"content_hash": stored.result.content_hash, "address": "127.0.0.1"}
    with (
        open_files([stored]) as chain,
        serve_disk(chain, "a", progress=lambda *told: seen.append(told), **how) as served,
    ):
        session.get(served.url)
    assert seen == sorted(seen)
    assert (seen[0][0] < len(STATE), seen[-1]) == (True, (len(STATE), len(STATE)))


def test_parts(served: ServedDisk, session: requests.Session) -> None:
    for _time in range(2):  # twice is not more of the disk
        part = session.get(served.url, headers={"Range": "bytes=2097142-2097161"})
        assert (part.status_code, part.content) == (206, STATE[2097142:2097162])
        assert part.headers["Content-Range"] == f"bytes 2097142-2097161/{len(STATE)}"
    with pytest.raises(TargetError, match=f"The import took 20 of {len(STATE)} bytes and was called complete"):
        served.check_complete()
    behind = session.get(served.url, headers={"Range": f"bytes={len(STATE)}-"})
    assert (behind.status_code, behind.headers["Content-Range"], behind.content) == (416, f"bytes */{len(STATE)}", b"")
    for wanted in (f"bytes={2 * MIB}-", f"bytes=0-{2 * MIB - 1}"):
        session.get(served.url, headers={"Range": wanted})
    served.check_complete()


@pytest.mark.parametrize("path", ["", "/", "x/a_b.img", "/../a_b.img", "/%ff"])
def test_nothing_else_is_served(served: ServedDisk, session: requests.Session, path: str) -> None:
    assert session.get(served.url.replace("/a_b.img", path)).status_code == 404
    assert served.sent == 0


def test_damage_breaks_the_transfer(stored: Stored) -> None:
    row = records(stored.path)[1]
    with stored.path.open("r+b") as file:
        file.seek(row[RECORD_OFFSET] + 20)
        file.write(b"\xff\x00\xff")
    with (
        open_files([stored]) as chain,
        serve_disk(chain, "a", content_hash=stored.result.content_hash, address="127.0.0.1") as served,
    ):
        url = urlsplit(served.url)
        with contextlib.closing(http.client.HTTPConnection(url.hostname or "", url.port)) as client:
            client.request("GET", url.path)
            with pytest.raises(http.client.IncompleteRead) as cut, client.getresponse() as answer:
                answer.read()
        with pytest.raises(CorruptVaultError, match="is damaged at offset"):
            served.check_complete()
    assert cut.value.partial == STATE[:MIB]


def test_another_disk_than_the_manifest_says_is_not_served(stored: Stored) -> None:
    with (
        open_files([stored]) as chain,
        pytest.raises(CorruptVaultError, match="give another disk than the manifest says"),
        serve_disk(chain, "a", content_hash="0" * 64, address="127.0.0.1"),
    ):
        pass


def test_the_end_hangs_up(stored: Stored, capfd: pytest.CaptureFixture[str]) -> None:
    with open_files([stored]) as chain, contextlib.ExitStack() as stack:
        with serve_disk(chain, "a", content_hash=stored.result.content_hash, address="127.0.0.1") as served:
            where = urlsplit(served.url)
            address = (str(where.hostname), where.port or 0)
            # One that says nothing, and one that does not take what it asked for.
            silent = stack.enter_context(socket.create_connection(address))
            slow = stack.enter_context(contextlib.closing(http.client.HTTPConnection(*address)))
            slow.request("GET", where.path)
            answer = stack.enter_context(slow.getresponse())
            assert answer.status == 200
        with contextlib.suppress(ConnectionResetError):
            assert silent.recv(1) == b""
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            answer.read()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    assert capfd.readouterr() == ("", "")


def test_a_host_that_others_know_under_another_address(stored: Stored, session: requests.Session) -> None:
    where = {"content_hash": stored.result.content_hash, "address": "proxy.example.com", "listen": "127.0.0.1"}
    with open_files([stored]) as chain, serve_disk(chain, "a", **where) as served:
        told = urlsplit(served.url)
        assert told.hostname == "proxy.example.com"
        assert session.get(served.url.replace("proxy.example.com", "127.0.0.1")).content == STATE


def test_a_port_that_is_taken(stored: Stored, served: ServedDisk) -> None:
    port = urlsplit(served.url).port
    assert port is not None
    with (
        open_files([stored]) as chain,
        pytest.raises(TargetError, match=f"Cannot serve a disk at 127.0.0.1:{port}: Address already in use"),
        serve_disk(chain, "a", content_hash=stored.result.content_hash, address="127.0.0.1", port=port),
    ):
        pass
