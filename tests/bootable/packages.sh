#!/usr/bin/env bash
# Install the Debian packages that the tests with a guest that boots need and that are missing. Silent when all are there.
# Exit code 3 with one line on standard error: they are missing and cannot be installed here.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

missing=()
need() { command -v "$1" >/dev/null || missing+=("$2"); }
need qemu-system-x86_64 qemu-system-x86
need qemu-img qemu-utils
need mcopy mtools
need syslinux syslinux
need dpkg-deb dpkg
need mkfs.ext4 e2fsprogs
need busybox busybox-static
need virt-xml-validate libvirt-clients
need xmllint libxml2-utils
need nbdkit nbdkit
[ -n "$(find /usr/lib -name nbdkit-python-plugin.so -print -quit 2>/dev/null)" ] || missing+=(nbdkit-plugin-python)
[ -e /usr/lib/syslinux/mbr/mbr.bin ] || missing+=(syslinux-common)
[ "${#missing[@]}" -gt 0 ] || exit 0

exec "$(dirname "$0")/../tools/install-packages.sh" "the guest that boots" "${missing[@]}"
