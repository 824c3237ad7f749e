# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Build the guest: a User-Mode-Linux kernel and an initramfs that is the whole root file system.

Three parts, each made anew only when its recipe changed: the kernel with the modules that are needed, the base (Debian
packages, unpacked without running their scripts) and a small overlay (our init, programs, users and keys). An initramfs
may be several archives one after the other, so a change in C(guest/) costs well under a second.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from .layout import GUEST_FILES, HERE, BedError, BedUnavailable, locked
from .overlay import write_overlay

FORMAT = 1  # raise it when the recipe changes in a way that its inputs do not show
SUITE = "bookworm"
# Oracle Linux 6 has Python 2.6; 2.7 is the nearest that the archive of Debian still has.
OLD_SUITE = "bullseye"
PACKAGES = """
    base-files base-passwd bash busybox-static coreutils debianutils diffutils e2fsprogs findutils gawk grep gzip
    iproute2 kmod libpam-modules libpython2.7-stdlib mount netbase ocfs2-tools openssh-server openssh-sftp-server
    procps python2.7-minimal sed sudo tar util-linux
""".split()
MODULES = "ext4 loop ocfs2 ocfs2_stack_o2cb".split()
UNWANTED = """
    boot lib/modules usr/bin/localedef usr/bin/perl* usr/lib/python2.7/distutils usr/lib/python2.7/idlelib
    usr/lib/python2.7/lib2to3 usr/lib/python2.7/test usr/bin/python3* usr/lib/python3* usr/lib/*/gconv
    usr/lib/*/libperl* usr/lib/*/perl usr/lib/*/perl-base usr/lib/systemd usr/lib/udev usr/bin/systemctl
    usr/share/bash-completion
    usr/share/bug usr/share/common-licenses usr/share/doc usr/share/i18n usr/share/info usr/share/lintian
    usr/share/locale usr/share/man usr/share/perl* usr/share/python3 usr/share/zoneinfo usr/share/zsh var/cache
    var/lib/apt var/lib/dpkg
""".split()


def build(base: Path) -> Path:
    """Build what is missing; return the directory that holds C(vmlinux), C(initrd) and the keys.

    :raises BedUnavailable: this machine cannot build it.
    """
    cache = base / "cache"
    with locked(base / "build.lock"):
        _make(cache / "kernel", _digest(MODULES), _kernel)
        _make(cache / "base", _digest([*PACKAGES, *UNWANTED, SUITE, OLD_SUITE]), _base)
        files = [HERE / "overlay.py", *sorted(path for path in GUEST_FILES.rglob("*") if path.is_file())]
        _make(cache / "overlay", _digest([path.read_bytes().hex() for path in files]), write_overlay)
        parts = [cache / name / "initrd" for name in ("base", "kernel", "overlay")]
        stamps = [part.with_name("recipe").read_text(encoding="utf-8") for part in parts]
        _make(cache / "guest", _digest(stamps), lambda target: _join(parts, cache, target))
    return cache / "guest"


def _make(target: Path, recipe: str, make: Callable[[Path], None]) -> None:
    """Make a part in a scratch directory and move it into its place, unless it is there by this recipe."""
    stamp = target / "recipe"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == recipe:
        return
    scratch = target.with_name(f"{target.name}.new")
    for old in (scratch, target):
        shutil.rmtree(old, ignore_errors=True)
    scratch.mkdir(parents=True)
    make(scratch)
    (scratch / "recipe").write_text(recipe, encoding="utf-8")
    scratch.rename(target)


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps([FORMAT, *parts]).encode()).hexdigest()


