# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading the files of units as systemd does, as far as ours go."""

from __future__ import annotations

import re

_ESCAPES = {"\\": "\\", '"': '"'}


def directives(text: str, section: str) -> list[tuple[str, str]]:
    """Return the lines of a section of a unit."""
    found = re.search(rf"^\[{section}\]\n((?:.+\n)*)", text, re.MULTILINE)
    assert found is not None
    return [(key, value) for key, _sign, value in (line.partition("=") for line in found[1].splitlines())]


def command(text: str, runtime: str = "/run") -> list[str]:
    """Return the arguments that systemd makes of ExecStart=, by the rules of systemd.service(5)."""
    line = dict(directives(text, "Service"))["ExecStart"]
    words = re.findall(r'"((?:[^"\\]|\\.)*)"(?= |$)|([^ "\\]+)(?= |$)', line)
    assert " ".join(f'"{quoted}"' if quoted or not plain else plain for quoted, plain in words) == line
    arguments = [re.sub(r"\\(.)", lambda found: _ESCAPES[found[1]], quoted) or plain for quoted, plain in words]
    specifiers = {"%": "%", "t": runtime}
    arguments = [re.sub(r"%(.)", lambda found: specifiers[found[1]], argument) for argument in arguments]
    assert not any(re.search(r"(?<!\$)(?:\$\$)*\$(?!\$)", argument) for argument in arguments)
    return [argument.replace("$$", "$") for argument in arguments]
