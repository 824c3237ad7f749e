#!/usr/bin/env bash
# Install the Debian packages that the tests of the room guest need and that are missing. Silent when all are there.
# They are many, so only root gets them by itself. Without them those tests are skipped, and say why: this never fails.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

missing=()
need() { command -v "$1" >/dev/null || missing+=("$2"); }
need nbdkit nbdkit
need nbdcopy libnbd-bin
need qemu-img qemu-utils
need qemu-system-x86_64 qemu-system-x86
need ntfs-3g ntfs-3g
need mkfs.xfs xfsprogs
need strace strace
compgen -G '/usr/lib/*/nbdkit/plugins/nbdkit-python-plugin.so' >/dev/null || missing+=(nbdkit-plugin-python)
compgen -G '/usr/lib/*/libguestfs.so.0' >/dev/null || missing+=(libguestfs0)
compgen -G '/usr/lib/*/guestfs/supermin.d/*xfs*' >/dev/null || missing+=(libguestfs-xfs)
compgen -G '/boot/vmlinuz-*' >/dev/null || missing+=(linux-image-cloud-amd64)
[ "${#missing[@]}" -gt 0 ] || exit 0

"$(dirname "$0")/install-packages.sh" "the test of guests" "${missing[@]}" || true
