# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Where the key of an encrypted vault comes from: an option, a file, or the output of a command."""

from __future__ import annotations

import contextlib
import os
import selectors
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..._children import child_environment
from ..._libraries import missing_libraries
from ...errors import InvalidInputError, VaultKeyError
from .recipients import Key, parse_key

PREFIX = "encryption_"
SOURCES = ("key", "key_file", "key_command")
COMMAND_SECONDS = 60.0
_LONGEST = 16 * 1024  # bytes of a key, in whatever form
_SAID = 500  # characters of what a command complained of


def read_key(access: Mapping[str, Any], *, prefix: str = PREFIX, seconds: float = COMMAND_SECONDS) -> Key | None:
    """Return the key that the options give whose names begin with C(prefix), or nothing if none is set.

    A command has so many C(seconds).
    """
    found = read_key_text(access, prefix=prefix, seconds=seconds)
    return parse_key(*found) if found is not None else None


def read_key_text(
    access: Mapping[str, Any], *, prefix: str = PREFIX, seconds: float = COMMAND_SECONDS
) -> tuple[str, str] | None:
    """Return the text of that key, and what errors call it."""
    names = [prefix + source for source in SOURCES]
    given = [name for name in names if access.get(name)]
    if not given:
        return None
    if len(given) > 1:
        raise InvalidInputError(f"Only one of {', '.join(names)} may be set, not {' and '.join(given)}")
    if missing_libraries("cryptography"):
        raise VaultKeyError(f"{given[0]} needs the Python library cryptography, which is not installed on this host")
    name, value = given[0], access[given[0]]
    if name == f"{prefix}key_file":
        return _read_file(value, f"{name} {value}"), f"{name} {value}"
    if name == f"{prefix}key_command":
        command = _words(value, name)
        return _run(command, f"{name} {command[0]}", seconds), f"What {name} {command[0]} printed"
    return str(value), name


def _read_file(path: str, name: str) -> str:
    try:
        with open(path, "rb") as file:
            content = file.read(_LONGEST + 1)
    except OSError as error:
        raise VaultKeyError(f"{name} cannot be read: {error.strerror}", path=path) from error
    if len(content) > _LONGEST:
        raise VaultKeyError(f"{name} is longer than any key", path=path)
    return content.decode("utf-8", "replace")


def _words(command: Any, name: str) -> list[str]:
    try:
        words = shlex.split(command) if isinstance(command, str) else [str(word) for word in command]
    except (ValueError, TypeError) as error:
        raise InvalidInputError(f"{name} is no command: {error}") from None
    if not words or not words[0]:
        raise InvalidInputError(f"{name} is empty")
    return words


def _run(command: Sequence[str], name: str, seconds: float) -> str:
    """Return what a command prints.

    Its arguments are no place for a secret: Ansible logs them, and the list of processes shows them. Errors name the
    program alone all the same.
    """
    try:
        # In a group of its own, so that its children do not outlive the time limit.
        process = subprocess.Popen(  # pylint: disable=ansible-bad-function
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=child_environment(),
            start_new_session=True,
        )
    except OSError as error:
        raise VaultKeyError(f"{name} cannot be run: {error.strerror}") from None
    with process:
        try:
            output, complaints = _output_of(process, name, seconds)
            process.wait()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode != 0:
        said = " ".join(complaints.decode("utf-8", "replace").split())[-_SAID:]
        raise VaultKeyError(f"{name} failed with status {process.returncode}: {said or 'it said nothing'}")
    return output.decode("utf-8", "replace")


def _output_of(process: subprocess.Popen[bytes], name: str, seconds: float) -> list[bytes]:
    """Return what a process writes until it ends, to its output and to its errors."""
    found = [b"", b""]
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for number, pipe in enumerate((process.stdout, process.stderr)):
            if pipe is not None:
                selector.register(pipe, selectors.EVENT_READ, number)
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                raise VaultKeyError(f"{name} did not end within {seconds:g} s")
            for ready, _events in selector.select(left):
                data = os.read(ready.fd, _LONGEST)
                found[ready.data] += data
                if not data:
                    selector.unregister(ready.fileobj)
                if len(found[ready.data]) > _LONGEST:
                    raise VaultKeyError(f"{name} printed more than any key has")
    return found
