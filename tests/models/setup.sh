#!/usr/bin/env bash
# Look whether PyTorch, Cellpose and StarDist are here. They bring gigabytes, so nothing installs them.
# Exit code 0 when they are, 3 when they are not, with the reason as the last line.
set -uo pipefail

readonly IMPORT_TIMEOUT_S=300

python=$(command -v python || command -v python3)
if ! timeout "$IMPORT_TIMEOUT_S" "$python" -c 'import torch, cellpose.models, stardist.models' \
    >/dev/null 2>&1; then
    echo "PyTorch, Cellpose and StarDist are not here: pip install 'parfocal[torch,cellpose,stardist]'"
    exit 3
fi
