#!/usr/bin/env bash
# Install Ceph's object gateway and what it stands on (62 MB), for the tests of object storage. Silent when all is there.
# They are many packages, so only root gets them by itself. Without them those tests are skipped, and say why: this
# never fails.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

missing=()
need() { command -v "$1" >/dev/null || missing+=("$2"); }
need radosgw radosgw
need ceph-mon ceph-mon
need ceph-osd ceph-osd
need ceph ceph-common
need setpriv util-linux
[ "${#missing[@]}" -gt 0 ] || exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  exit 0
fi
echo "Installing missing system packages for the tests of object storage: ${missing[*]}" >&2
install=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 --no-install-recommends
  install "${missing[@]}")
# A fresh machine has no package lists, or old ones.
{ "${install[@]}" 2>/dev/null || { apt-get -qq update && "${install[@]}"; }; } >/dev/null </dev/null || {
  echo "These packages could not be installed, tests are skipped: ${missing[*]}" >&2
}
