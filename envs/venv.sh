#!/usr/bin/env bash
# Makes the virtual environment .venv from a lock file: envs/venv.sh workflow|dev
set -euo pipefail
cd "$(dirname "$0")/.."
lock=envs/$1.lock.txt
stamp=.venv/.$1-$(cat envs/bootstrap.lock.txt envs/alone.lock.txt "$lock" pyproject.toml | sha256sum | cut -c1-16)
as_locked() { # what 'pip install' exchanged since is put back
    .venv/bin/python -c 'import sys
from pathlib import Path
from parfocal.engine.lock_file import unlocked_packages
sys.exit(bool(unlocked_packages(Path(sys.argv[1]).read_text(encoding="utf-8"))))' "$lock" 2> /dev/null
}
[ -e "$stamp" ] && as_locked && exit 0
python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11, 1))'; then
    echo "Python 3.11.1 or newer is needed; found $("$python" --version). Set PYTHON=/path/to/python3." >&2
    exit 2
fi
if [ ! -x .venv/bin/pip ]; then
    if ! "$python" -c 'import ensurepip, venv' 2> /dev/null; then
        # Debian and Ubuntu keep these in a package of their own.
        if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
            echo "Installing python3-venv ..."
            apt-get update -qq
            DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends python3-venv ca-certificates > /dev/null
        else
            echo "Python's venv module is missing. Install it: sudo apt-get install python3-venv" >&2
            exit 2
        fi
    fi
    "$python" -m venv .venv
fi
echo "Making .venv from $lock ..."
.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r envs/bootstrap.lock.txt
export UV_PYTHON_DOWNLOADS=never VIRTUAL_ENV=$PWD/.venv
.venv/bin/uv pip install --quiet --require-hashes -r "$lock"
if [ "$1" = dev ]; then
    .venv/bin/uv pip install --quiet --require-hashes --no-deps -r envs/alone.lock.txt
fi
.venv/bin/uv pip install --quiet --no-deps --no-build-isolation --editable .
# Compiled once here: where PYTHONDONTWRITEBYTECODE is set, every process would compile anew.
.venv/bin/python -m compileall -q -j 0 .venv/lib src > /dev/null || true
rm -f .venv/."$1"-*
touch "$stamp"
