# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation that the modules share which reach servers over ssh; the options are those of _ssh_options.py."""

from __future__ import annotations


class ModuleDocFragment:
    """How servers are reached, and how much they are asked to do."""

    DOCUMENTATION = r"""
options:
  ssh:
    description:
      - How the servers are reached whose disks are read over ssh, by the ssh client of the host that runs the module.
        Nothing is installed on a server.
      - Without it, disks are read from a path only.
    type: dict
    suboptions:
      user:
        description:
          - User on the servers.
          - Falls back to E(OVM_SSH_USER).
        type: str
        default: root
      port:
        description:
          - Port of sshd, where the address of a server does not say another.
        type: int
        default: 22
      key_file:
        description:
          - Private key, without a passphrase. By default the user's own keys and agent. Servers of Oracle VM take RSA
            keys only.
          - Falls back to E(OVM_SSH_KEY_FILE).
        type: path
      known_hosts:
        description:
          - File with the host keys of the servers. By default the user's own.
          - Falls back to E(OVM_SSH_KNOWN_HOSTS).
        type: path
      host_keys:
        description:
          - What is done about host keys. V(strict) takes known ones only, V(accept_new) also those of servers that are
            not known yet, V(off) any.
        type: str
        choices: [strict, accept_new, "off"]
        default: strict
      sudo:
        description:
          - Whether O(ssh.user) becomes root by C(sudo) without a password.
        type: bool
        default: false
      legacy:
        description:
          - Whether algorithms are allowed that OpenSSH 5.3 of Oracle VM 3.4 needs.
        type: bool
        default: false
      streams:
        description:
          - How many streams read a disk at the same time, from 1 to 8.
        type: int
        default: 2
      connect_timeout:
        description:
          - Seconds that a connection may take.
        type: int
        default: 15
      stall_timeout:
        description:
          - Seconds after which a server that sends nothing counts as lost.
        type: int
        default: 60
      compare:
        description:
          - Who compares what extent maps call changed. V(server) reads both clones there and sends the blocks that
            differ, V(proxy) has all of it sent, V(auto) asks the server unless its load is above O(ssh.max_load).
        type: str
        choices: [auto, server, proxy]
        default: auto
      max_load:
        description:
          - Load per processor above which a server is not asked to compare.
        type: float
        default: 2.0
      addresses:
        description:
          - Addresses of servers by name or id, as V(host) or V(host:port), where they are not those that the manager
            knows.
        type: dict
        default: {}
"""
