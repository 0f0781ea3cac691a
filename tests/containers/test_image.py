"""The image of a commit is the same each time, and says what is in it."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
from tests.containers.images import PROJECT, Image, build

from parfocal import __version__
from rules.runs import ROOT

pytestmark = pytest.mark.timeout(1900)  # the first test waits until the image is built
LEFT = (
    r"find / -xdev -type f \( -name '*.pyc' -o -path '/etc/apt/sources.list*' -o -path '/mnt/*' "
    r"-o -path '/var/log/*' -o -path '/var/cache/*' -o -path '/root/.cache/*' \)"
)
"""Finds what would differ from one build to the next, or tell of the machine."""


def test_two_builds_give_the_same_image(image: Image, store: Path) -> None:
    again = build(image.commit, store / "again")
    assert again.names == image.names
    assert again.sbom == image.sbom


def test_no_commit_is_refused() -> None:
    done = subprocess.run(
        [ROOT / "envs/container.sh", "no-such"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (2, "no-such is no commit of this repository\n")


def test_its_packages_are_named_by_purl(image: Image) -> None:
    purls = {part.get("purl", "") for part in image.sbom["components"]}
    assert f"pkg:pypi/parfocal@{__version__}" in purls
    lock = (ROOT / "envs/workflow.lock.txt").read_text(encoding="utf-8")
    numpy = next(line for line in lock.splitlines() if line.startswith("numpy=="))
    assert f"pkg:pypi/numpy@{numpy.split()[0].partition('==')[2]}" in purls
    assert any(purl.startswith("pkg:deb/debian/python3.11@") for purl in purls)
    assert all(purl.startswith(("pkg:pypi/", "pkg:deb/debian/")) for purl in purls)
    for kind in ("pkg:pypi", "pkg:deb"):
        assert f"{sum(purl.startswith(kind) for purl in purls)} {kind}/..." in image.told


def test_the_sbom_is_valid_and_about_the_image(image: Image) -> None:
    tools = subprocess.check_output([ROOT / "envs/apart.sh", "container"], text=True).strip()
    check = (
        "import sys; from cyclonedx.schema import SchemaVersion; "
        "from cyclonedx.validation.json import JsonStrictValidator; "
        "found = JsonStrictValidator(SchemaVersion.V1_6).validate_str(sys.stdin.read()); "
        "sys.exit(found and str(found))"
    )
    sbom = (image.folder / "sbom.cdx.json").read_bytes()
    subprocess.run([f"{tools}/bin/python", "-c", check], input=sbom, check=True)
    manifest = image.names["PARFOCAL_IMAGE_DIGEST"].partition("@")[2]
    assert image.sbom["metadata"]["component"]["version"] == manifest


def test_its_archive_has_the_digests_that_are_told(image: Image) -> None:
    archive = image.folder / "parfocal.oci.tar"
    name, _, manifest = image.names["PARFOCAL_IMAGE_DIGEST"].partition("@")
    assert name == "localhost/parfocal"
    for digest in (manifest, image.id):
        blob = f"blobs/{digest.replace(':', '/')}"
        content = subprocess.check_output(["tar", "-xOf", archive, blob])
        assert digest == f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_nothing_of_the_machine_that_built_it_is_left(image: Image) -> None:
    assert image.run("sh", "-c", LEFT, options=("--user", "0")).stdout == ""


def test_it_has_all_that_the_lock_file_names(image: Image) -> None:
    check = (
        "import sys; from importlib.metadata import version; from packaging.requirements import "
        "Requirement\nfor line in open(sys.argv[1]):\n"
        "    if '==' in line:\n"
        "        wanted = Requirement(line.strip(' \\\\\\n'))\n"
        "        if wanted.marker is None or wanted.marker.evaluate():\n"
        "            assert version(wanted.name) in wanted.specifier, wanted"
    )
    image.run("python", "-c", check, f"{PROJECT}/envs/workflow.lock.txt")


def test_all_libraries_find_what_they_load(image: Image) -> None:
    modules = (
        "cv2 imagecodecs tensorstore pylibCZIrw.czi openslide h5py nd2 liffile nibabel pydicom"
    )
    imports = "; ".join(f"import {name}" for name in modules.split())
    image.run("python", "-c", imports)


def test_by_default_it_runs_as_no_root(image: Image) -> None:
    done = image.run("sh", "-c", "id -u && id -un && touch /opt/x", check=False)
    assert done.returncode != 0
    assert done.stdout.startswith("4711")
    user = ["podman", "image", "inspect", "--format", "{{.Config.User}}", image.id]
    assert subprocess.check_output(user, text=True).strip() == "1000:1000"
