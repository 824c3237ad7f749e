# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What the modules share that read disks into the vault."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ._environment import env_fallback
from ._passed_on import check_clone, check_vm_plan
from ._ssh_options import ssh_options
from ._vault import compression_level, lock_owner
from .errors import InvalidInputError
from .images.ssh import SshSettings
from .transfer.request import BackupRequest
from .vault.jobs import vault_of_run


def repositories_option() -> dict[str, Any]:
    """Return the option of the documentation fragment C(transfer.repositories)."""
    fallback = (env_fallback, ["OVM_REPOSITORIES_PATH"])
    return {"repositories_path": {"type": "path", "default": "/OVS/Repositories", "fallback": fallback}}


def transfer_options() -> dict[str, Any]:
    """Return the options of the documentation fragment C(transfer)."""
    return {
        "plan": {"type": "dict", "required": True},
        "run_id": {"type": "str", "required": True},
        **repositories_option(),
        "compression_level": {"type": "int", "default": 1},
        "ssh": ssh_options(),
    }


def percent(value: float, option: str) -> float:
    """Return a share; raise C(InvalidInputError) for one that cannot be."""
    if not 0 <= value <= 100:
        raise InvalidInputError(f"{option} must be between 0 and 100 per cent, not {value:g}", option=option)
    return value


def request_of(module: AnsibleModule) -> BackupRequest:
    """Return what the options ask for."""
    parameters = module.params
    plan = parameters["plan"]
    level = compression_level(module)
    vault_of_run(parameters["run_id"])
    check_vm_plan(plan, configuration=True)
    clone = parameters.get("clone")
    if clone is not None:
        check_clone(clone)
    configuration = plan["configuration"]
    vm_cfg = configuration["vm_cfg"]
    ssh = parameters["ssh"]
    known = vm_cfg["repository_id"] is not None and vm_cfg["path"] is not None
    return BackupRequest(
        plan=plan,
        document=configuration["document"],
        vm_cfg=vm_cfg if known else None,
        run_id=parameters["run_id"],
        subclient=parameters.get("subclient"),
        owner=lock_owner(module),
        repositories_path=parameters["repositories_path"],
        manager=configuration["manager"],
        clone=clone,
        killed=parameters.get("killed", False),
        compression_level=level,
        break_lock=parameters.get("break_lock", False),
        ssh=SshSettings.parse(ssh) if ssh else None,
        sample=percent(parameters.get("sample", 0.0), "sample"),
        keep_reference=parameters.get("keep_reference", False),
        reference_space=int(percent(parameters.get("reference_space", 0), "reference_space")),
    )
