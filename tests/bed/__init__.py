# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server of Oracle VM as far as tests need one: a User-Mode Linux with real OCFS2, real reflinks and a real sshd."""
