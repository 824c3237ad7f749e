# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Writing an object of any size: in parts that are sent while the next ones fill."""

from __future__ import annotations

import contextlib
import errno
import io
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from .s3_client import TOKEN, Bucket, new_token
from .s3_errors import code_of, is_failed_condition, s3_errors, status_of

MIB = 1 << 20
# S3 takes up to 10,000 parts of 5 MiB to 5 GiB each; only the last one may be smaller.
PART_LIMIT = 10_000
PART_SIZE = 8 * MIB
LARGEST_PART = 5 << 30
# A file may become larger than was foreseen: frames that do not compress, tables.
_SPARE = 9_000
# Without an idea of the size, parts grow with what is there: by then 10,000 of them hold more than any storage takes.
_GROWTH = 1_000
# Memory for parts on their way, where parts are so small that several fit in.
_SENDING = 32 * MIB
_SENDERS = 4
_PART_TRIES = 3


def part_size(offset: int, expected_size: int | None, smallest: int = PART_SIZE) -> int:
    """Return how large the part at C(offset) becomes, in whole MiB."""
    foreseen = expected_size is not None and offset <= expected_size
    wanted = (expected_size or 0) // _SPARE if foreseen else offset // _GROWTH
    return min(max(smallest, -(-wanted // MIB) * MIB), LARGEST_PART)


class S3Writer:
    """A new object; nobody sees anything of it before C(finish).

    One part fills while others are sent by threads, so the caller waits only when the network is slower than it is. In
    memory are at most the part that fills and those on their way: as many as fit into 32 MiB, one at least, four at
    most. That is 40 MiB for a disk of up to 70 GiB, and two parts of a 9,000th of the size for a larger one.
    """

    def __init__(
        self, bucket: Bucket, key: str, path: str, expected_size: int | None, *, smallest_part: int = PART_SIZE
    ) -> None:
        self._bucket = bucket
        self._key = key
        self._path = path
        self._expected = expected_size
        self._smallest = smallest_part
        self._token = new_token()
        self._upload: str | None = None
        self._parts: list[dict[str, Any]] = []
        self._offset = self._begun = 0
        self._part = io.BytesIO()
        self._limit = part_size(0, expected_size, smallest_part)
        self._sent: deque[Future[dict[str, Any]]] = deque()
        self._senders: ThreadPoolExecutor | None = None
        self._done = False

    def write(self, data: bytes) -> None:
        """Append bytes."""
        if self._done:
            raise ValueError("the object is finished or given up")
        view = memoryview(data)
        while view:
            room = self._limit - (self._offset - self._begun)
            step = min(room, len(view))
            self._part.write(view[:step])
            self._offset += step
            view = view[step:]
            if step == room:
                self._send_part()

    def finish(self) -> None:
        """Make the object visible, whole; raise C(FileExistsError) if there is one."""
        if self._upload is None:
            if not self._bucket.put_new(self._key, self._part, self._path, self._token):
                raise self._exists()
        else:
            if self._offset > self._begun:
                self._send_part()
            while self._sent:
                self._take_answer()
            self._complete()
        self._done = True
        self._close()

    def abort(self) -> None:
        """Throw away what was sent, unless the object is finished."""
        if self._done:
            return
        self._done = True
        for future in self._sent:
            future.cancel()
        # Parts that arrive after the upload was given up would stay: wait for those on their way.
        self._close()
        if self._upload is not None:
            with contextlib.suppress(Exception):
                self._bucket.client.abort_multipart_upload(
                    Bucket=self._bucket.name, Key=self._key, UploadId=self._upload
                )

    def _close(self) -> None:
        if self._senders is not None:
            self._senders.shutdown(wait=True)
        self._part = io.BytesIO()
        self._sent.clear()

    def _send_part(self) -> None:
        if self._upload is None:
            with s3_errors(self._path):
                self._upload = self._bucket.client.create_multipart_upload(
                    Bucket=self._bucket.name, Key=self._key, Metadata={TOKEN: self._token}
                )["UploadId"]
        number = len(self._parts) + len(self._sent) + 1
        if number > PART_LIMIT:
            raise OSError(errno.EFBIG, f"an object has at most {PART_LIMIT} parts, and they are used up", self._path)
        if self._senders is None:
            self._senders = ThreadPoolExecutor(_SENDERS, thread_name_prefix="s3-part")
        allowed = max(1, min(_SENDERS, _SENDING // self._limit))
        while len(self._sent) >= allowed:
            self._take_answer()
        self._sent.append(self._senders.submit(self._send, number, self._part))
        self._part = io.BytesIO()
        self._begun = self._offset
        self._limit = part_size(self._offset, self._expected, self._smallest)

    def _send(self, number: int, part: io.BytesIO) -> dict[str, Any]:
        tries = 1
        while True:
            part.seek(0)
            try:
                answer = self._bucket.client.upload_part(
                    Bucket=self._bucket.name, Key=self._key, UploadId=self._upload, PartNumber=number, Body=part
                )
            except Exception as error:
                # Hours of work hang on it, so the library may give up several times before we do.
                if tries == _PART_TRIES or self._done or 0 < status_of(error) < 500:
                    raise
                tries += 1
            else:
                part.close()
                return {"PartNumber": number, "ETag": answer["ETag"]}

    def _take_answer(self) -> None:
        """Wait for the oldest part on its way."""
        with s3_errors(self._path):
            # Taken off only with its answer: what abort() has to wait for stays known.
            self._parts.append(self._sent[0].result())
        self._sent.popleft()

    def _complete(self) -> None:
        bucket, options = self._bucket, {}
        if bucket.abilities(self._path).complete:
            options["IfNoneMatch"] = "*"
        elif self._is_there():
            # This storage cannot do it in one step; what is written so belongs to one run, which has its lock.
            raise self._exists()
        with s3_errors(self._path):
            try:
                bucket.client.complete_multipart_upload(
                    Bucket=bucket.name,
                    Key=self._key,
                    UploadId=self._upload,
                    MultipartUpload={"Parts": self._parts},
                    **options,
                )
            except Exception as error:
                # Of two tries the first may have come through without an answer: then there is no upload any more.
                if not (is_failed_condition(error) or code_of(error) == "NoSuchUpload"):
                    raise
                if bucket.has_token(self._key, self._token, self._path):
                    return
                if is_failed_condition(error):
                    raise self._exists() from None
                raise

    def _is_there(self) -> bool:
        try:
            self._bucket.head(self._key, self._path)
        except FileNotFoundError:
            return False
        return True

    def _exists(self) -> FileExistsError:
        return FileExistsError(errno.EEXIST, "there is such an object already", self._path)
