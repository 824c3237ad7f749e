#!/usr/bin/env bash
# Install the Debian packages that the bed needs and that are missing. Silent when all are there.
# Exit code 3 with one line on standard error: they are missing and cannot be installed here.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

missing=()
need() { command -v "$1" >/dev/null || missing+=("$2"); }
need mmdebstrap mmdebstrap
need cpio cpio
need depmod kmod
need ip iproute2
need unshare util-linux
need ssh openssh-client
need sshfs sshfs
need mkfs.ocfs2 ocfs2-tools
need mkfs.ext4 e2fsprogs
need mkfs.xfs xfsprogs
[ "${#missing[@]}" -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
  echo "the bed needs these Debian packages, and there is no apt-get: ${missing[*]}" >&2
  exit 3
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "the bed needs these Debian packages, and installing them takes root: ${missing[*]}" >&2
  exit 3
fi
echo "Installing missing system packages for the bed: ${missing[*]}" >&2
install=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "${missing[@]}")
# A fresh machine has no package lists, or old ones.
{ "${install[@]}" 2>/dev/null || { apt-get -qq update && "${install[@]}"; }; } >/dev/null || {
  echo "the bed needs these Debian packages, and apt-get could not install them: ${missing[*]}" >&2
  exit 3
}