def run(command: Sequence[str], directory: Path | None = None) -> str:
    """Run a program of this machine; its complaint is the reason if it fails."""
    environment = {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        command, cwd=directory, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BedError(f"{' '.join(command)}: {done.stderr.strip()[-2000:] or f'exit code {done.returncode}'}")
    return done.stdout


def pack(tree: Path, archive: Path) -> None:
    """Pack a tree as the kernel wants it."""
    names = run(["find", ".", "-print0"], tree)
    command = ["cpio", "--null", "--create", "--format=newc", "--quiet"]
    with archive.open("wb") as output:
        done = subprocess.run(command, cwd=tree, input=names.encode(), stdout=output, check=False)
    if done.returncode != 0:
        raise BedError(f"{tree} cannot be packed: cpio ended with {done.returncode}")


def _download(package: str, directory: Path) -> Path:
    """Fetch a package's file without installing it: the kernel is of no use to this machine."""
    command = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package]
    try:
        run(command, directory)
    except BedError:
        try:
            run(["apt-get", "-qq", "update"])
            run(command, directory)
        except BedError as problem:
            raise BedUnavailable(f"the package {package} cannot be downloaded: {problem}") from None
    return next(directory.glob(f"{package}_*.deb"))


def _kernel(target: Path) -> None:
    unpacked = target / "package"
    file = _download("user-mode-linux", target)
    run(["dpkg-deb", "-x", str(file), str(unpacked)])
    file.unlink()
    shutil.copy2(unpacked / "usr/bin/linux.uml", target / "vmlinux")
    # depmod and modprobe know one place for modules.
    source = target / "source"
    (source / "lib").mkdir(parents=True)
    (unpacked / "usr/lib/uml/modules").rename(source / "lib/modules")
    version = next((source / "lib/modules").iterdir()).name
    run(["depmod", "-b", str(source), version])
    tree = target / "tree"
    for module in MODULES:
        for line in run(["modprobe", "-d", str(source), "-S", version, "--show-depends", module]).splitlines():
            kind, path = line.split()[:2]
            if kind == "insmod":
                place = tree / "usr" / Path(path).relative_to(source)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, place)
    for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        shutil.copy2(source / "lib/modules" / version / name, tree / "usr/lib/modules" / version / name)
    run(["depmod", "-b", str(tree / "usr"), version])
    pack(tree, target / "initrd")
    for scratch in (unpacked, source, tree):
        shutil.rmtree(scratch)


def _base(target: Path) -> None:
    tree = target / "tree"
    mirror = _mirror()
    excluded = [f"--dpkgopt=path-exclude=/{name}/*" for name in ("usr/share/doc", "usr/share/man", "usr/share/locale")]
    # Unpacking alone takes a quarter of the time of an installation, and nothing here needs the packages' scripts.
    command = ["mmdebstrap", "--quiet", "--variant=extract", "--mode=root", f"--include={','.join(PACKAGES)}"]
    command += ["--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr", *excluded]
    sources = [f"deb {mirror} {suite} main" for suite in (SUITE, OLD_SUITE)]
    try:
        run([*command, SUITE, str(tree), *sources])
    except BedError as problem:
        raise BedUnavailable(f"the guest's packages cannot be had: {problem}") from None
    for path in [path for pattern in UNWANTED for path in tree.glob(pattern)]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    run(["ldconfig", "-r", str(tree)])
    pack(tree, target / "initrd")
    shutil.rmtree(tree)


def _mirror() -> str:
    """Return the mirror that this machine uses: it is the one that can be reached."""
    try:
        found = run(
            ["apt-get", "indextargets", "--format", "$(REPO_URI) $(ORIGIN) $(CODENAME)", "Created-By: Packages"]
        )
    except BedError:
        found = ""
    for line in found.splitlines():
        uri, origin, codename = (line.split(" ") + ["", ""])[:3]
        if origin == "Debian" and "-" not in codename:
            return uri
    return "http://deb.debian.org/debian"


def _join(parts: list[Path], cache: Path, target: Path) -> None:
    with (target / "initrd").open("wb") as output:
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, output)
    shutil.copy2(cache / "kernel" / "vmlinux", target / "vmlinux")
    shutil.copytree(cache / "overlay" / "keys", target / "keys")
