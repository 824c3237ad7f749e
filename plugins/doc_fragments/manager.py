# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # How every module reaches Oracle VM Manager; the options are those of manager_options() in _manager.py.
    DOCUMENTATION = r"""
options:
  url:
    description:
      - Address of Oracle VM Manager, as V(https://ovmm.example.com:7002), V(ovmm.example.com) or
        V(ovmm.example.com:7002). The path of its REST API is added.
      - Falls back to E(OVM_URL).
    type: str
    required: true
  user:
    description:
      - User name on Oracle VM Manager.
      - Falls back to E(OVM_USER).
    type: str
    required: true
  password:
    description:
      - Password of O(user).
      - Falls back to E(OVM_PASSWORD).
    type: str
    required: true
  ca_path:
    description:
      - File or directory with the certificates of the authorities to trust, on the host that runs the module. The
        manager's own authority is in C(/u01/app/oracle/ovm-manager-3/domains/ovm_domain/security/ovmca.pem) there.
      - Falls back to E(OVM_CA_PATH).
    type: path
  fingerprint:
    description:
      - SHA-256 fingerprint of the manager's certificate, hexadecimal, with or without colons. The certificate must be
        this one; together with O(ca_path) both must hold.
      - Falls back to E(OVM_FINGERPRINT).
    type: str
  validate_certs:
    description:
      - Whether the manager's certificate is checked. Set it to V(false) only where nobody can stand in for the manager.
      - Falls back to E(OVM_VALIDATE_CERTS).
    type: bool
    default: true
  request_timeout:
    description:
      - Seconds to wait for a connection and for each answer of the manager.
      - Falls back to E(OVM_REQUEST_TIMEOUT).
    type: float
    default: 60.0
  job_timeout:
    description:
      - Seconds to wait for a job of the manager to end.
      - Falls back to E(OVM_JOB_TIMEOUT).
    type: float
    default: 3600.0
requirements:
  - requests
"""
