"""Runs made in and out of the container are repeated in and out of it, to identical results."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.containers.images import Image, environment

from parfocal.provenance.records import iter_records
from rules.runs import Run, program
from verified_runs import METADATA

pytestmark = pytest.mark.timeout(1900)  # the first test waits until the image is built


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder that any user can write."""
    tmp_path.chmod(0o777)
    return tmp_path


def repeat_inside(
    image: Image, run: Run, place: Path, *options: str
) -> subprocess.CompletedProcess[str]:
    """Repeat a run in the container, where its folder lies elsewhere."""
    volumes = ("--volume", f"{run.folder}:/recorded:ro", "--volume", f"{place}:/work")
    command = ("parfocal", "repeat-run", "/recorded/results/run-crate", "--folder", "again")
    return image.run(*command, *options, options=volumes, check=False)


def repeat_here(crate: Path, place: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Repeat a run by the command outside of the container."""
    command = [program("parfocal"), "repeat-run", crate, "--folder", place / "again", *options]
    return subprocess.run(
        command,
        cwd=place,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )


@pytest.fixture
def built(image: Image, place: Path) -> str:
    """Name a repository in which the image was built."""
    (place / "repository/build").mkdir(parents=True)
    (place / "repository/build/container").symlink_to(image.folder)
    return f"--repository={place}/repository"


def test_in_the_container_a_run_is_repeated(image: Image, outside: Run, place: Path) -> None:
    moved = f"--map={outside.folder}=/recorded"
    done = repeat_inside(image, outside, place, moved)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "identical"
    assert " inputs are unchanged" in done.stderr
    repeated = Run(place / "again")
    assert repeated.digests() == outside.digests()
    manifest = image.names["PARFOCAL_IMAGE_DIGEST"]
    assert f"container was none, and is {manifest}" in done.stderr
    assert "lock file was" not in done.stderr
    assert "packages was" not in done.stderr


def test_outside_a_run_of_the_container_is_repeated(
    image: Image, inside: Run, outside: Run, place: Path
) -> None:
    moved = f"--map={outside.folder}={inside.folder}"  # where it seemed to be, and is
    done = repeat_here(inside.results / "run-crate", place, "--environment=here", moved)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "identical"
    assert Run(place / "again").digests() == inside.digests()
    manifest = image.names["PARFOCAL_IMAGE_DIGEST"]
    assert f"container was {manifest}, and is none" in done.stderr
    assert f"'podman load' or 'podman pull' {manifest}" in done.stderr


def test_a_run_of_the_container_is_repeated_in_its_image(
    image: Image, inside: Run, built: str, place: Path
) -> None:
    done = repeat_here(inside.results / "run-crate", place, "--strict", built)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "identical"
    again = Run(place / "again")
    assert again.digests() == inside.digests()
    manifest = image.names["PARFOCAL_IMAGE_DIGEST"]
    assert f"The recorded environment is at hand: {manifest}" in done.stderr
    records = list(iter_records(again.results))
    assert {record.image_digest for record in records} == {manifest}
    assert {record.container_id for record in records} == {image.id}
    assert {path.owner() for path in again.folder.rglob("*")} == {place.owner()}


def test_a_run_from_outside_is_repeated_in_the_image_of_its_commit(
    image: Image, outside: Run, built: str, place: Path
) -> None:
    crate = shutil.copytree(outside.results / "run-crate", place / "run-crate")
    text = (crate / METADATA).read_text(encoding="utf-8")
    (found,) = {record.commit for record in iter_records(outside.results)}
    # While one works on the code, it is none that an image could be built of.
    (crate / METADATA).write_text(text.replace(found, image.commit), encoding="utf-8")
    results = f"--results={outside.results}"
    done = repeat_here(crate, place, "--environment=container", built, results)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "identical"
    assert Run(place / "again").digests() == outside.digests()
    manifest = image.names["PARFOCAL_IMAGE_DIGEST"]
    assert f"container was none, and is {manifest}" in done.stderr
    assert "commit was" not in done.stderr.split("is not the recorded one: container")[1]
    records = list(iter_records(place / "again/results"))
    assert {record.image_digest for record in records} == {manifest}


def test_inputs_that_the_container_does_not_see_are_told(
    image: Image, outside: Run, place: Path
) -> None:
    done = repeat_inside(image, outside, place)
    assert done.returncode == 2
    assert f"{outside.folder}/in/blobs.tif" in done.stderr
    assert "--map OLD=NEW" in done.stderr
    assert not list(place.iterdir())


def test_strict_refuses_the_other_environment(image: Image, outside: Run, place: Path) -> None:
    moved = f"--map={outside.folder}=/recorded"
    done = repeat_inside(image, outside, place, moved, "--strict")
    assert done.returncode == 2
    assert "container was none" in done.stderr
    assert not list(place.iterdir())
