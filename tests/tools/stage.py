# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copy the work tree to where Ansible's tools insist on finding a collection: .../ansible_collections/ovm/backup.

Usage: python3 stage.py SOURCE STAGE

The stage is a real directory with its own git index, because ansible-test refuses symbolic links and asks git which
files belong to the collection. Copied is what git tracks or would track. Only what changed is copied, times are kept
(the caches of the tools depend on them), and what vanished from the work tree vanishes from the stage.

Several steps of `make test` use the stage at a time. What a tool writes into it, .gitignore has to name: else git tells
the tool of another step that the file belongs to the collection, and the stagings of other steps take it in, and remove
it as one that has vanished, while it is in use.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path


def git(directory: Path, *arguments: str, clean: bool = False) -> str:
    """Run git in the directory; C(clean) shuts out the user's configuration."""
    # A hook or a worktree may have set GIT_DIR and its relatives: they would win over the directory.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    if clean:
        environment.update(GIT_CONFIG_GLOBAL=os.devnull, GIT_CONFIG_SYSTEM=os.devnull)
    done = subprocess.run(["git", *arguments], cwd=directory, env=environment, check=True, stdout=subprocess.PIPE)
    return os.fsdecode(done.stdout)


def is_file(path: Path) -> bool:
    """Tell whether there is a file or a symbolic link; a directory here would be another repository, or a submodule."""
    return path.is_symlink() or path.is_file()


def listed(source: Path) -> set[str]:
    """Return the files that belong to the work tree, tracked or not yet tracked, without deleted ones."""
    names = git(source, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    return {name for name in names if name and is_file(source / name)}


def same(source: Path, target: Path) -> bool:
    """Compare type, mode, size and time, not the content."""
    try:
        ours, theirs = source.lstat(), target.lstat()
    except FileNotFoundError:
        return False
    if stat.S_ISLNK(ours.st_mode):
        return target.is_symlink() and os.readlink(source) == os.readlink(target)
    return (ours.st_mode, ours.st_size, ours.st_mtime_ns) == (theirs.st_mode, theirs.st_size, theirs.st_mtime_ns)


def copy(source: Path, target: Path) -> None:
    """Copy one file or symbolic link with its mode and times, over whatever is there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(target):
        if is_file(target):
            target.unlink()
        else:
            shutil.rmtree(target)
    shutil.copy2(source, target, follow_symlinks=False)


def remove(stage: Path, name: str) -> None:
    """Remove a file of an earlier run, and the directories that it leaves empty."""
    path = stage / name
    if is_file(path):
        path.unlink()
    for parent in path.parents:
        if parent == stage:
            break
        try:
            parent.rmdir()
        except OSError:
            break


def synchronise(source: Path, stage: Path) -> int:
    """Bring the stage up to date; return the number of files copied or removed."""
    wanted = listed(source)
    if not (stage / ".git").is_dir():
        git(stage, "init", "--quiet", clean=True)
    staged = {name for name in git(stage, "ls-files", "-z", clean=True).split("\0") if name}
    gone = staged - wanted
    for name in gone:
        remove(stage, name)
    changed = 0
    for name in sorted(wanted):
        if not same(source / name, stage / name):
            try:
                copy(source / name, stage / name)
            except FileNotFoundError:
                continue  # an editor's temporary file that is gone again
            changed += 1
    git(stage, "-c", "core.autocrlf=false", "-c", "core.safecrlf=false", "add", "--all", clean=True)
    return changed + len(gone)


def main() -> int:
    """Run as a program."""
    source, stage = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).absolute()
    stage.mkdir(parents=True, exist_ok=True)
    with open(stage.parents[2] / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        changed = synchronise(source, stage)
    if changed:
        print(f"Staged {changed} changed files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
