# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page on the format of the vault agrees with the code: numbers, names of keys, the worked example."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import zstandard

from ansible_collections.ovm.backup.plugins.module_utils.vault import (
    boot_test_record,
    jobs,
    manifest,
    points,
    verification_record,
)
from ansible_collections.ovm.backup.plugins.module_utils.vault import format as fmt
from ansible_collections.ovm.backup.plugins.module_utils.vault.chain import open_chain

if TYPE_CHECKING:
    from conftest import Documentation

ROOT = Path(__file__).resolve().parents[3]
GUIDE = "vault_format"
DISK_SIZE = 2 * 1024 * 1024 + 8192
NOW = 1795395723.0


def keys(documentation: Documentation, title: str) -> list[str]:
    return [row[0] for row in documentation.table(GUIDE, title)]


def values(documentation: Documentation, title: str) -> dict[str, str]:
    return {row[0]: row[1] for row in documentation.table(GUIDE, title)}


# --- numbers ---------------------------------------------------------------------------------------------------------


def test_constants_are_those_of_the_code(documentation: Documentation) -> None:
    shown = {name: int(value, 0) for name, value, _meaning in documentation.table(GUIDE, "Constants")}
    assert shown == {name: getattr(fmt, name) for name in shown}
    magic = {name for name in vars(fmt) if name.startswith("MAGIC_")}
    assert set(shown) == magic | {
        "BLOCK_SIZE",
        "SEGMENT_SIZE",
        "HASH_SIZE",
        "HASHES_PER_FRAME",
        "HASHES_PER_DIGEST",
        "FORMAT_VERSION",
    }


def test_record_is_laid_out_as_shown(documentation: Documentation) -> None:
    rows = documentation.table(GUIDE, "Record")
    letters = {4: "I", 8: "Q", 32: "32s"}
    offset = 0
    for start, size, _name, _meaning in rows:
        assert int(start) == offset
        offset += int(size)
    assert "<" + "".join(letters[int(row[1])] for row in rows) == fmt.RECORD.format
    assert offset == fmt.RECORD.size == 80
    assert tuple(row[2] for row in rows) == fmt.Record._fields


@pytest.mark.parametrize(
    ("title", "layout"),
    [
        ("Skippable frame", fmt.SKIPPABLE),
        ("Entry of the seek table", fmt.SEEK_ENTRY),
        ("Footer of the seek table", fmt.SEEK_FOOTER),
    ],
)
def test_small_layouts_are_as_shown(documentation: Documentation, title: str, layout: Any) -> None:
    letters = {"1": "B", "4": "I"}
    rows = documentation.table(GUIDE, title)
    assert "<" + "".join(letters[row[1]] for row in rows) == layout.format
    assert [int(row[0]) for row in rows] == [sum(int(row[1]) for row in rows[:number]) for number in range(len(rows))]


def test_limits_are_as_told(documentation: Documentation) -> None:
    text = " ".join(documentation.guide(GUIDE).split())
    assert f"segments of up to {fmt.SEGMENT_LIMIT // 1024**2} MiB and at most 64 blocks" in text
    fmt.Geometry(1, 1, 64).check()
    with pytest.raises(ValueError, match="more blocks"):
        fmt.Geometry(1, 1, 65).check()
    largest = 0xFFFFFFFF // fmt.RECORD.size
    assert f"up to {largest} segments" in documentation.guide("architecture")
    fmt.Geometry(largest * fmt.SEGMENT_SIZE).check()


# --- names of keys ---------------------------------------------------------------------------------------------------


def test_vault_and_client_have_the_keys_that_are_shown(documentation: Documentation, tmp_path: Path) -> None:
    vault = points.Vault.create(str(tmp_path / "vault"), clock=lambda: NOW)
    client = vault.prepare_client("db01")
    vault.register(client, vm_id="0004fb01", vm_name="db01", now=NOW)
    document = json.loads((tmp_path / "vault" / "vault.json").read_text(encoding="utf-8"))
    assert list(document) == sorted(keys(documentation, "Keys of vault.json"))
    shown = values(documentation, "Keys of vault.json")
    assert (shown["format"], shown["version"]) == (points.VAULT_NAME, str(points.VAULT_VERSION))
    assert list(client.document) == sorted(keys(documentation, "Keys of client.json"))
    assert set(client.document["names"][0]) == {"name", "since"}


