# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""The options by which modules say what takes the place of Oracle VM's hardware."""

from __future__ import annotations

import dataclasses
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .export.mapping import AUTO, BUSES, FIRMWARES, NIC_MODELS, Wishes


def hardware_options() -> dict[str, Any]:
    """Return the options of the documentation fragment C(hardware)."""
    return {
        "slots": {"type": "list", "elements": "int"},
        "disk_bus": {"type": "str", "choices": list(BUSES), "default": AUTO},
        "nic_model": {"type": "str", "choices": list(NIC_MODELS), "default": AUTO},
        "firmware": {"type": "str", "choices": list(FIRMWARES), "default": AUTO},
    }


def wishes_of(module: AnsibleModule) -> Wishes:
    """Return what the options of C(hardware_options) say, and those that a module has besides."""
    known = {field.name for field in dataclasses.fields(Wishes)}
    return Wishes(**{name: value for name, value in module.params.items() if name in known})
