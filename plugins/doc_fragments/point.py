# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # Which recovery point is meant; the options are those of point_options() in _point.py.
    DOCUMENTATION = r"""
options:
  client:
    description:
      - Name of the client.
    type: str
    required: true
  point:
    description:
      - Id of the recovery point, or V(latest).
      - V(latest) is the newest one against which nothing is known. Newer ones that are damaged, or were found bad by
        M(ovm.backup.verify), are passed over with a warning. By its id a recovery point is taken whatever is known of
        it.
    type: str
    default: latest
  before:
    description:
      - With V(latest) as O(point), the newest recovery point that was created at this time or before it. What counts is
        the age of the data, so a synthetic full has that of the recovery point that it consolidates.
      - A time in ISO 8601 form, as V(2026-11-23T01:02:03Z), V(2026-11-23T02:02+01:00) or V(2026-11-23), the begin of
        that day. Without an offset it is UTC.
    type: str
"""
