#!/usr/bin/env bash
# Make Chromium and its driver ready for the tests of this folder.
# Exit code 0 when they are, 3 when they cannot be had, with the reason as the last line.
set -uo pipefail

readonly PACKAGES=(chromium chromium-driver fonts-dejavu-core)
readonly UPDATE_TIMEOUT_S=120 INSTALL_TIMEOUT_S=600

give_up() {
    echo "$1"
    exit 3
}

is_ready() {
    [[ -x /usr/bin/chromium && -x /usr/bin/chromedriver ]] &&
        timeout 30 /usr/bin/chromium --version >/dev/null 2>&1 &&
        timeout 30 /usr/bin/chromedriver --version >/dev/null 2>&1
}

apt() {
    DEBIAN_FRONTEND=noninteractive timeout --kill-after=10 "$1" \
        apt-get -qq -o DPkg::Lock::Timeout=60 -o Acquire::Retries=2 "${@:2}" >"$log" 2>&1
}

is_ready && exit 0
[[ -x /usr/bin/apt-get ]] || give_up "Chromium is not installed, and this machine has no apt-get"
[[ $EUID -eq 0 ]] || give_up "Chromium is not installed, and only root can install ${PACKAGES[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt "$UPDATE_TIMEOUT_S" update ||
    give_up "apt-get update failed: $(tail -n 1 "$log")"
apt "$INSTALL_TIMEOUT_S" install -y --no-install-recommends "${PACKAGES[@]}" ||
    give_up "apt-get install ${PACKAGES[*]} failed: $(tail -n 1 "$log")"
is_ready || give_up "Chromium was installed, but does not start"
