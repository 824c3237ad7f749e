# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stand-in for the API of AWX: as much of /api/v2 as the modules of awx.awx call. It is not AWX.

It keeps objects in memory and runs nothing. What it refuses, AWX refuses, for the same reason; that AWX refuses nothing
more is not proved.
"""
