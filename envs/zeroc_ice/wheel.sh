#!/usr/bin/env bash
# Builds the wheel of zeroc-ice for the Python of .venv, once, and prints its path.
# Exit code 3 when it cannot be built on this machine, with the reason as the last line.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=envs/zeroc_ice
python=$PWD/.venv/bin/python
headers=(Python.h openssl/ssl.h bzlib.h)
packages=(g++ python3-dev libssl-dev libbz2-dev)
# In the place of those that Python was compiled with; no symbols for a debugger, which take time.
flags="-O2 -fwrapv -DNDEBUG -g0"

give_up() {
    echo "$1" >&2
    exit 3
}

# What the compiler lacks: itself, or the first header it does not find.
missing() {
    local header
    command -v g++ > /dev/null || { echo g++ && return; }
    for header in "${headers[@]}"; do
        echo "#include <$header>" | g++ -I"$include" -E -x c++ - > /dev/null 2>&1 || { echo "$header" && return; }
    done
}

install_compiler() {
    if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
        give_up "Ice has to be compiled, and $(missing) is missing; on Debian or Ubuntu: sudo apt-get install ${packages[*]}"
    fi
    echo "Installing ${packages[*]} ..." >&2
    {
        apt-get -qq -o DPkg::Lock::Timeout=60 update
        DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=60 install --no-install-recommends "${packages[@]}"
    } > "$work/apt.log" 2>&1 || give_up "apt-get install ${packages[*]} failed: $(tail -n 1 "$work/apt.log")"
    [ -z "$(missing)" ] || give_up "${packages[*]} are installed, but there is no $(missing)"
}

build() {
    "$python" -c 'import sys; sys.exit(sys.version_info >= (3, 12))' ||
        give_up "Ice 3.6.5 needs Python 3.11; for newer ones docs/howto/omero-install.md names prebuilt wheels"
    [ -z "$(missing)" ] || install_compiler
    "$python" -m pip download --quiet --disable-pip-version-check --require-hashes --no-deps \
        --no-binary zeroc-ice --no-build-isolation --dest "$work" -r envs/ice.lock.txt > "$work/download.log" 2>&1 ||
        give_up "the source of Ice cannot be had: $(tail -n 1 "$work/download.log")"
    mkdir "$work/source"
    tar -xzf "$work"/zeroc-ice-*.tar.gz --strip-components 1 -C "$work/source"
    echo "Compiling Ice, which takes some minutes ..." >&2
    (
        cd "$work/source"
        CPATH=$headers_of_ours CFLAGS=$flags CXXFLAGS="$flags -include $headers_of_ours/current_frame.h" \
            "$python" "$setup" --quiet bdist_wheel --dist-dir "$work/wheel"
    ) > "$work/build.log" 2>&1 || {
        tail -n 40 "$work/build.log" >&2
        echo "Ice does not compile with $("$python" --version); docs/howto/omero-install.md names prebuilt wheels" >&2
        exit 1
    }
}

works() { # it is loaded, knows TLS, and words an error, for which it asks for the calling function
    .venv/bin/uv pip install --quiet --no-deps --target "$work/check" "$work"/wheel/*.whl
    PYTHONPATH=$work/check "$python" -W ignore -c '
import Ice
made = Ice.initialize(["--Ice.Plugin.IceSSL=IceSSL:createIceSSL"])
made.stringToProxy("a:ssl -h localhost -p 1")
try:
    made.stringToProxy(1)
except ValueError as error:
    assert "stringToProxy expects a string" in str(error)
made.destroy()'
}

include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
abi=$("$python" -c 'import sys, sysconfig; print(f"{sys.implementation.cache_tag}-{sysconfig.get_platform()}")')
digest=$(cat envs/ice.lock.txt $here/include/* - <<< "$flags" | sha256sum | cut -c1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/parfocal/zeroc-ice/$abi-$digest
headers_of_ours=$PWD/$here/include setup=$PWD/$here/setup_in_parallel.py
mkdir -p "$(dirname "$cache")"
exec 9> "$cache.lock" # two at once would both compile
flock 9
if [ ! -d "$cache" ]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    build
    works
    rm -rf "$cache.new"
    mv "$work/wheel" "$cache.new"
    mv "$cache.new" "$cache"
fi
echo "$cache"/*.whl
