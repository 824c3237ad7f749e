# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The program that runs on a server (dom0) while its images are read.

It is sent over ssh behind dom0.py, dom0_files.py and dom0_write.py and never stored there: see dom0.py for what it must
be. It reads frames from standard input and answers on standard output. A frame is two lengths, a header in JSON and a
payload. Requests are answered in turn. An answer is any number of frames without a header, which are data, and one with
a header, which ends it. Paths are payloads. The program ends when one of the two streams does.
"""

import json
import os
import select
import struct
import sys
import time
import zlib

MYPY = False
if MYPY:  # Python 2.6 has no annotations, and none of these
    from collections.abc import Callable  # noqa: F401 # novm

if __name__ != "__main__":  # on a server, these are in front of this part
    from .dom0 import FIEMAP_FLAG_SYNC, fiemap_parts, file_system
    from .dom0_files import CHUNK, ZEROS, Failure, chunks, exactly, open_file, read_at, state, unpack_spans
    from .dom0_write import Writing

PROTOCOL = 1
READY = b"\novm.backup dom0 1\n"  # what a login script prints before it is not ours

FRAME = struct.Struct(">II")  # lengths of header and payload
EXTENT = struct.Struct(">QQQI")  # logical, physical, length, flags
HEADER_LIMIT = 64 * 1024
PAYLOAD_LIMIT = 1024 * 1024

# Data is told in words: two bits for the kind, the rest for the length in bytes.
DATA, ZERO, SAME = 0, 1, 2
KIND_SHIFT = 30
LENGTH_MASK = (1 << KIND_SHIFT) - 1

GRAIN = 16 * 1024  # smallest run of zeros that is not sent
DIRECT = 64 * 1024  # data from this size on is written as it is; smaller parts are put together
FLUSH_BYTES = 512 * 1024
FLUSH_WORDS = 4096
FLUSH_SECONDS = 1.0  # a sign of life, also where nothing differs
BLOCK_LIMIT = 16 * 1024 * 1024

POLLRDHUP = 0x2000  # not in the module select of every version


class Gone(Exception):
    """Nobody listens any more."""


# --- requests --------------------------------------------------------------------------------------------------------


class Sender(object):
    """Gathers data and what is told in its place, and sends it in frames of moderate size."""

    def __init__(self, write, alive):
        # type: (Callable[[dict[str, object] | None, list[bytes]], None], Callable[[], None]) -> None
        self.write = write
        self.alive = alive
        self.words = []  # type: list[int]
        self.parts = []  # type: list[bytes]
        self.size = 0
        self.sent = time.time()

    def add(self, kind, length, data=b""):
        # type: (int, int, bytes) -> None
        last = self.words[-1] if self.words else -1
        if last >> KIND_SHIFT == kind and (last & LENGTH_MASK) + length <= LENGTH_MASK:
            self.words[-1] = last + length
        else:
            self.words.append(kind << KIND_SHIFT | length)
        if data:
            self.parts.append(data)
            self.size += len(data)
        full = self.size >= FLUSH_BYTES or len(self.words) >= FLUSH_WORDS
        if full or not 0 <= time.time() - self.sent < FLUSH_SECONDS:
            self.flush()

    def content(self, data):
        # type: (bytes) -> None
        """Send data, without its longer runs of zeros."""
        for start in range(0, len(data), CHUNK):
            self._chunk(data[start : start + CHUNK])

    def flush(self):
        # type: () -> None
        self.alive()
        if self.words:
            head = struct.pack(">%dI" % (len(self.words) + 1), len(self.words), *self.words)
            self.write(None, [head] + self.parts)
        self.words, self.parts, self.size, self.sent = [], [], 0, time.time()

    def _chunk(self, data):
        # type: (bytes) -> None
        size, start = len(data), 0
        if data == ZEROS[:size]:
            self.add(ZERO, size)
            return
        for offset in range(0, size, GRAIN):
            length = min(GRAIN, size - offset)
            if data[offset : offset + length] == ZEROS[:length]:
                if offset > start:
                    self.add(DATA, offset - start, data[start:offset])
                self.add(ZERO, length)
                start = offset + length
        if size > start:
            self.add(DATA, size - start, data[start:])


def send_spans(sender, fd, spans):
    # type: (Sender, int, list[tuple[int, int]]) -> int
    """Send the bytes of spans; return how many were read."""
    total = 0
    for offset, length in chunks(spans, CHUNK):
        data = exactly(fd, offset, length)
        sender.content(data)
        total += length
    return total


def send_differing(sender, fd, reference, spans, block):
    # type: (Sender, int, int, list[tuple[int, int]], int) -> int
    """Send those blocks of spans that are not the same in a second file; return how many bytes were read of both."""
    total = 0
    for offset, length in chunks(spans, block * max(1, CHUNK // block)):
        data = exactly(fd, offset, length)
        other = read_at(reference, offset, length)
        total += length + len(other)
        if data == other:
            sender.add(SAME, length)
            continue
        first = 0  # where the run of blocks begins that differ, and were not sent yet
        for start, size in chunks([(offset, offset + length)], block):
            start -= offset
            if data[start : start + size] == other[start : start + size]:
                sender.content(data[first:start])
                sender.add(SAME, size)
                first = start + size
        sender.content(data[first:])
    return total


class Session(Writing):
    """The requests of one proxy. A method's name is that of the request; it returns the header that ends the answer."""

    def __init__(self, write, alive):
        # type: (Callable[[dict[str, object] | None, list[bytes]], None], Callable[[], None]) -> None
        Writing.__init__(self)
        self.write = write
        self.alive = alive

    def answer(self, request, payload):
        # type: (dict[str, int], bytes) -> None
        """Serve a request, whatever comes of it."""
        try:
            serve = getattr(self, "do_" + str(request.get("do")), None)
            if serve is None:
                raise Failure(text="unknown request")
            answer, data = serve(request, payload)
        except Failure as failure:
            answer, data = {"error": failure.details}, b""
        except EnvironmentError as error:
            answer, data = {"error": {"errno": error.errno, "text": error.strerror or str(error)}}, b""
        self.write(answer, [data])

    def do_hello(self, _request, _payload):
        # type: (dict[str, int], bytes) -> tuple[dict[str, object], bytes]
        answer = {
            "protocol": PROTOCOL,
            "python": "%d.%d.%d" % sys.version_info[:3],
            "uid": os.getuid(),
            "load": os.getloadavg()[0],
            "processors": os.sysconf("SC_NPROCESSORS_ONLN"),
        }
        return answer, b""

    def do_open(self, _request, path):
        # type: (dict[str, int], bytes) -> tuple[dict[str, object], bytes]
        fd = open_file(path)
        return dict(state(fd, path), handle=fd), b""

    def do_close(self, request, _payload):
        # type: (dict[str, int], bytes) -> tuple[dict[str, object], bytes]
        self.discard(request["handle"])
        os.close(request["handle"])
        return {}, b""

    def end(self):
        # type: () -> None
        """Leave nothing behind that is not finished."""
        for fd in list(self.unfinished):
            self.discard(fd)

    def do_state(self, _request, path):
        # type: (dict[str, int], bytes) -> tuple[dict[str, object], bytes]
        # Opened again: that makes a network file system ask its server, and finds a file that was replaced.
        fd = open_file(path)
        try:
            return state(fd, path), b""
        finally:
            os.close(fd)

    def do_map(self, request, path):
        # type: (dict[str, int], bytes) -> tuple[dict[str, object], bytes]
        fd = request["handle"]
        # OCFS2 allocates when a guest writes, so there is nothing to wait for.
        flags = 0 if file_system(fd, path)[0] == "ocfs2" else FIEMAP_FLAG_SYNC
        packer = zlib.compressobj(1)
        count = 0
        for part in fiemap_parts(fd, flags):
            count += len(part)
            packed = packer.compress(b"".join([EXTENT.pack(*extent) for extent in part]))
            self.alive()
            if packed:
                self.write(None, [packed])
        found = os.fstat(fd)
        return {"extents": count, "size": found.st_size, "allocated": found.st_blocks * 512}, packer.flush()

    def do_read(self, request, payload):
        # type: (dict[str, int], bytes) -> tuple[dict[str, object], bytes]
        sender = Sender(self.write, self.alive)
        total = send_spans(sender, request["handle"], unpack_spans(payload))
        sender.flush()
        return {"read": total}, b""

    def do_differ(self, request, payload):
        # type: (dict[str, int], bytes) -> tuple[dict[str, object], bytes]
        block = request["block"]
        if not 512 <= block <= BLOCK_LIMIT:
            raise Failure(text="no such size of blocks")
        sender = Sender(self.write, self.alive)
        total = send_differing(sender, request["handle"], request["reference"], unpack_spans(payload), block)
        sender.flush()
        return {"read": total}, b""

    def do_file(self, request, path):
        # type: (dict[str, int], bytes) -> tuple[dict[str, object], bytes]
        fd = open_file(path)
        try:
            data = read_at(fd, 0, min(request["limit"] + 1, PAYLOAD_LIMIT + 1))
        finally:
            os.close(fd)
        return {"size": len(data)}, data

    def do_space(self, _request, path):
        # type: (dict[str, int], bytes) -> tuple[dict[str, object], bytes]
        found = os.statvfs(path)
        return {"free": found.f_bavail * found.f_frsize, "size": found.f_blocks * found.f_frsize}, b""


