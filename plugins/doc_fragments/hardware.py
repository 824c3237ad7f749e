# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # What takes the place of Oracle VM's hardware on KVM; the options are those of hardware_options() in _hardware.py.
    DOCUMENTATION = r"""
options:
  slots:
    description:
      - Slots of the disks that the machine gets. All of them by default.
    type: list
    elements: int
  disk_bus:
    description:
      - What the disks are connected to. V(auto) takes what the guest most likely starts from. For HVM guests that is
        V(ide), with more than four disks V(sata); for PVM guests, which need new drivers in any case, V(virtio).
    type: str
    choices: [auto, virtio, virtio_scsi, sata, ide]
    default: auto
  nic_model:
    description:
      - Model of the network cards. V(auto) takes V(e1000), for PVM guests V(virtio).
    type: str
    choices: [auto, virtio, e1000, rtl8139]
    default: auto
  firmware:
    description:
      - Firmware of the machine. V(auto) takes V(bios), and V(uefi) for a disk that only UEFI can start from.
    type: str
    choices: [auto, bios, uefi]
    default: auto
"""