def test_lock_has_the_keys_that_are_shown(documentation: Documentation, tmp_path: Path) -> None:
    client = points.Vault.create(str(tmp_path / "vault")).prepare_client("db01")
    run_id = jobs.new_job_id("0a1b2c3d", NOW)
    client.lock(owner="test", run_id=run_id, vm_id="0004fb01", vm_name="db01").hold(60.0, {"vm_stopped": True})
    with client.lock(owner="test", run_id=run_id):
        document = json.loads(Path(client.directory, "lock.json").read_text(encoding="utf-8"))
    assert sorted(document) == sorted(keys(documentation, "Keys of lock.json"))


def test_manifest_has_the_keys_that_are_shown(documentation: Documentation) -> None:
    shown = values(documentation, "Keys of point.json")
    assert list(shown) == ["format", "version", *(item.name for item in fields(manifest.Point))]
    assert shown["version"] == str(manifest.MANIFEST_VERSION)
    assert keys(documentation, "Keys of a disk in point.json") == [item.name for item in fields(manifest.PointDisk)]


def test_verification_has_the_keys_that_are_shown(documentation: Documentation) -> None:
    shown = keys(documentation, "Keys of verification.json")
    assert shown == [item.name for item in fields(verification_record.Verification)]
    problem = keys(documentation, "Keys of a problem")
    assert problem == [item.name for item in fields(verification_record.Problem)]


def test_boot_test_has_the_keys_that_are_shown(documentation: Documentation) -> None:
    shown = keys(documentation, "Keys of boot_test.json")
    assert shown == [item.name for item in fields(boot_test_record.BootTest)]


def test_job_has_the_keys_that_are_shown(documentation: Documentation, tmp_path: Path) -> None:
    planned = {
        "order": 1,
        "vm_id": "0004fb01",
        "vm_name": "db01",
        "client": "db01",
        "action": "skip",
        "method": "skip",
        "reason": "the VM is suspended",
        "requested_type": "full",
        "proxy": "localhost",
        "skipped_disks": [],
        "warnings": [],
    }
    plan = {"subclient": "all", "requested_type": "full", "warnings": [], "vms": [planned]}
    store = jobs.JobStore(points.Vault.create(str(tmp_path / "vault")))
    running = jobs.new_job(jobs.new_job_id("0a1b2c3d", NOW), plan, now=NOW)
    store.start(running)
    finished = store.finish(running["id"], now=NOW + 60.0)
    shown = keys(documentation, "Keys of a job")
    assert set(shown) == set(running) | set(finished)
    assert set(running) - set(finished) == {"plan"}
    assert keys(documentation, "Keys of a VM of a job") == list(finished["vms"][0])


# --- the worked example ----------------------------------------------------------------------------------------------


@pytest.fixture
def example(documentation: Documentation, tmp_path: Path) -> Path:
    """Return a directory with the programs of the page and the files that the first of them makes."""
    maker, reader = (block.text for block in documentation.blocks("python", GUIDE))
    (tmp_path / "make_example.py").write_text(maker, encoding="utf-8")
    (tmp_path / "read_disk.py").write_text(reader, encoding="utf-8")
    printed = run(tmp_path, "make_example.py").stdout.decode()
    (tmp_path / "printed").write_text(printed, encoding="utf-8")
    return tmp_path


