#!/usr/bin/env bash
# Snakemake runs this in an environment that it has just made of parfocal.yaml, which has what
# Parfocal needs: Parfocal itself comes from where the workflow does.
set -euo pipefail
if [ -z "${PARFOCAL_SOURCE:-}" ]; then
    echo "Set PARFOCAL_SOURCE to a folder with the source of Parfocal" >&2
    exit 2
fi
python -m pip install --quiet --no-deps --no-build-isolation --editable "$PARFOCAL_SOURCE"