# --- the two streams -------------------------------------------------------------------------------------------------


def receive(length):
    # type: (int) -> bytes
    parts = []
    while length > 0:
        part = os.read(0, min(length, CHUNK))
        if not part:
            raise Gone()
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def send(header, parts):
    # type: (dict[str, object] | None, list[bytes]) -> None
    """Send a frame with a payload in parts; without a header it is data."""
    text = b"" if header is None else json.dumps(header).encode("ascii")
    small = [FRAME.pack(len(text), sum([len(part) for part in parts])), text]
    for part in parts:
        if len(part) < DIRECT:
            small.append(part)
            continue
        send_raw(b"".join(small))
        send_raw(part)
        small = []
    send_raw(b"".join(small))


def send_raw(data):
    # type: (bytes) -> None
    try:
        while data:
            data = data[os.write(1, data) :]
    except EnvironmentError:
        raise Gone()


def check_alive():
    # type: () -> None
    """End the program when the proxy hung up, also in the middle of work that sends nothing."""
    poll = select.poll()
    poll.register(0, POLLRDHUP)
    if poll.poll(0):
        raise Gone()


def main():
    # type: () -> None
    """Serve requests until the proxy hangs up."""
    os.nice(10)  # whoever runs the guests comes first
    session = Session(send, check_alive)
    try:
        send_raw(READY)
        while True:
            header, payload = FRAME.unpack(receive(FRAME.size))
            if header > HEADER_LIMIT or payload > PAYLOAD_LIMIT:
                raise Gone()
            request = json.loads(receive(header).decode("ascii"))
            session.answer(request, receive(payload))
    except Gone:
        pass
    finally:
        session.end()


if __name__ == "__main__":
    main()
