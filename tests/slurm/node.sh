#!/usr/bin/env bash
# Start a node of a test cluster: a slurmd, its jobs, and a first process above them, which see no
# other processes. Killing the program that FOLDER/run/NODE.pid names is like pulling the plug;
# killing the slurmd alone leaves its jobs running.
# usage: node.sh FOLDER NODE
set -euo pipefail

readonly folder=$1 node=$2
readonly main='
    slurmd -D -N "$2" &>>"$1/log/slurmd-$2.out" &
    while true; do
        sleep 3600 &
        wait $!
    done'
mkdir -p "$folder/spool/$node"
setsid unshare --pid --fork --kill-child --mount-proc --propagation slave \
    bash -c "$main" node "$folder" "$node" </dev/null &>>"$folder/log/node-$node.out" &
echo $! >"$folder/run/$node.pid"
