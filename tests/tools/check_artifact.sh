#!/usr/bin/env bash
# Install the built collection into an empty path and use it from there, as its users will.
# Usage: check_artifact.sh DIRECTORY OTHERS
# DIRECTORY holds exactly one ovm-backup-*.tar.gz; OTHERS the collections of others that one playbook needs.
set -euo pipefail
others=$2
cd "$1"

collections=$PWD/collections
installed=$collections/ansible_collections/ovm/backup
export ANSIBLE_COLLECTIONS_PATH=$collections:$others
export ANSIBLE_COLLECTIONS_SCAN_SYS_PATH=False

ansible-galaxy collection install --offline --no-deps -p "$collections" ./ovm-backup-*.tar.gz

for unwanted in .ansible-lint tests build extensions/molecule Makefile pyproject.toml .ci .git .gitignore; do
  if [ -e "$installed/$unwanted" ]; then
    echo "The artifact has $unwanted: extend build_ignore in galaxy.yml" >&2
    exit 1
  fi
done
for wanted in README.md COPYING MANIFEST.json meta/runtime.yml requirements.txt changelogs/changelog.yaml plugins; do
  if [ ! -e "$installed/$wanted" ]; then
    echo "The artifact lacks $wanted" >&2
    exit 1
  fi
done

# The name of a plugin is its file's; what starts with an underscore or is called __init__ is none.
plugins() { find "$installed/plugins/$1" -maxdepth 1 -name '[!_]*.py' -printf 'ovm.backup.%f\n' | sed 's/\.py$//' | sort; }
roles() { find "$installed/roles" -mindepth 1 -maxdepth 1 -type d -printf 'ovm.backup.%f\n' | sort; }
checked=0
# ansible-doc says nothing of a plugin that it cannot read: what it returns is compared with the files.
documented() {
  local type=$1
  shift
  [ "$#" -gt 0 ] || return 0
  ansible-doc --type "$type" --json "$@" >"doc-$type.json"
  python -c 'import json, sys; print(*sorted(json.load(sys.stdin)), sep="\n")' <"doc-$type.json" | diff <(printf '%s\n' "$@") - || {
    echo "The documentation of some plugins of type $type cannot be read" >&2
    exit 1
  }
  checked=$((checked + $#))
}
for folder in "$installed"/plugins/{modules,filter,lookup,test}; do
  [ -d "$folder" ] || continue
  type=$(basename "$folder")
  mapfile -t names < <(plugins "$type")
  documented "${type/modules/module}" "${names[@]}"
done
if [ -d "$installed/roles" ]; then
  mapfile -t names < <(roles)
  documented role "${names[@]}"
fi
for playbook in "$installed"/playbooks/*.yml; do
  [ -f "$playbook" ] || continue
  ansible-playbook --syntax-check -i localhost, -e subclient=syntax "ovm.backup.$(basename "$playbook" .yml)"
  checked=$((checked + 1))
done
echo "$(basename ovm-backup-*.tar.gz): $checked plugins, roles and playbooks work from an empty path"
