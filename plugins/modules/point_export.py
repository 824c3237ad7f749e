#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: point_export
short_description: Export a recovery point for KVM, as qcow2, libvirt domain and OVF
description:
  - Writes the disks of a recovery point as qcow2 images, straight from the vault, and beside them a domain of libvirt,
    an OVF descriptor that Oracle Linux Virtualization Manager and oVirt understand, and a report on what will need
    attention. CPU, memory, network cards, boot order and clock are those of the saved configuration.
  - Every block is compared with its hash before it is written. An image is sparse, blocks of zeros take no space.
  - The directory appears under its name when all of it is complete and verified, otherwise not at all.
  - Nothing in the guest is changed. What it needs to run elsewhere, such as drivers, is what the report is about.
version_added: 0.1.0
author:
  - The ovm.backup contributors (@ovm-backup)
extends_documentation_fragment:
  - ovm.backup.vault
  - ovm.backup.point
  - ovm.backup.hardware
  - ovm.backup.progress
  - ovm.backup.attributes
  - ovm.backup.attributes.vault_group
  - ovm.backup.attributes.shows_progress
options:
  directory:
    description:
      - Directory for the export, readable for its owner only. The directory above it must exist; this one must not, or
        must be empty or hold an export.
    type: path
    required: true
  name:
    description:
      - Name of the VM on the new side. That of the VM by default.
    type: str
  mac:
    description:
      - V(keep) keeps the MAC addresses of the network cards, and the id of the machine. V(new) gives new ones, that are
        the same each time for the same name of the same VM.
    type: str
    choices: [keep, new]
    default: keep
  network:
    description:
      - Network of the new side that the network cards are connected to, as libvirt or the OVF import know it.
    type: str
    default: default
  networks:
    description:
      - Networks of the new side by those of Oracle VM, for network cards that do not belong in O(network).
    type: dict
    default: {}
  compression:
    description:
      - Whether the images are compressed. V(zlib) is understood by every program that reads qcow2, V(zstd) is faster
        and needs qemu 5.1 or newer.
    type: str
    choices: [none, zlib, zstd]
    default: none
  image_directory:
    description:
      - Directory in which the images will lie on the host that runs the VM, for the domain of libvirt. O(directory) by
        default.
    type: str
  verify:
    description:
      - Whether each image is read back and compared with the recovery point before the export gets its name.
    type: bool
    default: true
  overwrite:
    description:
      - Whether another export in O(directory), or one that was changed, is replaced. It stays as it is until the new
        one is complete. A directory with anything else in it is never touched.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    details: An export that exists already is read and compared in check mode, too. Of the disks in the vault only the
      first bytes are read.
  diff_mode:
    support: full
  idempotent:
    support: full
seealso:
  - module: ovm.backup.boot_test
  - module: ovm.backup.restore_image
"""

EXAMPLES = r"""
- name: Export the newest recovery point
  ovm.backup.point_export:
    vault: /srv/vault
    client: db01
    directory: /srv/export/db01

- name: Export an older one as a copy beside the original, compressed, with virtio disks
  ovm.backup.point_export:
    vault: /srv/vault
    client: db01
    before: "2026-11-23T06:00:00Z"
    directory: /srv/export/db01-copy
    name: db01-copy
    mac: new
    disk_bus: virtio
    nic_model: virtio
    compression: zstd

- name: Export into networks of oVirt, in place of an earlier export
  ovm.backup.point_export:
    vault: /srv/vault
    client: db01
    directory: /srv/export/db01
    network: ovirtmgmt
    networks:
      vm-net: production
    overwrite: true
  register: exported
