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

"$(dirname "$0")/../tools/install-packages.sh" "the test of object storage" "${missing[@]}" || true
