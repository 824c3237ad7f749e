# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # What long modules share that show how far they are; the option is that of progress_options() in _progress.py.
    DOCUMENTATION = r"""
options:
  progress_file:
    description:
      - Set by the action plugin. File in which the module writes how far it is, as JSON.
      - The module makes the directory of the file, which must not exist, and removes it at the end.
    type: path
notes:
  - While the module runs, its action plugin prints how far it is. E(OVM_PROGRESS_INTERVAL) in the environment of the
    control node is the number of seconds between two lines, 5 by default, 0 for none.
    The variable C(ovm_backup_progress_interval) wins over it.
"""
