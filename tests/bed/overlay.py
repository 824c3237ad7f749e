# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The part of the guest that is ours: users, keys, the ssh servers, init and the helper programs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from .layout import GUEST_FILES, USER_NO_PYTHON, USER_PLAIN, USER_SUDO

# name, uid, home directory
USERS = (
    ("root", 0, "/root"),
    (USER_NO_PYTHON, 0, "/home/nopython"),
    (USER_SUDO, 1000, "/home/backup"),
    (USER_PLAIN, 1001, "/home/guest"),
)
SYSTEM_USERS = (("sshd", 100, "/run/sshd"), ("nobody", 65534, "/"))
GROUPS = (
    ("root", 0),
    ("tty", 5),
    ("disk", 6),
    (USER_SUDO, 1000),
    (USER_PLAIN, 1001),
    ("sshd", 100),
    ("nogroup", 65534),
)
# What the user without Python finds in its PATH: tools that the servers of Oracle VM 3.4 have.
PLAIN_TOOLS = """
    sh bash cat cut dd df echo env expr filefrag grep gzip head id ls md5sum mkdir mv od printf reflink rm sed sha256sum
    sleep sort stat sync tail test touch tr true false uname wc which
""".split()
PROGRAMS = (
    ("init", "/bin/busybox sh", ""),
    ("reflink", "/usr/bin/python", "usr/local/bin"),
    ("bed-agent", "/usr/bin/python", "usr/local/bin"),
    ("bed-writer", "/usr/bin/python", "usr/local/bin"),
)
PLAIN_PATH = "/opt/plain/bin"
TOOL_PATHS = {"filefrag": "/usr/sbin/filefrag"}


def write_overlay(target: Path) -> None:
    """Write C(initrd) and the folder C(keys) (client keys, public host keys)."""
    from .build import pack

    tree, keys = target / "tree", target / "keys"
    keys.mkdir()
    for kind, name in (("ed25519", "id_ed25519"), ("rsa", "id_rsa"), ("ed25519", "host_ed25519"), ("rsa", "host_rsa")):
        size = ["-b", "2048"] if kind == "rsa" else []
        command = ["ssh-keygen", "-q", "-t", kind, *size, "-N", "", "-C", f"bed {name}", "-f", str(keys / name)]
        subprocess.run(command, stdin=subprocess.DEVNULL, check=True)
    _etc(tree / "etc", keys)
    authorized = "".join((keys / f"id_{kind}.pub").read_text(encoding="utf-8") for kind in ("ed25519", "rsa"))
    for _name, uid, home in USERS:
        folder = tree / home.lstrip("/") / ".ssh"
        _write(folder / "authorized_keys", authorized, 0o600)
        for path in (folder.parent, folder, folder / "authorized_keys"):
            shutil.chown(path, uid, uid)
        for path in (folder.parent, folder):
            path.chmod(0o700)
    _programs(tree)
    pack(tree, target / "initrd")
    shutil.rmtree(tree)
    for kind in ("ed25519", "rsa"):
        (keys / f"host_{kind}").unlink()


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def _etc(etc: Path, keys: Path) -> None:
    everybody = [*((name, uid, home, "/bin/bash") for name, uid, home in USERS)]
    everybody += [(name, uid, home, "/usr/sbin/nologin") for name, uid, home in SYSTEM_USERS]
    lines = [
        f"{name}:x:{uid}:{uid if uid < 65534 else 65534}::{home}:{shell}\n" for name, uid, home, shell in everybody
    ]
    _write(etc / "passwd", "".join(lines))
    _write(etc / "shadow", "".join(f"{name}:*:19000:0:99999:7:::\n" for name, *_rest in everybody), 0o600)
    _write(etc / "group", "".join(f"{name}:x:{gid}:\n" for name, gid in GROUPS))
    _write(etc / "hosts", "127.0.0.1 localhost ovs-bed\n")
    _write(etc / "hostname", "ovs-bed\n")
    _write(etc / "ovs-release", "Oracle VM server release 3.4.6\n")
    (etc / "mtab").symlink_to("/proc/self/mounts")
    # There is no PAM configuration without the packages' scripts; sudo wants one, and no password is asked here.
    rules = "".join(f"{kind} required pam_permit.so\n" for kind in ("auth", "account", "password", "session"))
    for service in ("sudo", "other"):
        _write(etc / "pam.d" / service, rules)
    _write(
        etc / "sudoers", f"Defaults !fqdn, !lecture\nroot ALL=(ALL) ALL\n{USER_SUDO} ALL=(root) NOPASSWD: ALL\n", 0o440
    )
    for kind in ("ed25519", "rsa"):
        _write(etc / "ssh" / f"host_{kind}", (keys / f"host_{kind}").read_text(encoding="utf-8"), 0o600)
    for name in ("sshd_config", "sshd_config_legacy"):
        text = (GUEST_FILES / name).read_text(encoding="utf-8")
        _write(etc / "ssh" / name, f"{text}\nMatch User {USER_NO_PYTHON}\n    SetEnv PATH={PLAIN_PATH}\n")


def _programs(tree: Path) -> None:
    # The programs get their first lines here: ansible-test knows which ones a collection may have.
    for name, interpreter, place in PROGRAMS:
        text = (GUEST_FILES / name).read_text(encoding="utf-8")
        _write(tree / place / name, f"#!{interpreter}\n{text}", 0o755)
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "usr/bin/python").symlink_to("python2.7")
    (tree / "usr/bin/sh").symlink_to("bash")
    (tree / "usr/bin/awk").symlink_to("gawk")
    (tree / "usr/bin/which").symlink_to("which.debianutils")
    tools = tree / PLAIN_PATH.lstrip("/")
    tools.mkdir(parents=True)
    for tool in PLAIN_TOOLS:
        default = "/usr/local/bin/reflink" if tool == "reflink" else f"/usr/bin/{tool}"
        (tools / tool).symlink_to(TOOL_PATHS.get(tool, default))
    for folder in ("proc", "sys", "dev", "run", "tmp", "mnt", "OVS/Repositories", "var/empty", "dlm"):
        (tree / folder).mkdir(parents=True)
    (tree / "tmp").chmod(0o1777)
