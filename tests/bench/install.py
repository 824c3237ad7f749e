# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The programs that are measured, and those that measuring takes: from Debian's packages and from PyPI, on demand.

What is only measured goes to a directory of ours: nothing of it is needed by the collection, and its newest version is
wanted, not that of the system.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

SEARCH = "/usr/local/sbin:/usr/sbin:/sbin"


class Unavailable(Exception):
    """A tool or a setting that cannot be measured here; the text says why."""


def program(name: str) -> str | None:
    """Return where a program lies, or nothing; a file by its path."""
    if name.startswith("/"):
        return name if Path(name).exists() else None
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{SEARCH}")


def need_programs(packages: Mapping[str, str]) -> None:
    """Install the Debian packages of the programs that are missing; raise C(Unavailable) if they stay missing."""
    missing = sorted({package for name, package in packages.items() if program(name) is None})
    if missing:
        _apt_install(missing)
    still = [name for name in packages if program(name) is None]
    if still:
        raise Unavailable(f"{', '.join(still)} cannot be installed (Debian packages {', '.join(missing)})")


def _apt_install(packages: Sequence[str]) -> None:
    if program("apt-get") is None:
        return
    root = [] if os.getuid() == 0 else ["sudo", "-n"]
    install = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-y", "--no-install-recommends"]
    print(f"Installing system packages: {' '.join(packages)}", flush=True)
    if _quiet([*install, "install", *packages]).returncode:
        # A fresh machine has no package lists, or old ones.
        _quiet([*root, "apt-get", "-qq", "update"])
        _quiet([*install, "install", *packages])


def from_newer_debian(directory: Path, package: str, suite: str = "trixie") -> Path | None:
    """Unpack a package of a newer Debian than this one, for a program that brings all it needs; no root.

    Returns where it was unpacked, or nothing when it cannot be had.
    """
    target = directory / f"{package}-{suite}"
    if target.is_dir():
        return target
    address = _debian_address()
    if address is None or program("apt-get") is None:
        return None
    apt = directory / "apt"
    for name in ("lists/partial", "cache/archives/partial"):
        (apt / name).mkdir(parents=True, exist_ok=True)
    key = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (apt / "sources.list").write_text(f"deb [signed-by={key}] {address} {suite} main\n", encoding="utf-8")
    options = [f"Dir::Etc::SourceList={apt / 'sources.list'}", "Dir::Etc::SourceParts=/dev/null"]
    options += [f"Dir::State::Lists={apt / 'lists'}", f"Dir::Cache={apt / 'cache'}", "APT::Sandbox::User=root"]
    get = ["apt-get", "-qq", *(part for option in options for part in ("-o", option))]
    for old in apt.glob("*.deb"):
        old.unlink()
    _quiet([*get, "update"])
    _quiet([*get, "download", package], apt)
    for found in apt.glob(f"{package}_*.deb"):
        if _quiet(["dpkg-deb", "-x", str(found), str(target)]).returncode == 0:
            return target
    return None


def _debian_address() -> str | None:
    """Return where this machine gets its Debian packages from."""
    places = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    for place in places:
        if place.is_file():
            lines = [line for line in place.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
            for word in " ".join(lines).split():
                if word.startswith(("http://", "https://")) and "security" not in word:
                    return word
    return None


def virtual_environment(directory: Path, *steps: Sequence[str]) -> Path:
    """Return an environment of its own with what each of the steps lets pip install."""
    ready = directory / ".ready"
    if not ready.exists():
        shutil.rmtree(directory, ignore_errors=True)
        commands = [[sys.executable, "-m", "venv", str(directory)]]
        pip = [str(directory / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        commands += [[*pip, *step] for step in steps]
        for command in commands:
            done = _quiet(command)
            if done.returncode:
                shutil.rmtree(directory, ignore_errors=True)
                raise Unavailable(
                    f"pip cannot install {' '.join(command[6:]) or 'anything'}: {_last_line(done.stdout)}"
                )
        ready.touch()
    return directory


def version(*command: str) -> str:
    """Return the first line that a program prints about its version."""
    lines = _quiet(command).stdout.strip().splitlines()
    return lines[0].strip() if lines else "unknown"


def _quiet(command: Sequence[str], directory: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        check=False,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip() and "WARNING" not in line]
    return lines[-1].strip() if lines else "no message"
