#!/usr/bin/env bash
# Adds omero-py to the virtual environment .venv, with Ice under it, which is compiled once.
# Exit code 3 when it cannot be had on this machine, with the reason as the last line.
set -euo pipefail
cd "$(dirname "$0")/.."
inputs=(envs/{omero.sh,omero.lock.txt,ice.lock.txt} envs/zeroc_ice/{include/*,setup_in_parallel.py,wheel.sh})
stamp=.venv/.omero-$(cat "${inputs[@]}" | sha256sum | cut -c1-16)
[ -e "$stamp" ] && exit 0
if [ ! -x .venv/bin/uv ]; then
    echo "There is no .venv yet; 'make omero' makes it" >&2
    exit 3
fi
echo "Adding omero-py to .venv ..."
export UV_PYTHON_DOWNLOADS=never VIRTUAL_ENV=$PWD/.venv
.venv/bin/uv pip install --quiet --require-hashes --no-deps -r envs/omero.lock.txt || {
    echo "the packages of envs/omero.lock.txt cannot be had" >&2
    exit 3
}
# A wheel that somebody has put there is as good; one of ours may have been built in another way.
there=$(.venv/bin/python -W ignore -c '
import Ice
from importlib.metadata import distributions
assert Ice.stringVersion() == "3.6.5"
print(*[found.read_text("direct_url.json") for found in distributions(name="zeroc-ice")], "is there")' 2> /dev/null || true)
if [[ -z $there || $there == */parfocal/zeroc-ice/* ]]; then
    wheel=$(envs/zeroc_ice/wheel.sh)
    .venv/bin/uv pip install --quiet --no-deps --reinstall "$wheel"
fi
.venv/bin/python -W ignore -m compileall -q -j 0 .venv/lib > /dev/null || true
.venv/bin/python -W ignore -c 'import omero.gateway'
rm -f .venv/.omero-*
touch "$stamp"
