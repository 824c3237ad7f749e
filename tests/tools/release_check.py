# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rehearse a release in a copy of the collection: changelog, artifact, and what Galaxy says of it.

Usage: python release_check.py --stage STAGE --work DIRECTORY [--quick]

STAGE is an ``ansible_collections/ovm/backup`` under git. Its copy gets the version of galaxy.yml released by
antsibull-changelog, is built, and goes through galaxy-importer, which Galaxy and Automation Hub run on an upload.
Any warning of it fails the check, with its reason. The work tree stays as it is. With C(--quick) without ansible-lint.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

COLLECTION = Path("ansible_collections/ovm/backup")
LINKS = ("repository", "documentation", "homepage", "issues")
PLACEHOLDER = "example.com"
SEMVER = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")
# What galaxy-importer checks beyond its defaults, as Automation Hub has it. Not its sanity tests, which it runs in a
# container and `make sanity` without one; nor flake8, which Galaxy leaves off and which cannot read the house style.
IMPORTER = {"CHECK_REQUIRED_TAGS": "True", "OFFLINE_ANSIBLE_LINT": "True"}


def call(directory: Path, *command: str, **environment: str) -> str:
    """Run a command; return what it said on both streams. Ends the program if it fails."""
    done = subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{done.stdout}\n{' '.join(command)} failed with exit code {done.returncode}")
    return done.stdout


def copy(stage: Path, work: Path) -> Path:
    """Return a fresh copy of what git knows of the stage."""
    shutil.rmtree(work, ignore_errors=True)
    target = work / COLLECTION
    names = call(stage, "git", "ls-files", "-z").split("\0")
    for name in filter(None, names):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(stage / name, target / name, follow_symlinks=False)
    return target


def release(collection: Path) -> str:
    """Write the changelog of the version in galaxy.yml; return the version."""
    version = str(yaml.safe_load((collection / "galaxy.yml").read_text(encoding="utf-8"))["version"])
    if not SEMVER.fullmatch(version):
        sys.exit(f"galaxy.yml: version {version!r} is not one of semantic versioning, such as 1.2.3")
    records = collection / "changelogs/changelog.yaml"
    if version in (yaml.safe_load(records.read_text(encoding="utf-8"))["releases"] or {}):
        print(f"{version} has been released: the artifact is checked, the changelog is left as it is")
        return version
    fragments = list((collection / "changelogs/fragments").glob("*.yml"))
    call(collection, "antsibull-changelog", "lint")
    # The tool lists new plugins by what ansible-doc says of them, in the path that holds the copy.
    call(collection, "antsibull-changelog", "release", ANSIBLE_COLLECTIONS_PATH=str(collection.parents[2]))
    call(collection, "antsibull-changelog", "lint-changelog-yaml", "--strict", "changelogs/changelog.yaml")
    written = (collection / "CHANGELOG.rst").read_text(encoding="utf-8")
    if f"v{version}\n" not in written:
        sys.exit(f"CHANGELOG.rst says nothing of v{version}")
    left = [path.name for path in fragments if path.exists()]
    if left:
        sys.exit(f"These fragments are not in the changelog: {', '.join(left)}")
    print(f"The changelog of {version} has {len(fragments)} fragments")
    return version


def importer(work: Path, artifact: Path, *, lint: bool) -> None:
    """Let galaxy-importer read the artifact; end the program if it has anything to say."""
    settings = {"GALAXY_IMPORTER_RUN_ANSIBLE_LINT": str(lint)}
    settings |= {f"GALAXY_IMPORTER_{name}": value for name, value in IMPORTER.items()}
    # The importer says what it is doing on the same stream; only lines with a level are findings.
    said = call(work, sys.executable, "-m", "galaxy_importer.main", str(artifact), **settings)
    found = [line for line in said.splitlines() if line.startswith(("WARNING", "ERROR", "CRITICAL"))]
    if found or "Importer processing completed successfully" not in said:
        sys.exit("\n".join(["galaxy-importer found something:", *(found or said.splitlines())]))
    print(f"galaxy-importer accepts {artifact.name}")


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--stage", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="without ansible-lint")
    arguments = parser.parse_args()
    work = arguments.work.absolute()
    collection = copy(arguments.stage.absolute(), work)
    version = release(collection)
    call(collection, "ansible-galaxy", "collection", "build", "--output-path", str(work))
    importer(work, work / f"ovm-backup-{version}.tar.gz", lint=not arguments.quick)
    metadata = yaml.safe_load((collection / "galaxy.yml").read_text(encoding="utf-8"))
    missing = [key for key in LINKS if PLACEHOLDER in metadata[key]]
    if missing:
        print(f"Before it can be uploaded, galaxy.yml needs real addresses for {', '.join(missing)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
