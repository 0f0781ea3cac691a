#!/usr/bin/env bash
# Make Slurm ready, of which the tests of this folder start clusters of their own (cluster.py).
# Exit code 0 when it is, 3 when it cannot be had, with the reason as the last line.
set -uo pipefail

readonly PACKAGES=(slurmctld slurmd slurm-client munge iproute2)
readonly PROGRAMS=(slurmctld slurmd sbatch munged ip unshare nsenter setpriv)
readonly POLICY=/usr/sbin/policy-rc.d
readonly UPDATE_TIMEOUT_S=120 INSTALL_TIMEOUT_S=600

give_up() {
    echo "$1"
    exit 3
}

# The first program that is missing.
missing() {
    local program
    for program in "${PROGRAMS[@]}"; do
        PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null || { echo "$program" && return; }
    done
}

apt() {
    DEBIAN_FRONTEND=noninteractive timeout --kill-after=10 "$1" \
        apt-get -qq -o DPkg::Lock::Timeout=60 -o Acquire::Retries=2 "${@:2}" >"$log" 2>&1
}

install() {
    # Packages must start no daemons: the tests start their own.
    if [[ ! -e $POLICY ]]; then
        printf '#!/bin/sh\nexit 101\n' >"$POLICY" && chmod +x "$POLICY"
        trap 'rm -f "$log" "$POLICY"' EXIT
    fi
    apt "$UPDATE_TIMEOUT_S" update || give_up "apt-get update failed: $(tail -n 1 "$log")"
    apt "$INSTALL_TIMEOUT_S" install -y --no-install-recommends "${PACKAGES[@]}" ||
        give_up "apt-get install ${PACKAGES[*]} failed: $(tail -n 1 "$log")"
    [[ -z $(missing) ]] || give_up "Slurm was installed, but there is no $(missing)"
}

[[ $EUID -eq 0 ]] || give_up "needs root, to start a Slurm in namespaces of its own"
unshare --net --mount --uts --pid --fork true 2>/dev/null ||
    give_up "needs private namespaces (unshare --net --mount --uts --pid)"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if [[ -n $(missing) ]]; then
    [[ -x /usr/bin/apt-get ]] || give_up "$(missing) is not installed, and this machine has no apt-get"
    install
fi
