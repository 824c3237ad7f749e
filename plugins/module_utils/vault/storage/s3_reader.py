# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Reading anywhere in an object: large pieces as they are asked for, small ones out of blocks that are kept."""

from __future__ import annotations

import errno
import threading
from collections import OrderedDict

from .s3_client import Bucket

# What is smaller is read with its surroundings: headers and tables are read in many small pieces, one after the other.
BLOCK = 256 * 1024
# Blocks that are kept, of every open object.
_BLOCKS = 16


class S3Reader:
    """An object that is open for reading. Threads may share it. At most 4 MiB of it are kept in memory."""

    def __init__(self, bucket: Bucket, key: str, path: str) -> None:
        self._bucket = bucket
        self._key = key
        self._path = path
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.Lock()
        self._loading = threading.Lock()
        # The end of a disk file says what is in it: one request gives its size and that.
        self._tail, answer = bucket.get(key, path, f"-{BLOCK}")
        total = str(answer.get("ContentRange", "")).rpartition("/")[2]
        self.size = int(total) if total.isdigit() else int(answer["ContentLength"])

    def pread(self, length: int, offset: int) -> bytes:
        """Return C(length) bytes from C(offset) on, fewer only where the file ends."""
        length = max(0, min(length, self.size - offset))
        if not length:
            return b""
        start = self.size - len(self._tail)
        if offset >= start:
            return self._tail[offset - start : offset - start + length]
        if length >= BLOCK // 2:
            return self._fetch(offset, length)
        parts, end = [], offset + length
        for number in range(offset // BLOCK, (end - 1) // BLOCK + 1):
            block, first = self._block(number), number * BLOCK
            parts.append(block[max(offset - first, 0) : end - first])
        return b"".join(parts)

    def close(self) -> None:
        """Give back the memory; connections belong to all."""
        with self._lock:
            self._kept.clear()
            self._tail = b""

    def _block(self, number: int) -> bytes:
        found = self._recall(number)
        if found is not None:
            return found
        # Whoever comes for the same block meanwhile waits and then finds it.
        with self._loading:
            found = self._recall(number)
            if found is not None:
                return found
            first = number * BLOCK
            data = self._fetch(first, min(BLOCK, self.size - first))
            with self._lock:
                self._kept[number] = data
                while len(self._kept) > _BLOCKS:
                    self._kept.popitem(last=False)
            return data

    def _recall(self, number: int) -> bytes | None:
        with self._lock:
            found = self._kept.get(number)
            if found is not None:
                self._kept.move_to_end(number)
            return found

    def _fetch(self, offset: int, length: int) -> bytes:
        data, _answer = self._bucket.get(self._key, self._path, f"{offset}-{offset + length - 1}")
        if len(data) != length:
            text = f"the storage gave {len(data)} bytes at {offset} instead of {length}: the object was replaced"
            raise OSError(errno.EIO, text, self._path)
        return data
