#!/usr/bin/env bash
# The first process of a test cluster, inside of namespaces of its own (see cluster.py): sees to the
# network, the host's name and the files that Slurm wants at fixed places, starts the daemons, and
# waits. When it dies the kernel kills all that runs in the cluster.
# usage: boot.sh FOLDER NODE...; FOLDER/etc holds the configuration
set -euo pipefail

folder=$1
shift
readonly folder nodes=("$@")

# Slurm's daemons and srun listen on all addresses whatever they are told: let there be loopback only.
# Names are looked up with AI_ADDRCONFIG, which wants one address besides 127.0.0.1.
ip link set lo up
ip address add 10.99.0.1/32 dev lo
hostname slurmtest
mount --make-rshared /
mount --bind "$folder/etc/hosts" /etc/hosts
mount --bind "$folder/etc" /etc/slurm # SLURM_CONF does not reach all processes of a job
mount -t tmpfs -o mode=755 tmpfs /run
install -d -o munge -g munge -m 0755 /run/munge
install -d -o munge -g munge -m 0700 /run/secret
install -o munge -g munge -m 0400 /dev/null /run/secret/key
head -c 128 /dev/urandom >/run/secret/key

setpriv --reuid munge --regid munge --clear-groups munged --force --foreground \
    --key-file /run/secret/key --log-file /run/secret/log \
    --pid-file /run/secret/pid --seed-file /run/secret/seed &>"$folder/log/munged.out" &
for try in {1..200}; do
    timeout 5 munge -n &>/dev/null && break
    [[ $try -lt 200 ]] || exit 1
    sleep 0.05
done
slurmctld -D -i &>"$folder/log/slurmctld.out" &
for node in "${nodes[@]}"; do
    bash "$(dirname "$0")/node.sh" "$folder" "$node"
done
while true; do
    sleep 3600 &
    wait $!
done
