#!/usr/bin/env bash
# Make omero-py ready, with Ice under it; the tests of this folder start a server of their own.
# Exit code 3 when it cannot be had, with the reason as the last line.
cd "$(dirname "$0")/../.." || exit 1
envs/omero.sh 2>&1
