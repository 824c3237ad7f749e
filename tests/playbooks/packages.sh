#!/usr/bin/env bash
# Install the OpenSSH server, behind which the proxies of the tests stand. Silent when it is there.
# Where systemd runs it would listen to everybody from then on, so whoever wants these tests there installs it. Without
# it they are skipped, and say why: this never fails.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

if command -v sshd >/dev/null || [ -d /run/systemd/system ]; then
  exit 0
fi
"$(dirname "$0")/../tools/install-packages.sh" "the test of several proxies" openssh-server || true