"""

RETURN = r"""
recovery_point:
  description: The recovery point, in the form of RV(ovm.backup.recovery_point_info#module:recovery_points).
  returned: success
  type: dict
export:
  description: What there is, in check mode what there would be.
  returned: success
  type: dict
  contains:
    directory:
      description: The directory.
      type: str
      returned: always
    name:
      description: Name of the VM on the new side.
      type: str
      returned: always
    domain_type:
      description: What the VM was on Oracle VM, V(XEN_HVM), V(XEN_HVM_PV_DRIVERS) or V(XEN_PVM).
      type: str
      returned: always
    chipset:
      description: Chipset of the new machine, V(pc) or V(q35).
      type: str
      returned: always
    firmware:
      description: Firmware of the new machine, V(bios) or V(uefi).
      type: str
      returned: always
    disks:
      description: The disks.
      type: list
      elements: dict
      returned: always
      contains:
        slot:
          description: Slot of the disk.
          type: int
          returned: always
        disk_id:
          description: Id of the disk.
          type: str
          returned: always
        name:
          description: Name of the disk.
          type: str
          returned: always
        size:
          description: Size of the disk in bytes.
          type: int
          returned: always
        content_hash:
          description: Hash of the disk, the same as in the recovery point.
          type: str
          returned: always
        path:
          description: The image file.
          type: str
          returned: always
        bus:
          description: What it is connected to on the new side.
          type: str
          returned: always
        old_device:
          description: Name that a Linux guest had for it on Oracle VM.
          type: str
          returned: always
        new_device:
          description: Name that a Linux guest has for it on the new side.
          type: str
          returned: always
        boots:
          description: Whether the new machine starts from it.
          type: bool
          returned: always
    nics:
      description: The network cards.
      type: list
      elements: dict
      returned: always
      contains:
        mac:
          description: MAC address.
          type: str
          returned: always
        model:
          description: Model.
          type: str
          returned: always
        network:
          description: Network of the new side.
          type: str
          returned: always
        old_network:
          description: Network of Oracle VM.
          type: str
          returned: always
    libvirt_xml:
      description: File with the domain for libvirt.
      type: str
      returned: always
    ovf:
      description: File with the OVF descriptor.
      type: str
      returned: always
    report:
      description: File with the report for people.
      type: str
      returned: always
    attention:
      description: What will need attention, the urgent first.
      type: list
      elements: dict
      returned: always
      contains:
        level:
          description: V(must) if the VM will not start or data is missing unless somebody acts, V(check) or V(info).
          type: str
          returned: always
        key:
          description: What it is, for programs.
          type: str
          returned: always
        subject:
          description: What it is about, for people.
          type: str
          returned: always
        text:
          description: What to do.
          type: str
          returned: always
needed:
  description:
    - Bytes that the images take at most; of compressed ones an estimate.
  returned: success
  type: int
bytes_written:
  description: Bytes of the disks that were written, without zeros and before compression.
  returned: success
  type: int
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._hardware import hardware_options, wishes_of
from ..module_utils._module import engine
from ..module_utils._point import point_options, selected_point
from ..module_utils._progress import progress_options, status_file
from ..module_utils._vault import vault_options
from ..module_utils.export.mapping import MACS
from ..module_utils.export.point_export import ExportRequest, plan_export, write_export
from ..module_utils.export.qcow2 import COMPRESSIONS
from ..module_utils.vault.description import describe_point


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            **vault_options(),
            **point_options(),
            **hardware_options(),
            **progress_options(),
            "directory": {"type": "path", "required": True},
            "name": {"type": "str"},
            "mac": {"type": "str", "choices": list(MACS), "default": "keep"},
            "network": {"type": "str", "default": "default"},
            "networks": {"type": "dict", "default": {}},
            "compression": {"type": "str", "choices": list(COMPRESSIONS), "default": "none"},
            "image_directory": {"type": "str"},
            "verify": {"type": "bool", "default": True},
            "overwrite": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    parameters = module.params
    with engine(module, "blake3", "zstandard"):
        names = ("directory", "slots", "compression", "image_directory", "verify", "overwrite")
        request = ExportRequest(wishes=wishes_of(module), **{name: parameters[name] for name in names})
        client, point = selected_point(module)
        with status_file(parameters["progress_file"], vm=point.vm_name) as status:
            plan = plan_export(client, point, request, progress=status.phase("compare"))
            changed, written = plan.state != "current", 0
            if changed and not module.check_mode:
                written = write_export(client, plan, request, progress=status.phase("export"))
        result: dict[str, Any] = {
            "changed": changed,
            "recovery_point": describe_point(client, point),
            "export": plan.as_dict(),
            "needed": plan.needed,
            "bytes_written": written,
        }
        if module._diff:
            directory = plan.place.path
            result["diff"] = {"before": {directory: plan.state}, "after": {directory: "current"}}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
