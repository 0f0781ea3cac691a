"""A run made outside is repeated in the container to identical results, and the other way round."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.containers.images import PROJECT, Image, environment

from rules.runs import Run, program

pytestmark = pytest.mark.timeout(1900)  # the first test waits until the image is built
WORKFLOW = f"--workflow={PROJECT}/workflows/analyse_images/Snakefile"


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


def test_in_the_container_a_run_is_repeated(image: Image, outside: Run, place: Path) -> None:
    moved = f"--map={outside.folder}=/recorded"
    done = repeat_inside(image, outside, place, WORKFLOW, moved)
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
    command = ["repeat-run", inside.results / "run-crate", "--folder", place / "again", moved]
    done = subprocess.run(
        [program("parfocal"), *command],
        cwd=place,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "identical"
    assert Run(place / "again").digests() == inside.digests()
    manifest = image.names["PARFOCAL_IMAGE_DIGEST"]
    assert f"container was {manifest}, and is none" in done.stderr
    assert f"in a container of {manifest}" in done.stderr


def test_inputs_that_the_container_does_not_see_are_told(
    image: Image, outside: Run, place: Path
) -> None:
    done = repeat_inside(image, outside, place, WORKFLOW)
    assert done.returncode == 2
    assert f"{outside.folder}/in/blobs.tif" in done.stderr
    assert "--map OLD=NEW" in done.stderr
    assert not list(place.iterdir())


def test_strict_refuses_the_other_environment(image: Image, outside: Run, place: Path) -> None:
    moved = f"--map={outside.folder}=/recorded"
    done = repeat_inside(image, outside, place, WORKFLOW, moved, "--strict")
    assert done.returncode == 2
    assert "container was none" in done.stderr
    assert not list(place.iterdir())
