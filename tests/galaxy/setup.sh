#!/usr/bin/env bash
# Make Galaxy and planemo ready, each in an environment of its own; the tests of this folder start a
# Galaxy of their own (server.py). Exit code 3 when they cannot be had, with the reason as the last
# line.
set -euo pipefail
cd "$(dirname "$0")/../.."
# The tools that speak to OMERO run in the environment of the tests.
envs/omero.sh 2>&1
for name in galaxy planemo; do
    envs/apart.sh "$name" 2>&1
done
