# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The additional settings of a site: switches for what is not offered everywhere (requirement R6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import InvalidInputError
from .reading import Problems, problem_details, problem_text, read_boolean, read_mapping

DIFFERENTIAL_BACKUP = "bEnableVSADifferentialBackup"


def read_additional_settings(value: Any) -> dict[str, bool]:
    """Return the settings that are given; C(InvalidInputError) for unknown ones and for anything but true or false."""
    problems = Problems()
    known = (DIFFERENTIAL_BACKUP,)
    mapping = read_mapping(value, "", known, problems) or {}
    found = {name: read_boolean(mapping[name], name, problems) for name in known if mapping.get(name) is not None}
    if problems.found:
        raise InvalidInputError(problem_text("additional settings", problems.found), **problem_details(problems.found))
    return {name: bool(switch) for name, switch in found.items()}


def check_offered(backup_type: str, settings: Mapping[str, bool]) -> None:
    """Raise C(InvalidInputError) for a backup type that the settings of the site do not offer."""
    if backup_type == "differential" and not settings.get(DIFFERENTIAL_BACKUP):
        raise InvalidInputError(
            f"backup_type: 'differential' is offered only where the additional setting {DIFFERENTIAL_BACKUP} is on: "
            f"set ovm_backup_additional_settings: {{{DIFFERENTIAL_BACKUP}: true}}, or use full, incremental or "
            "synthetic_full",
            key="backup_type",
            value=backup_type,
        )
