#!/usr/bin/env bash
# Install the built collection into an empty path and use it from there, as its users will.
# Usage: check_artifact.sh DIRECTORY   (holds exactly one ovm-backup-*.tar.gz)
set -euo pipefail
cd "$1"

collections=$PWD/collections
installed=$collections/ansible_collections/ovm/backup
export ANSIBLE_COLLECTIONS_PATH=$collections
export ANSIBLE_COLLECTIONS_SCAN_SYS_PATH=False

ansible-galaxy collection install --offline --no-deps -p "$collections" ./ovm-backup-*.tar.gz

for unwanted in tests build extensions/molecule Makefile pyproject.toml .ci .git .gitignore; do
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
names() { find "$installed/plugins/$1" -maxdepth 1 -name '[!_]*.py' -printf '%f\n' 2>/dev/null | sed 's/\.py$//' | sort; }
checked=0
for type in module filter lookup test; do
  folder=$type
  [ "$type" = module ] && folder=modules
  for name in $(names "$folder"); do
    ansible-doc -t "$type" --json "ovm.backup.$name" >"doc-$type-$name.json"
    checked=$((checked + 1))
  done
done
for role in "$installed"/roles/*/; do
  [ -d "$role" ] || continue
  ansible-doc -t role --json "ovm.backup.$(basename "$role")" >"doc-role-$(basename "$role").json"
  checked=$((checked + 1))
done
for playbook in "$installed"/playbooks/*.yml; do
  [ -f "$playbook" ] || continue
  ansible-playbook --syntax-check -i localhost, -e subclient=syntax "ovm.backup.$(basename "$playbook" .yml)"
  checked=$((checked + 1))
done
echo "$(basename ovm-backup-*.tar.gz): $checked plugins, roles and playbooks work from an empty path"
