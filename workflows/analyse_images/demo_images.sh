#!/usr/bin/env bash
# Puts the demo's images into demo/images: real microscope images that come inside two wheels.
# The wheel of stardist is unpacked only, never imported; that of scikit-image is installed anyway.
set -euo pipefail
cd "$(dirname "$0")/../.."
lock=envs/demo.lock.txt
unpacked=demo/.wheels-$(sha256sum < "$lock" | cut -c1-16)
images=demo/images

if [ ! -e "$unpacked/.whole" ]; then
    rm -rf demo/.wheels-*
    .venv/bin/pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --require-hashes --target "$unpacked" -r "$lock"
    touch "$unpacked/.whole"
fi
stardist=$unpacked/stardist/data/images
skimage=$(.venv/bin/python -c '
from importlib.util import find_spec
print(find_spec("skimage").submodule_search_locations[0])')/data

mkdir -p "$images"
copy() {
    # An image that is there already keeps its time of modification: nothing is to be done for it.
    cmp --silent "$1" "$images/$2" || cp "$1" "$images/$2"
}
copy "$stardist/img2d.tif" nuclei_2d.tif
copy "$stardist/mask2d.tif" nuclei_2d_truth.tif
copy "$stardist/img3d.tif" nuclei_3d.tif
copy "$stardist/mask3d.tif" nuclei_3d_truth.tif
copy "$skimage/cell.png" cell.png
copy "$skimage/ihc.png" ihc.png
