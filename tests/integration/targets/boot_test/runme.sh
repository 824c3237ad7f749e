#!/usr/bin/env bash
# A script, because the collection has a role of this name, and inside it Ansible would take that for this target.
set -eu
export ANSIBLE_ROLES_PATH=..
exec ansible-playbook -i "${INVENTORY_PATH}" -e @../../integration_config.yml -e "output_dir=${OUTPUT_DIR}" runme.yml "$@"
