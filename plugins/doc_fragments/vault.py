# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

# How to get at a vault; the option is that of vault_access_option() in _vault.py.
_ACCESS = r"""
  vault_access:
    description:
      - How to get at a vault in a bucket, and the key of an encrypted one. A plain vault in a directory needs nothing.
    type: dict
    suboptions:
      endpoint_url:
        description: Where the object storage is. Without it Amazon's. Falls back to E(OVM_VAULT_ENDPOINT_URL).
        type: str
      region:
        description: Region of the bucket. Falls back to E(OVM_VAULT_REGION).
        type: str
      access_key_id:
        description:
          - The account for the bucket. Without it the AWS library looks where it always does.
          - Falls back to E(OVM_VAULT_ACCESS_KEY_ID).
        type: str
      secret_access_key:
        description: The secret of the account. Falls back to E(OVM_VAULT_SECRET_ACCESS_KEY).
        type: str
      session_token:
        description: The token of an account that is valid for a time only. Falls back to E(OVM_VAULT_SESSION_TOKEN).
        type: str
      ca_path:
        description:
          - File or directory with the certificates of the authorities that are trusted, in place of the usual ones.
          - Falls back to E(OVM_VAULT_CA_PATH).
        type: path
      validate_certs:
        description: Whether the storage's certificate is checked. Falls back to E(OVM_VAULT_VALIDATE_CERTS).
        type: bool
        default: true
      addressing_style:
        description:
          - Whether the bucket is in the path of a request or in the name of the host.
          - Falls back to E(OVM_VAULT_ADDRESSING_STYLE).
        type: str
        choices: [auto, path, virtual]
        default: auto
      encryption_key:
        description: The key of an encrypted vault. Falls back to E(OVM_VAULT_ENCRYPTION_KEY).
        type: str
      encryption_key_file:
        description: File that holds the key, on the proxy. Falls back to E(OVM_VAULT_ENCRYPTION_KEY_FILE).
        type: path
      encryption_key_command:
        description:
          - Command line, run on the proxy without a shell, that prints the key.
          - Falls back to E(OVM_VAULT_ENCRYPTION_KEY_COMMAND).
        type: str
"""

# Where recovery points are kept; the options are those of vault_options() in _vault.py.
_VAULT = r"""
options:
  vault:
    description:
      - Directory of the vault on the host that runs the module, or V(s3://BUCKET/PREFIX). It must be a vault already,
        so that a file system that is not mounted is noticed; M(ovm.backup.vault) makes a new one.
      - Falls back to E(OVM_VAULT).
    type: path
    required: true
"""

# The vault that recovery points are copied to.
_TARGET = r"""
options:
  target_vault:
    description:
      - Directory of the vault that the recovery points are copied to, or V(s3://BUCKET/PREFIX). It must be a vault of
        its own already; M(ovm.backup.vault) makes one. No backups may be made into it.
      - Falls back to E(OVM_TARGET_VAULT).
    type: path
    required: true
"""

_REQUIREMENTS = r"""
requirements:
  - blake3
  - zstandard
"""


class ModuleDocFragment:
    # With types: the sanity tests of ansible-core 2.16 and 2.17 fail on a plain assignment of what is put together.
    DOCUMENTATION: str = _VAULT.rstrip() + _ACCESS + _REQUIREMENTS.lstrip()
    # For a module whose option vault is another one.
    ACCESS: str = "options:" + _ACCESS
    TARGET: str = _TARGET.rstrip() + _ACCESS.replace("vault_access:", "target_vault_access:").replace(
        "OVM_V", "OVM_TARGET_V"
    )
