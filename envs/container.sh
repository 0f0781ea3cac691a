#!/usr/bin/env bash
# Builds the container image of a commit: envs/container.sh [COMMIT [FOLDER]]. Into the folder
# (build/container) go parfocal.oci.tar, image.env with its digests, and sbom.cdx.json, the list of
# what is in it. The same commit and the same packages of Debian give the same image.
# Exit code 3 when a program is missing, with the reason as the last line.
set -euo pipefail
cd "$(dirname "$0")/.."
commit=$(git rev-parse --verify --quiet "${1:-HEAD}^{commit}") || {
    echo "$1 is no commit of this repository" >&2
    exit 2
}
folder=$(realpath -m "${2:-build/container}")
umask 022

for program in podman runc mmdebstrap; do
    command -v "$program" > /dev/null && continue
    if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
        echo "$program is missing. Install it: sudo apt-get install podman runc mmdebstrap" >&2
        exit 3
    fi
    echo "Installing podman, runc and mmdebstrap ..."
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        podman runc mmdebstrap > /dev/null
done
tools=$(envs/apart.sh container)
"$tools/bin/python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || {
    echo "Debian 12 has Python 3.11, and .venv has another: wheels cannot be made for the image" >&2
    exit 3
}

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct "$commit")
export SOURCE_DATE_EPOCH PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1

echo "Taking the wheels of envs/workflow.lock.txt ..."
mkdir "$context/source" "$context/project" "$context/pip" "$context/dist-info"
git archive "$commit" | tar -x -C "$context/source"
lock=$context/source/envs/workflow.lock.txt
wheel() { # with what the tools have, and a cache of what was built by them alone
    "$tools/bin/python" -m pip wheel -qq --disable-pip-version-check --no-deps \
        --no-build-isolation --cache-dir "$tools/pip" --wheel-dir "$context/wheels" "$@"
}
wheel --require-hashes --requirement "$lock"
wheel "$context/source"
version=$("$tools/bin/python" -c 'import sys, tomllib
print(tomllib.load(open(sys.argv[1], "rb"))["project"]["version"])' "$context/source/pyproject.toml")
{ # hashes were compared just now; what is built here has none
    sed -E '/^ +--hash/d; s/ \\$//' "$lock"
    echo "parfocal==$version"
} > "$context/requirements.txt"
cp -r "$tools/lib/python3.11/site-packages/pip" "$context/pip/"
(cd "$context/source" && cp -r --parents config rules workflows envs/parfocal.yaml \
    envs/workflow.lock.txt "$context/project")

echo "Making the root file system of Debian 12 ..."
# From where this machine takes Debian; elsewhere than on Debian 12, from where mmdebstrap does.
apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' \
    'Identifier: Packages' 'Origin: Debian' 2> /dev/null | grep ' bookworm' |
    sort -u > "$context/mirrors.list" || true
mirrors=()
[ ! -s "$context/mirrors.list" ] || mirrors=("$context/mirrors.list")
mmdebstrap --quiet --variant=essential --include=python3,libstdc++6,ca-certificates \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --customize-hook='cd "$1" && rm -rf etc/resolv.conf etc/hostname etc/apt/sources.list* \
        var/log/* var/cache/*; find usr -name "*.pyc" -delete' \
    bookworm "$context/root.tar" "${mirrors[@]}"

exec 9> "$tools.image.lock" # the name goes from one build to the next
flock 9
echo "Building the image ..."
name=localhost/parfocal
podman build --quiet --pull=never --network=none --layers=false --timestamp "$SOURCE_DATE_EPOCH" \
    --build-arg VERSION="$version" --build-arg COMMIT="$commit" \
    --build-arg LOCK_DIGEST="sha256:$(sha256sum < "$lock" | cut -c1-64)" \
    --tag "$name:$version" --iidfile "$context/id" \
    --file "$context/source/envs/Containerfile" "$context" > /dev/null
id=$(cat "$context/id")
mkdir -p "$folder"
rm -f "$folder/parfocal.oci.tar"
podman save --quiet --format oci-archive --output "$folder/parfocal.oci.tar" "$name:$version"

inside() { # limits within those that root has in a container or a virtual machine, too
    podman run --rm --ulimit nofile=1024:1024 --ulimit nproc=4096:4096 --network=none --read-only \
        "$id" sh -c "$1"
}
inside 'cd /opt/parfocal/env/lib/python3.11/site-packages && tar -c ./*.dist-info' |
    tar -x -C "$context/dist-info"
inside "dpkg-query --show --showformat '\${Package} \${Version} \${Architecture}\n'" \
    > "$context/debian.txt"
unpacked=$(podman image inspect --format '{{.Size}}' "$id")
"$tools/bin/python" envs/image_contents.py "$folder" "$context" "$name" "$id" "$unpacked"
