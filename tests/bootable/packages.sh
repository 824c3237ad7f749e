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

if ! command -v apt-get >/dev/null; then
  echo "the guest that boots needs these Debian packages, and there is no apt-get: ${missing[*]}" >&2
  exit 3
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "the guest that boots needs these Debian packages, and installing them takes root: ${missing[*]}" >&2
  exit 3
fi
echo "Installing missing system packages for the guest that boots: ${missing[*]}" >&2
install=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "${missing[@]}")
# A fresh machine has no package lists, or old ones.
{ "${install[@]}" 2>/dev/null || { apt-get -qq update && "${install[@]}"; }; } >/dev/null || {
  echo "the guest that boots needs these Debian packages, and apt-get could not install them: ${missing[*]}" >&2
  exit 3
}
