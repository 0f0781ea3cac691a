#!/usr/bin/env bash
# Makes the lock files and the conda environment from pyproject.toml. With --check it only says
# whether they are fresh. One lock of everything constrains the others, so that they agree.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=${UV:-.venv/bin/uv}
target=envs
if [ "${1:-}" = --check ]; then
    target=$(mktemp -d)
    trap 'rm -rf "$target"' EXIT
    cp envs/*.lock.txt "$target"
fi
export UV_PYTHON_DOWNLOADS=never
compile() {
    local name=$1
    shift
    "$uv" pip compile pyproject.toml --universal --generate-hashes --no-emit-index-url \
        --no-header --no-annotate --python-version 3.11.2 --quiet \
        --output-file "$target/$name.lock.txt" "$@"
}
compile dev --extra workflow --extra slurm --extra distributed --extra formats --extra bioformats \
    --extra models --group build --group test --group lint
compile workflow --extra workflow --extra formats --group build --constraint "$target/dev.lock.txt"
compile parfocal --extra formats --group build --constraint "$target/dev.lock.txt"
# Ice for Python is no part of it: its wheel is made apart.
compile omero --extra omero --group omero --constraint "$target/dev.lock.txt" \
    --no-emit-package zeroc-ice
lone() { # locks one group of the project, without the project
    local name=$1
    shift
    "$uv" pip compile --group "pyproject.toml:$name" --universal --generate-hashes \
        --no-emit-index-url --no-header --no-annotate --python-version 3.11.2 --quiet \
        --output-file "$target/$name.lock.txt" "$@"
}
lone bootstrap --constraint "$target/dev.lock.txt"
lone demo --no-deps
lone alone --no-deps
lone ice --no-deps
lone galaxy
lone planemo
lone container
lone release
.venv/bin/python envs/conda_yaml.py "$target/parfocal.lock.txt" > "$target/parfocal.yaml"
if [ "$target" != envs ]; then
    for file in "$target"/*; do
        diff -q "$file" "envs/$(basename "$file")" > /dev/null || {
            echo "envs/$(basename "$file") is not what pyproject.toml gives; run 'make lock'" >&2
            exit 1
        }
    done
fi