def run(directory: Path, *command: str) -> subprocess.CompletedProcess[bytes]:
    environment = {"PYTHONPATH": str(ROOT.parents[2])}
    done = subprocess.run([sys.executable, *command], check=False, cwd=directory, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done


def dumps(documentation: Documentation) -> list[str]:
    return [
        block.text for block in documentation.blocks("text", GUIDE) if block.text.startswith("00000000  28 b5 2f fd")
    ]


def bytes_of(dump: str) -> bytes:
    """Return the bytes of an output of hexdump -C."""
    lines = (re.sub(r"\|.*", "", line).split()[1:] for line in dump.splitlines())
    return bytes.fromhex("".join("".join(line) for line in lines))


def dump_of(data: bytes) -> str:
    """Return what hexdump -C prints."""
    lines = []
    for start in range(0, len(data), 16):
        row = data[start : start + 16]
        halves = " ".join(f"{byte:02x}" for byte in row[:8]), " ".join(f"{byte:02x}" for byte in row[8:])
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{start:08x}  {halves[0]:<23}  {halves[1]:<23}  |{text}|")
    return "\n".join([*lines, f"{len(data):08x}"]) + "\n"


def test_shown_file_is_the_full_of_the_example(documentation: Documentation, example: Path) -> None:
    shown = example / "shown.img.zst"
    shown.write_bytes(bytes_of(dumps(documentation)[0]))
    printed = re.findall(r"header_hash (\w+) content_hash (\w+)", documentation.guide(GUIDE))
    with open_chain([(str(shown), printed[0][0])]) as chain:
        assert chain.geometry == fmt.Geometry(DISK_SIZE)
        assert chain.content_hash() == printed[0][1]
    raw = zstandard.ZstdDecompressor().decompressobj(read_across_frames=True).decompress(shown.read_bytes())
    assert raw == b"A" * 65536 + bytes(DISK_SIZE - 65536 - 8192) + b"C" * 8192


def test_example_makes_the_files_that_are_shown(documentation: Documentation, example: Path) -> None:
    full, incremental = ((example / f"{kind}.img.zst").read_bytes() for kind in ("full", "incremental"))
    shown_full, shown_incremental = dumps(documentation)
    if full[: full.index(fmt.SKIPPABLE.pack(fmt.MAGIC_RECORDS, 240))] == bytes_of(shown_full)[:0x8C]:
        assert dump_of(full) == shown_full
        assert dump_of(incremental).startswith(shown_incremental)
        assert (example / "printed").read_text(encoding="utf-8") in [
            block.text for block in documentation.blocks("text", GUIDE)
        ]
    # Another release of the Zstandard library compresses otherwise: the content is the same.
    contents = re.findall(r"content_hash (\w+)", (example / "printed").read_text(encoding="utf-8"))
    assert contents == re.findall(r"header_hash \w+ content_hash (\w+)", documentation.guide(GUIDE))


def test_parts_of_the_shown_file_are_where_they_are_said_to_be(documentation: Documentation) -> None:
    data = bytes_of(dumps(documentation)[0])
    parts = {int(offset, 16): text for offset, text in documentation.table(GUIDE, "Parts of full.img.zst")}
    for offset, text in parts.items():
        if text.startswith("data frame"):
            assert data[offset : offset + 4] == b"\x28\xb5\x2f\xfd"
        magic = re.match(r"skippable frame (0x\w+)(?: with (0x\w+) bytes)?", text)
        if magic:
            found, size = fmt.SKIPPABLE.unpack_from(data, offset)
            assert found == int(magic[1], 16)
            assert magic[2] is None or size == int(magic[2], 16)
        record = re.match(r"record of segment (\d)", text)
        if record:
            unpacked = fmt.Record._make(fmt.RECORD.unpack_from(data, offset))
            told = {name: int(value, 0) for name, value in re.findall(r"(\w+) (0x\w+|\d+)", text)}
            facts = {name: value for name, value in unpacked._asdict().items() if name in told}
            assert facts == {name: told[name] for name in facts}
            assert len(facts) > 2
    header = json.loads(data[0x1F4 + 8 : 0x5DD])
    assert sorted(header) == sorted(keys(documentation, "Keys of the header"))
    shown = values(documentation, "Keys of the header")
    assert (shown["format"], shown["version"]) == (fmt.FORMAT_NAME, str(fmt.FORMAT_VERSION))
    assert fmt.SEEK_FOOTER.unpack_from(data, 0x61D) == (7, 0, fmt.MAGIC_SEEKABLE)
    assert (0x61D - 0x5E5) // fmt.SEEK_ENTRY.size == 7


def test_shown_program_reads_a_chain(example: Path) -> None:
    done = run(example, "read_disk.py", "incremental.img.zst", "full.img.zst")
    assert done.stdout == (example / "disk.img").read_bytes()
    content_hash = done.stderr.decode().strip()
    assert content_hash == (example / "printed").read_text(encoding="utf-8").split()[-1]


def test_shown_program_finds_damage(example: Path) -> None:
    path = example / "full.img.zst"
    data = bytearray(path.read_bytes())
    data[data.index(fmt.SKIPPABLE.pack(fmt.MAGIC_HASHES, 64)) + 8] ^= 1
    path.write_bytes(data)
    done = subprocess.run([sys.executable, "read_disk.py", str(path)], check=False, cwd=example, capture_output=True)
    assert done.returncode == 1
    assert f"AssertionError: {path}: block at 0" in done.stderr.decode()
