#!/usr/bin/env bash
# Makes all that a release of a commit consists of, and tries it: envs/release_check.sh [FOLDER].
# Into the folder (build/release) go the sdist and the wheel, the recipe of the conda package and the
# container image. Nothing is published; docs/howto/release.md tells how that is done.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(realpath -m "${1:-build/release}")
commit=$(git rev-parse HEAD)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct "$commit")
export SOURCE_DATE_EPOCH UV_PYTHON_DOWNLOADS=never
say() {
    echo "== $1"
}

for copy in one two; do
    mkdir -p "$work/$copy/source"
    git archive "$commit" | tar -x -C "$work/$copy/source"
done
source=$work/one/source

say "One version, in all files"
version=$(.venv/bin/python envs/one_version.py "$source")
echo "$version"

say "The sdist, and the wheel that it gives; twice the same"
for copy in one two; do
    .venv/bin/uv build --quiet --no-build-isolation --python .venv/bin/python \
        --out-dir "$work/$copy/dist" "$work/$copy/source"
done
diff -r "$work/one/dist" "$work/two/dist"
mkdir -p "$folder"
cp "$work"/one/dist/parfocal-* "$folder"
wheel=$(ls "$work"/one/dist/*.whl)
sdist=$(ls "$work"/one/dist/*.tar.gz)

say "The demo from the wheel, in an environment of its own"
site=$work/site
mkdir -p "$site"
(cd "$source" && cp -r --parents workflows rules config envs "$site")
.venv/bin/uv venv --quiet --python "$(.venv/bin/python -c 'import sys; print(sys._base_executable)')" "$work/env"
VIRTUAL_ENV=$work/env .venv/bin/uv pip install --quiet --require-hashes -r "$source/envs/workflow.lock.txt"
VIRTUAL_ENV=$work/env .venv/bin/uv pip install --quiet --no-deps "$wheel"
make --no-print-directory demo-images
mkdir "$site/demo"
cp -r demo/images "$site/demo"
(
    export PATH=$work/env/bin:$PATH
    unset PYTHONPATH
    cd "$site"
    from=$(python -c 'import parfocal; print(parfocal.__file__)')
    [[ $from == "$work/env/"* ]] || { echo "parfocal is that of $from"; exit 1; }
    snakemake --snakefile workflows/analyse_images/Snakefile --profile config/profiles/local \
        --configfile config/analyse_images.yaml config/demo.yaml --cores 2 --quiet all
    parfocal verify-run demo/results/run-crate > "$work/verified.txt" || {
        cat "$work/verified.txt"
        exit 1
    }
    tail -n 1 "$work/verified.txt"
)

say "The recipe of the conda package, rendered"
(cd "$source" && "$OLDPWD/.venv/bin/python" envs/conda_recipe.py "$sdist") > "$folder/recipe.yaml"
tools=$(envs/apart.sh release)
rendered=$("$tools/bin/python" envs/render_recipe.py "$folder/recipe.yaml")
echo "$rendered"

say "The repositories of the Galaxy tools"
# Not whether bio.tools knows a name, and whether the Tool Shed has this version: they ask servers.
planemo=$(envs/apart.sh planemo)
repositories=("$source"/galaxy_tools/*/.shed.yml)
HOME=$work "$planemo/bin/planemo" shed_lint --tools --fail_level warn \
    --skip BioToolsValid,version_bumped --report_level warn "${repositories[@]%/*}" > "$work/shed.txt" 2>&1 || {
    cat "$work/shed.txt"
    exit 1
}
echo "${#repositories[@]} repositories"

say "The container image"
envs/container.sh "$commit" "$folder/container"

say "The demo repeated in it, with other paths, no network and a root that cannot be written"
user=(--userns=keep-id)
[ "$(id -u)" != 0 ] || user=(--user 0:0) # who else would own the folder
mkdir "$work/again"
podman run --rm --read-only --network=none "${user[@]}" --ulimit nofile=1024:1024 --ulimit nproc=4096:4096 \
    --volume "$site:/recorded:ro" --volume "$work/again:/work" --env-file "$folder/container/image.env" \
    "localhost/parfocal:$version" parfocal repeat-run /recorded/demo/results/run-crate --folder again \
    --map "$site=/recorded" \
    > "$work/repeated.txt" 2> "$work/repeated.log" || {
    cat "$work/repeated.log" "$work/repeated.txt"
    exit 1
}
tail -n 2 "$work/repeated.txt"

say "One version, in all that was made"
for other in "$("$work/env/bin/parfocal" --version | cut -d' ' -f2)" \
    "$(basename "$wheel" | cut -d- -f2)" "$(basename "$sdist" .tar.gz | cut -d- -f2)" "${rendered#parfocal }" \
    "$(podman image inspect --format '{{index .Config.Labels "org.opencontainers.image.version"}}' "localhost/parfocal:$version")"; do
    [ "$other" = "$version" ] || { echo "Version $version, and $other elsewhere"; exit 1; }
done
echo "parfocal $version of commit $commit: $folder"
