# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What the first bytes of a disk tell of how it can be started: partitions, a boot loader, or neither."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ..vault.chain import DiskChain

# Enough for the boot sector, a partition table of either kind and the first entries of the newer one.
LOOKED_AT = 64 * 1024
_SECTOR = 512
_EFI = bytes.fromhex("28732ac11ff8d211ba4b00a0c93ec93b")  # C12A7328-F81F-11D2-BA4B-00A0C93EC93B as it is stored
_GPT_ENTRY = 128
_PROTECTIVE = 0xEE


@dataclass(frozen=True)
class DiskStart:
    """C(scheme): gpt, mbr, or none. C(loader): code that a BIOS would run is there. C(efi): an EFI system partition."""

    scheme: str
    loader: bool
    efi: bool
    blank: bool

    @property
    def bootable(self) -> bool:
        """Return whether a machine with the right firmware would find something to start."""
        return self.loader or self.efi


def disk_start(chain: DiskChain) -> DiskStart:
    """Look at the first bytes of a disk, read from the vault and checked by their hashes."""
    resolved = chain.at(0)
    found = bytearray(min(LOOKED_AT, chain.geometry.size))
    wanted = -(-len(found) // chain.geometry.block_size)
    for block, data in chain.read_blocks(resolved, (1 << wanted) - 1).items():
        start = block * chain.geometry.block_size
        piece = data[: max(0, len(found) - start)]
        found[start : start + len(piece)] = piece
    return parse_start(bytes(found))


def parse_start(data: bytes) -> DiskStart:
    """Return what the first bytes of a disk say."""
    sector = data[:_SECTOR].ljust(_SECTOR, b"\0")
    signed = sector[510:512] == b"\x55\xaa"
    entries = [sector[446 + 16 * number : 462 + 16 * number] for number in range(4)] if signed else []
    kinds = [entry[4] for entry in entries]
    # A file system without partitions may begin with code and a signature, too: then the entries are no table.
    plausible = all(entry[0] in (0, 0x80) for entry in entries) and any(kinds)
    is_gpt = data[_SECTOR : _SECTOR + 8] == b"EFI PART" and (_PROTECTIVE in kinds or not signed)
    scheme = "gpt" if is_gpt else "mbr" if plausible else "none"
    efi = _gpt_has_efi(data) if is_gpt else plausible and 0xEF in kinds
    # Partitioning programs leave a code that only says that there is nothing to start; it is short and ends in zeros.
    return DiskStart(scheme, loader=signed and _has_code(sector), efi=efi, blank=not any(data))


def _has_code(sector: bytes) -> bool:
    code = sector[:440]
    return sum(byte != 0 for byte in code) > 64 and b"not a bootable disk" not in code.lower()


def _gpt_has_efi(data: bytes) -> bool:
    header = data[_SECTOR : 2 * _SECTOR]
    first, count, size = struct.unpack_from("<QII", header, 72)
    if size < _GPT_ENTRY or size % 8:
        return False
    start = first * _SECTOR
    return any(data[start + size * number :][:16] == _EFI for number in range(min(count, 128)))
