# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # What a virtual disk that a restore makes is for; the option is that of purpose_option() in _restore.py.
    DOCUMENTATION = r"""
options:
  purpose:
    description:
      - What the disk is for. It is kept in the mark, for a restore that is repeated after an interruption.
    type: dict
    suboptions:
      slot:
        description:
          - Slot of the VM that the disk goes to.
        type: int
        required: true
      point:
        description:
          - Id of the recovery point.
        type: str
      vm_id:
        description:
          - Id of the VM that the disk goes to, none for a new one.
        type: str
      previous:
        description:
          - Id of the virtual disk that the slot held before.
        type: str
      was_running:
        description:
          - Whether the VM ran before.
        type: bool
        default: false
      done:
        description:
          - Whether all of the restore is done, up to the marks, which come off one after the other.
        type: bool
        default: false
"""
