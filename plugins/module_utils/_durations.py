# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Options of modules that are durations."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

from .errors import InvalidInputError
from .planning.reading import Problems, problem_details, read_duration


def duration_option(module: AnsibleModule, name: str) -> int:
    """Return the seconds of an option that is a duration; raise C(InvalidInputError) for anything else."""
    problems = Problems()
    seconds = read_duration(module.params[name], name, problems)
    if seconds is None:
        raise InvalidInputError(str(problems.found[0]), option=name, **problem_details(problems.found))
    return seconds
