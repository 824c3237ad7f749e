#!/usr/bin/env bash
# Install the Debian packages that the tests and the demo need and that are missing. Silent when all are there.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

missing=()
command -v mkfs.ext4 >/dev/null || missing+=(e2fsprogs)
command -v zstd >/dev/null || missing+=(zstd)
command -v systemd-analyze >/dev/null || missing+=(systemd)
command -v flock >/dev/null || missing+=(util-linux)
# Debian splits the venv module's parts from the interpreter; other interpreters bring their own.
"${PYTHON:-python3}" -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
[ "${#missing[@]}" -gt 0 ] || exit 0

root=()
if [ "$(id -u)" -ne 0 ]; then
  root=(sudo -n)
fi
if ! command -v apt-get >/dev/null || { [ "${#root[@]}" -gt 0 ] && ! "${root[@]}" true 2>/dev/null; }; then
  echo "These packages are missing, and installing them takes root: ${missing[*]}" >&2
  echo "Install them, for example: sudo apt-get install ${missing[*]}" >&2
  exit 1
fi
echo "Installing missing system packages: ${missing[*]}"
install=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "${missing[@]}")
# A fresh machine has no package lists, or old ones.
"${install[@]}" 2>/dev/null || { "${root[@]}" apt-get -qq update && "${install[@]}"; }
