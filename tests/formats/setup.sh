#!/usr/bin/env bash
# Make Java ready for Bio-Formats, with which the tests of this folder compare our readers, and the
# OpenGL library without which napari's reader of OME-Zarr cannot be imported.
# Exit code 0 when it is, 3 when it cannot be had, with the reason as the last line.
set -uo pipefail

readonly PACKAGES=(openjdk-17-jre-headless libgl1) LEAST=17
readonly UPDATE_TIMEOUT_S=120 INSTALL_TIMEOUT_S=600

give_up() {
    echo "$1"
    exit 3
}

is_ready() {
    /sbin/ldconfig -p | grep -q 'libGL\.so\.1' && has_java
}

has_java() {
    local java=java version
    [[ -n "${JAVA_HOME:-}" ]] && java="$JAVA_HOME/bin/java"
    version=$(timeout 30 "$java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p') || return 1
    [[ -n "$version" && "$version" -ge "$LEAST" ]]
}

apt() {
    DEBIAN_FRONTEND=noninteractive timeout --kill-after=10 "$1" \
        apt-get -qq -o DPkg::Lock::Timeout=60 -o Acquire::Retries=2 "${@:2}" >"$log" 2>&1
}

is_ready && exit 0
[[ -z "${JAVA_HOME:-}" ]] || has_java || give_up "JAVA_HOME names no Java $LEAST or later: $JAVA_HOME"
[[ -x /usr/bin/apt-get ]] || give_up "Java $LEAST or libGL is not installed, and this machine has no apt-get"
[[ $EUID -eq 0 ]] || give_up "Java $LEAST or libGL is not installed; as root: apt-get install ${PACKAGES[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# A small Debian lacks the folder for manuals, without which the package does not install.
mkdir -p /usr/share/man/man1
apt "$UPDATE_TIMEOUT_S" update ||
    give_up "apt-get update failed: $(tail -n 1 "$log")"
apt "$INSTALL_TIMEOUT_S" install -y --no-install-recommends "${PACKAGES[@]}" ||
    give_up "apt-get install ${PACKAGES[*]} failed: $(tail -n 1 "$log")"
is_ready || give_up "Java and libGL were installed, but Java does not start"
