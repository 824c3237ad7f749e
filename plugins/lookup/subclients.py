# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lookup ovm.backup.subclients."""

from __future__ import annotations

DOCUMENTATION = r"""
name: subclients
author:
  - ovm.backup contributors (@ovm-backup)
version_added: 0.1.0
short_description: Read and check the definitions of all subclients
description:
  - Returns the definitions of all subclients, from directories with one YAML file for each and from a variable.
  - >-
    All of them are checked in full. Whatever is wrong with any of them is one error that lists every problem with its
    file and line, key and value, and says what would be right.
  - The name of a subclient is the name of its file without the ending V(.yml) or V(.yaml).
  - A subclient that is defined twice is an error.
  - >-
    Files hold plain YAML. Templates in them are not evaluated. A key that stands twice, several documents in a file and
    an empty file are errors.
  - Hidden files, directories and files with another ending, such as the backups of editors, are left alone.
options:
  _terms:
    description:
      - Directories whose files define subclients, none or any number. An empty string counts as none.
      - >-
        A relative path is looked for in the directory of the inventory, then in that of the playbook. A directory that
        does not exist is an error.
    type: list
    elements: str
  definitions:
    description: Definitions that are not in files, a mapping of names to definitions.
    type: raw
notes:
  - The lookup runs on the control node and needs nothing but C(ansible-core) there.
seealso:
  - module: ovm.backup.vm_info
"""

EXAMPLES = r"""
- name: Check all subclients and show their names
  ansible.builtin.debug:
    msg: "{{ lookup('ovm.backup.subclients', inventory_dir ~ '/subclients') | sort }}"

- name: Show the definition of a subclient
  ansible.builtin.debug:
    msg: "{{ lookup('ovm.backup.subclients', inventory_dir ~ '/subclients').databases }}"

- name: Check the subclients of files and of a variable
  ansible.builtin.debug:
    msg: "{{ lookup('ovm.backup.subclients', 'subclients', definitions=ovm_backup_subclients) | sort }}"
"""

RETURN = r"""
_raw:
  description: One mapping with the definition of each subclient by its name.
  type: list
  elements: dict
"""

import os
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

from ansible_collections.ovm.backup.plugins.module_utils.errors import SubclientError
from ansible_collections.ovm.backup.plugins.module_utils.planning.reading import kind_of
from ansible_collections.ovm.backup.plugins.plugin_utils._definitions import Definitions


class LookupModule(LookupBase):
    """Read and check the definitions of all subclients."""

    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[dict[str, Any]]:
        """Return one mapping of names to definitions."""
        self.set_options(var_options=variables, direct=kwargs)
        definitions = Definitions()
        definitions.add_variable(self.get_option("definitions"))
        for term in terms:
            if not isinstance(term, str):
                raise AnsibleLookupError(f"ovm.backup.subclients needs the paths of directories, not {kind_of(term)}")
            if term:
                definitions.add_directory(self._directory(term, variables or {}))
        try:
            return [definitions.checked()]
        except SubclientError as error:
            raise AnsibleLookupError(error.message) from error

    def _directory(self, term: str, variables: dict[str, Any]) -> str:
        """Return the directory that a term names, as an absolute path."""
        wanted = os.path.expanduser(str(term))
        bases = [variables.get("inventory_dir"), variables.get("playbook_dir") or self.get_basedir(variables)]
        tried = [os.path.normpath(os.path.join(base, wanted)) for base in bases if base]
        for path in tried:
            if os.path.isdir(path):
                return path
        places = " nor ".join(dict.fromkeys(tried))
        raise AnsibleLookupError(
            f"There is no directory with the definitions of subclients at {places} (ovm_backup_subclients_path)"
        )
