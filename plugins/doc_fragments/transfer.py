# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation that the modules share which read disks into the vault."""

from __future__ import annotations


class ModuleDocFragment:
    """What is read, for which run, and how it is stored."""

    DOCUMENTATION = r"""
options:
  plan:
    description:
      - The VM's entry in RV(ovm.backup.plan_info#module:plan.vms).
    type: dict
    required: true
  run_id:
    description:
      - Id of the backup run, as M(ovm.backup.job) returns it.
    type: str
    required: true
  compression_level:
    description:
      - Zstandard compression level, from 1 (fast) to 19 (small).
    type: int
    default: 1
"""

    # Also of the module that plans where the disks are read.
    REPOSITORIES = r"""
options:
  repositories_path:
    description:
      - Directory in which the host that runs the module sees the storage repositories, each under its id.
      - Falls back to E(OVM_REPOSITORIES_PATH).
    type: path
    default: /OVS/Repositories
"""
