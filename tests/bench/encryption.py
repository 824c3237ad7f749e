# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What encryption costs: CPU seconds for data that is written and read through a plain and an encrypted directory.

CPU time is measured, which other work on the machine disturbs less than elapsed time. Chunks of another size are tried,
too; that of the format is in the first row.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator

from ansible_collections.ovm.backup.plugins.module_utils.vault.storage import cipher, encrypted
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.directory import DirectoryStorage
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.interface import Storage

MIB = 1 << 20
SIZE = 256 * MIB
FRAME = 350_000  # about what a segment of 1 MiB takes when it is compressed
RANDOM_READS = 2000


class _Keys:
    def current(self) -> bytes:
        return b"k" * 32

    def find(self, key_id: bytes) -> bytes | None:
        return self.current()


def cpu_seconds(work: Callable[[], None]) -> float:
    """Return the least CPU time of three."""
    found = []
    for _attempt in range(3):
        started = time.process_time()
        work()
        found.append(time.process_time() - started)
    return min(found)


def measure(storage: Storage, root: str) -> Iterator[float]:
    """Yield the CPU seconds of writing, of reading one after the other, and of reading here and there."""
    path, data = f"{root}/disk", random.Random(1).randbytes(FRAME)

    def write() -> None:
        writer = storage.new(path)
        for _frame in range(SIZE // FRAME):
            writer.write(data)
        writer.finish()
        os.rename(path, f"{root}/written")

    def read() -> None:
        for frame in range(SIZE // FRAME):
            reader.pread(FRAME, frame * FRAME)

    def jump() -> None:
        places = random.Random(2)
        for _read in range(RANDOM_READS):
            reader.pread(4096, places.randrange(SIZE - FRAME))

    yield cpu_seconds(write)
    reader = storage.open(f"{root}/written")
    yield cpu_seconds(read)
    yield cpu_seconds(jump)
    reader.close()


def main() -> None:
    print(f"{SIZE // MIB} MiB in frames of {FRAME} bytes; {RANDOM_READS} reads of 4 KiB. CPU seconds:")
    print(f"{'':24}{'write':>8}{'read':>8}{'random':>8}")
    with tempfile.TemporaryDirectory() as root:
        rows: list[tuple[str, int | None]] = [("encrypted, 64 KiB", 64), ("encrypted, 256 KiB", 256), ("plain", None)]
        for name, chunk in rows:
            plain = DirectoryStorage()
            if chunk is not None:
                for module in (cipher, encrypted):
                    vars(module).update(CHUNK_SIZE=chunk * 1024, SEALED_SIZE=chunk * 1024 + cipher.TAG_SIZE)
            storage = plain if chunk is None else encrypted.EncryptedStorage(plain, root, _Keys())
            print(f"{name:24}" + "".join(f"{seconds:8.2f}" for seconds in measure(storage, root)))


if __name__ == "__main__":
    main()
