"""The shell, Snakemake and Galaxy make the same bytes of the same images."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.galaxy.analysis import BROKEN, IMAGES, Analysis, write_images
from tests.galaxy.mapped_runs import elements
from tests.galaxy.server import Galaxy

from parfocal.core.digest import digest_path
from parfocal.models.sheet import Row
from rules.runs import Run, environment, program

OUTPUTS = {
    "image": "ome_zarr",
    "image.certificate.json": "certificates",
    "image.verification.json": "verifications",
    "labels/nuclei.ome.zarr": "labels",
    "tables/nuclei.parquet": "objects_parquet",
    "tables/nuclei.tsv": "objects",
    "quality.json": "quality",
    "assembled.ome.zarr": "for_viewers",
}
"""What is made of each image, by its path in a results folder, with its label in the workflow."""
COMMANDS = """\
convert-image --source {source} --image {id}.ome.zarr --certificate image.certificate.json
verify-image --image {id}.ome.zarr --certificate image.certificate.json \
--verification image.verification.json
segment-objects --image {id}.ome.zarr --labels labels/nuclei.ome.zarr --set channel=0
measure-objects --image {id}.ome.zarr --labels labels/nuclei.ome.zarr \
--table tables/nuclei.parquet --tsv tables/nuclei.tsv
assess-quality --image {id}.ome.zarr --quality quality.json
assemble-image --image {id}.ome.zarr --labels labels/nuclei.ome.zarr --assembled assembled.ome.zarr
"""
_Digests = dict[str, str]


def by_shell(folder: Path, sources: dict[str, Path]) -> _Digests:
    """Return the digests of what the commands make, each of which is typed."""
    found = {}
    for image, source in sources.items():
        place = folder / image
        for name in ("labels", "tables"):
            (place / name).mkdir(parents=True)
        for command in COMMANDS.splitlines():
            words = command.format(source=source, id=image).split()
            subprocess.run(
                [program("parfocal"), *words], cwd=place, env=environment(), check=True, timeout=300
            )
        (place / f"{image}.ome.zarr").rename(place / "image.ome.zarr")
        found |= digests(place, image)
    return found


def by_snakemake(folder: Path, sources: dict[str, Path]) -> _Digests:
    """Return the digests of what the workflow for Snakemake makes."""
    folder.mkdir()
    run = Run(folder, config=["segment_objects={channel: 0}"])
    run.rows = [Row(image_id=i, name=i, source=str(path)) for i, path in sources.items()]
    done = run.snakemake()
    told = done.stdout + done.stderr
    assert f"{BROKEN} (convert-image): " in told, told
    assert f"1 of {len(sources)} images failed" in told, told
    assert not (run.results / "images" / BROKEN / "image.ome.zarr").exists()
    return {
        key: digest
        for image in IMAGES
        for key, digest in digests(run.results / "images" / image, image).items()
    }


def digests(folder: Path, image: str) -> _Digests:
    """Return the digests of what was made of an image, without what was not."""
    paths = {name: folder / (f"{name}.ome.zarr" if name == "image" else name) for name in OUTPUTS}
    return {f"{image}/{name}": digest_path(path) for name, path in paths.items() if path.exists()}


def by_galaxy(galaxy: Galaxy, analysed: Analysis, folder: Path) -> _Digests:
    """Return the digests of what the workflow for Galaxy made."""
    history, found = analysed.within(galaxy), {}
    folder.mkdir()
    for name, label in OUTPUTS.items():
        made = elements(history, analysed.collections[label])
        for each in (each for each in made if each.state == "ok"):
            path = folder / f"{label}-{each.name}"
            if "." in name and not name.endswith(".zarr"):
                path.write_bytes(history.api.datasets.download_dataset(each.id))
            else:
                (path,) = history.files(each.id).iterdir()
            found[f"{each.name}/{name}"] = digest_path(path)
    return found


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The files of the images, and one that is no image."""
    return dict(write_images(tmp_path_factory.mktemp("equivalence") / "in"))


@pytest.fixture(scope="module")
def of_shell(tmp_path_factory: pytest.TempPathFactory, sources: dict[str, Path]) -> _Digests:
    """What the shell makes of the images."""
    images = {image: sources[image] for image in IMAGES}
    return by_shell(tmp_path_factory.mktemp("shell"), images)


def test_snakemake_makes_what_the_shell_makes(
    tmp_path: Path, sources: dict[str, Path], of_shell: _Digests
) -> None:
    assert len(of_shell) == len(IMAGES) * len(OUTPUTS)
    # The workflow for Snakemake compares with the source, and has no verification of its own.
    expected = {key: digest for key, digest in of_shell.items() if "verification" not in key}
    assert by_snakemake(tmp_path / "run", sources) == expected


def test_galaxy_makes_what_the_shell_makes(
    tmp_path: Path, galaxy: Galaxy, analysed: Analysis, of_shell: _Digests
) -> None:
    assert by_galaxy(galaxy, analysed, tmp_path / "galaxy") == of_shell
