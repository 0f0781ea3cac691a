#!/usr/bin/env bash
# Makes a virtual environment apart from .venv from a lock file, once, and prints its folder:
# envs/apart.sh galaxy|planemo. It lies in the user's cache and may be removed at any time.
# Exit code 3 when it cannot be had on this machine, with the reason as the last line.
set -euo pipefail
cd "$(dirname "$0")/.."
lock=envs/$1.lock.txt

give_up() {
    echo "$1" >&2
    exit 3
}

[ -x .venv/bin/uv ] || give_up "There is no .venv yet; 'envs/venv.sh dev' makes it"
abi=$(.venv/bin/python -c 'import sys, sysconfig; print(f"{sys.implementation.cache_tag}-{sysconfig.get_platform()}")')
folder=${XDG_CACHE_HOME:-$HOME/.cache}/parfocal/$1/$abi-$(sha256sum < "$lock" | cut -c1-16)
mkdir -p "$(dirname "$folder")"
exec 9> "$folder.lock" # two at once would both fill it
flock 9
if [ ! -e "$folder/.ready" ]; then
    echo "Making $folder from $lock, which takes some minutes ..." >&2
    rm -rf "$folder"
    export UV_PYTHON_DOWNLOADS=never
    .venv/bin/uv venv --quiet --python "$(.venv/bin/python -c 'import sys; print(sys._base_executable)')" "$folder"
    # The lock leaves out what is not needed, see lock.sh: nothing is looked for beside it. Each job
    # in Galaxy starts a Python anew, so it is compiled here.
    VIRTUAL_ENV=$folder .venv/bin/uv pip install --quiet --require-hashes --no-deps --compile-bytecode -r "$lock" ||
        give_up "the packages of $lock cannot be had"
    touch "$folder/.ready"
fi
echo "$folder"
