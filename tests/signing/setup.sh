#!/usr/bin/env bash
# Installs OpenSSH, whose ssh-keygen signs run crates.
# Exit code 3 when it cannot be had on this machine, with the reason as the last line.
set -u

give_up() {
    echo "$1"
    exit 3
}

command -v ssh-keygen > /dev/null && exit 0
[ -x /usr/bin/apt-get ] || give_up "ssh-keygen (OpenSSH) is missing, and this machine has no apt-get"
[ "$EUID" = 0 ] || give_up "ssh-keygen (OpenSSH) is missing, and only root can install it"
{ timeout 120 apt-get update -qq &&
    DEBIAN_FRONTEND=noninteractive timeout 300 apt-get install -qq -y \
        --no-install-recommends openssh-client; } > /dev/null 2>&1 ||
    give_up "openssh-client cannot be installed"
