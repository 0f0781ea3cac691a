#!/usr/bin/env bash
# Says whether this machine lets the tests make small disks and drop capabilities.
set -u
if ! unshare --mount sh -c 'mount -t tmpfs -o size=64k tmpfs /mnt' 2> /dev/null; then
    echo "needs root and private mount namespaces (unshare --mount), to make small disks"
    exit 3
fi
if ! setpriv --bounding-set=-all --inh-caps=-all true 2> /dev/null; then
    echo "needs setpriv (package util-linux), to be refused like an ordinary user"
    exit 3
fi
