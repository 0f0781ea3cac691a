#!/usr/bin/env bash
# Make ready what containers are built and run by; the tests of this folder build the image.
# Exit code 3 when it cannot be had on this machine, with the reason as the last line.
set -uo pipefail
cd "$(dirname "$0")/../.."

give_up() {
    echo "$1"
    exit 3
}

for program in podman runc mmdebstrap; do
    command -v "$program" > /dev/null && continue
    [ -x /usr/bin/apt-get ] || give_up "$program is missing, and this machine has no apt-get"
    [ "$EUID" = 0 ] || give_up "$program is missing, and only root can install it"
    { timeout 120 apt-get update -qq &&
        DEBIAN_FRONTEND=noninteractive timeout 600 apt-get install -qq -y \
            --no-install-recommends podman runc mmdebstrap; } > /dev/null 2>&1 ||
        give_up "podman, runc and mmdebstrap cannot be installed"
done
timeout 60 podman info > /dev/null 2>&1 || give_up "podman does not start"
envs/apart.sh container 2>&1
