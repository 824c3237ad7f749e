# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is loaded with the filters: Ansible loads all of a collection, in the process of each task that uses one."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import importlib, sys
for name in ("client_name", "outage_budget", "recurrences", "stand_in"):
    importlib.import_module("ansible_collections.ovm.backup.plugins.filter." + name)
print(*sorted(name for name in sys.modules if ".module_utils.vault" in name or ".module_utils.manager" in name))
"""


def test_filters_are_loaded_without_vault_and_manager() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
