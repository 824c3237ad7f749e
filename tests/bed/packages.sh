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
need strace strace  # the tests write down what is started
[ "${#missing[@]}" -gt 0 ] || exit 0

exec "$(dirname "$0")/../tools/install-packages.sh" "the bed" "${missing[@]}"
