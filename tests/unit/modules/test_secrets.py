# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An encrypted vault in a bucket, and all modules that start other programs over it: they work, and tell no secret.

Everything is real: the S3 server, nbdkit, the appliance of libguestfs, and qemu. A guest that boots
from an encrypted vault is in the tests of the export room.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.export.conftest import bootable, bootable_image
from unit.guest import disks
from unit.guest.conftest import needs_nbdkit
from unit.programs import files_with, recorded, recording
from unit.transfer.builders import Estate
from unit.vault.kinds import ENCRYPTED_BUCKET, KEY, access_options

from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import Point
from s3.fixtures import s3_server
from s3.server import SECRET_KEY

__all__ = ["bootable", "bootable_image", "s3_server"]
UP = "No bootable device"
# Runs modules as Ansible does, one after the other: with their arguments on standard input. And commands between.
DRIVER = """
import json, subprocess, sys
results = []
for name, arguments in json.load(sys.stdin):
    command = [sys.executable, "-m", "ansible_collections.ovm.backup.plugins.modules." + name] if name else arguments
    given = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}) if name else ""
    done = subprocess.run(command, input=given, stdout=subprocess.PIPE, text=True)
    results.append(json.loads(done.stdout) if name else done.returncode)
json.dump(results, sys.stdout)
"""


@pytest.fixture
def scratch() -> Iterator[Path]:
    """Where everything that is started finds its home and makes its temporary files; the path of a socket is short."""
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        for name in ("home", "tmp"):
            Path(made, name).mkdir()
        yield Path(made)


@needs_nbdkit
@pytest.mark.parametrize("bootable", [ENCRYPTED_BUCKET], indirect=True)
def test_programs_over_an_encrypted_bucket(
    bootable: tuple[Estate, Point], scratch: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    lacking = disks.missing()
    if lacking is not None:
        pytest.skip(lacking)
    estate, point = bootable
    served, copy, files = scratch / "served", tmp_path / "copy.img", tmp_path / "files"
    vault = {"vault": estate.vault.path, "vault_access": access_options(ENCRYPTED_BUCKET, request)}
    client = {**vault, "client": estate.client.name}
    hostname = {"slots": [0], "filesystem": "/dev/sda2", "paths": ["/etc/hostname"]}
    steps: list[tuple[str, Any]] = [
        ("served_point", {**client, "directory": str(served)}),
        ("", ["nbdcopy", f"nbd+unix:///0?socket={served}/socket", str(copy)]),
        ("", ["cp", "-r", "--copy-contents", f"{served}/settings.json", f"{served}/plugin.py", str(scratch / "home")]),
        ("served_point", {**vault, "directory": str(served), "state": "absent"}),
        ("guest_file_copy", {**client, **hostname, "destination": str(files)}),
        # Of a blank disk: what is written down is slowed down, and to boot Linux would take very long.
        ("boot_test", {**client, "slots": [1], "pattern": UP, "accelerator": "tcg", "cpus": 1}),
        ("point_export", {**client, "directory": str(tmp_path / "exported")}),
        ("verify", vault),
        ("recovery_point_info", vault),
        ("report", {**vault, "format": "html", "dest": str(tmp_path / "report.html")}),
    ]  # fmt: skip
    trace = tmp_path / "trace"
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
        "HOME": str(scratch / "home"),
        "TMPDIR": str(scratch / "tmp"),
        "LC_ALL": "C.UTF-8",
        # What the appliance is made of is kept for all; to make it takes long.
        "LIBGUESTFS_CACHEDIR": "/var/tmp",
        # Where KVM is there and does not work, to find that out takes long.
        "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg",
    }
    done = subprocess.run(
        [*recording(str(trace)), sys.executable, "-c", DRIVER],
        input=json.dumps(steps), env=environment, capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    results = [result for (name, _arguments), result in zip(steps, json.loads(done.stdout), strict=True) if name]
    assert [result for result in results if result.get("failed")] == []
    begun, ended, copied, booted, exported, verified, catalogue, _report = results

    # They did their work.
    assert (begun["served"]["point"], ended["changed"], served.exists()) == (point.id, True, False)
    assert copy.read_bytes() == estate.image(0).read_bytes()
    assert (copied["files_copied"], (files / "etc/hostname").read_text()) == (1, "guest01\n")
    assert booted["boot_test"]["verdict"].endswith(f" s: its consoles say {UP!r}")
    raw = ["qemu-img", "compare", str(tmp_path / "exported/0-system.qcow2"), str(estate.image(0))]
    subprocess.run(raw, check=True, capture_output=True)
    assert exported["changed"] and [one["status"] for one in verified["points"]] == ["good"]
    assert [one["id"] for one in catalogue["recovery_points"]] == [point.id]
    page = (tmp_path / "report.html").read_text()
    assert "its consoles say" in page and "data:image/png;base64," in page

    # They told nobody. That nbdkit needs both secrets, and gets them, shows that they would be found.
    programs = recorded(trace)
    names = {program.name for program in programs}
    assert names >= {"nbdkit", "timeout", "qemu-system-x86_64", "qemu-img", "nbdcopy"}
    for secret in (KEY, SECRET_KEY):
        assert [program.arguments for program in programs if secret in " ".join(program.arguments)] == []
        knowing = {program.name for program in programs if secret in " ".join(program.environment)}
        assert knowing == {"setsid", "timeout", "nbdkit"}
        assert [path for path in files_with(secret, scratch, tmp_path) if path != trace] == []
    assert list((scratch / "tmp").iterdir()) == []
