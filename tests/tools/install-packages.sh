#!/usr/bin/env bash
# Install Debian packages: install-packages.sh PURPOSE PACKAGE... Only root gets them by itself: whoever asks for these
# can do without. Exit code 3 with one line on standard error: they cannot be installed here. Nothing is started.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

purpose=$1
shift
fail() {
  echo "$purpose needs these Debian packages, and $1: ${missing[*]}" >&2
  exit 3
}
missing=("$@")
command -v apt-get >/dev/null || fail "there is no apt-get"
[ "$(id -u)" -eq 0 ] || fail "installing them takes root"
echo "Installing missing system packages for $purpose: ${missing[*]}" >&2
# Init scripts ask this file whether they may start what was installed.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
fi
install=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 --no-install-recommends
  install "${missing[@]}")
# A fresh machine has no package lists, or old ones.
{ "${install[@]}" 2>/dev/null || { apt-get -qq update && "${install[@]}"; }; } >/dev/null </dev/null ||
  fail "apt-get could not install them"
