# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # Where recovery points are kept; the option is that of vault_options() in _module.py.
    DOCUMENTATION = r"""
options:
  vault:
    description:
      - Directory of the vault on the host that runs the module. It must be a vault already, so that a file system that
        is not mounted is noticed; M(ovm.backup.vault) makes a new one.
      - Falls back to E(OVM_VAULT).
    type: path
    required: true
requirements:
  - blake3
  - zstandard
"""
