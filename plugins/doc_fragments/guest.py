# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # What looks into the disks of a guest; the options are those of guest_options() in _guest.py.
    DOCUMENTATION = r"""
options:
  slots:
    description:
      - Slots of the disks that are looked at. All of them by default, which a logical volume over several disks needs.
    type: list
    elements: int
  filesystem:
    description:
      - The file system to look into, by the name that RV(ovm.backup.guest_file_info#module:filesystems[].device) gives,
        for example V(/dev/sda1) or V(/dev/vg/lv). Paths then begin at its root.
      - By default that of the operating system, with its other file systems mounted as it has them itself. If there is
        no operating system that is known, the only file system. Saying which one also saves the time of the search.
    type: str
  time_limit:
    description:
      - How long the whole may take, a whole number of seconds or a number with a unit, as V(90s), V(30m) or V(2h).
        Disks that were made to keep a reader busy are given up then.
    type: raw
    default: 1h
requirements:
  - blake3
  - zstandard
  - nbdkit with its Python plugin, whose Python has the libraries above or is of the same version as the module's
  - libguestfs, with a kernel in C(/boot) that the user can read
notes:
  - The disks are never mounted by the kernel of the host that runs the module. They are looked at in a small virtual
    machine, the appliance of libguestfs, that has no network and no more rights than the user. No C(root) is needed.
  - Without KVM the appliance is emulated. It then needs about ten seconds to start, and ten more to look for operating
    systems.
"""
