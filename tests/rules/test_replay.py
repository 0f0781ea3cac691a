"""Images of public archives, replayed on this machine, from the list to the run crate."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bia_replay import ACCESSION, FILES, entry, replay
from idr_replay import Idr, image
from memory_images import MemoryImage
from parfocal.images import ZarrOptions, write_ome_zarr
from parfocal.models.image import ImageMetadata
from parfocal.models.sheet import read_sheet
from parfocal.provenance.records import iter_records
from parfocal.remote import bia, idr, idr_places
from rules.runs import SQUARES, Run, environment, nothing_to_do, write_blobs
from webserver import serve

NAMES = ("B1_C1.tif", "cells ü.tif")


def write_published(path: Path) -> None:
    """Write what the IDR publishes of an image: three bright squares as OME-Zarr 0.4."""
    plane = np.random.default_rng(5).poisson(20, (1, 1, 1, 64, 64)).astype(np.uint16)
    for square in SQUARES:
        plane[(..., *square)] += 500
    metadata = ImageMetadata(
        name="a", axes="TCZYX", shape=plane.shape, dtype="uint16", x_um=0.5, y_um=0.5
    )
    write_ome_zarr(path, metadata, MemoryImage(plane), ZarrOptions(ngff="0.4"))


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """An IDR and a BioImage Archive with an image each: servers, and the environment that leads."""
    root = tmp_path_factory.mktemp("archives")
    write_published(root / "idr/store/idr/zarr/v0.4/idr0062A/6001240.zarr")
    file = root / "bia" / FILES / NAMES[1]
    write_blobs(file, seed=7)
    sizes = {f"Size{axis}": 1 for axis in "TCZ"} | {"SizeY": 64, "SizeX": 64}
    pixels = sizes | {"Type": {"value": "uint16"}}
    with serve(root / "idr") as first, serve(root / "bia") as second:
        resource = Idr(first)
        found = image(6001240, NAMES[0], Pixels=pixels)
        resource.lists["datasets/300/images"] = [found]
        resource.objects["images/6001240"] = found
        resource.annotate("image", 6001240, [("Gene Symbol", "CDC20")])
        first.answer = resource.answer
        replay(second, [entry(NAMES[1], file.stat().st_size, Gene="TP53")])
        leads = {
            idr.URL_VARIABLE: first.url,
            idr_places.STORE_VARIABLE: f"{first.url}/store/idr",
            idr_places.FILES_VARIABLE: f"{first.url}/files/IDR",
            bia.API_VARIABLE: f"{second.url}/api",
            bia.STORE_VARIABLE: second.url,
        }
        yield {"webs": (first, second), "environment": leads}


@pytest.fixture(scope="module")
def story(
    archives: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Run, list[subprocess.CompletedProcess[str]], int]:
    """List the images of both archives, and run the workflow twice.

    Returns the run, what Snakemake told, and how many requests the second run made.
    """
    folder = tmp_path_factory.mktemp("run")
    sources = f"source=[idr:dataset/300, 'bia:{ACCESSION}']"
    command = [sys.executable, "-m", "parfocal", "list-images", "--set", sources]
    subprocess.run(
        [*command, "--sheet", "samples.tsv"],
        cwd=folder,
        env=environment(**archives["environment"]),
        check=True,
        timeout=120,
    )
    run = Run(folder, read_sheet(folder / "samples.tsv"), ["transfer={requests: 3, mb_per_s: 99}"])
    first = run.snakemake(**archives["environment"])
    before = sum(len(web.requests) for web in archives["webs"])
    second = run.snakemake(**archives["environment"])
    after = sum(len(web.requests) for web in archives["webs"])
    return run, [first, second], after - before


Story = tuple[Run, list[subprocess.CompletedProcess[str]], int]


def test_both_archives_are_listed_in_one_sheet(story: Story) -> None:
    rows = story[0].rows
    assert [row.name for row in rows] == list(NAMES)
    assert [row.source for row in rows] == [
        "idr:image/6001240",
        f"bia:{ACCESSION}/{NAMES[1]}",
    ]
    assert rows[0].free["Gene Symbol"] == "CDC20"
    assert rows[1].free["Gene"] == "TP53"


def test_images_of_archives_are_analysed_as_all_are(story: Story) -> None:
    run, (done, _), _ = story
    assert done.returncode == 0, done.stderr
    for row in run.rows:
        folder = run.results / "images" / row.image_id
        certificate = json.loads((folder / "image.certificate.json").read_text("utf-8"))
        assert certificate["verdict"] == "verified"
        table = (folder / "tables/nuclei.tsv").read_text("utf-8").splitlines()
        assert len(table) == 1 + len(SQUARES)
    report = (run.results / "report.html").read_text("utf-8")
    assert all(row.name in report for row in run.rows)


def test_the_crate_tells_where_the_images_come_from(story: Story) -> None:
    run = story[0]
    crate = (run.results / "run-crate/ro-crate-metadata.json").read_text("utf-8")
    for row in run.rows:
        assert row.source in crate
    fetched = [record for record in iter_records(run.results) if record.step == "fetch-image"]
    places = sorted(record.details["resolved"] for record in fetched)
    assert len(places) == 2
    assert any(place.endswith("/zarr/v0.4/idr0062A/6001240.zarr") for place in places)
    assert any("/Files/cells%20" in place for place in places)


def test_the_second_run_does_and_asks_nothing(story: Story) -> None:
    _, (_, again), requests = story
    assert nothing_to_do(again), again.stderr
    assert requests == 0


def test_limits_of_the_configuration_reach_the_jobs(
    archives: dict[str, Any], tmp_path: Path
) -> None:
    run = Run(tmp_path, config=["transfer={requests: 3, mb_per_s: 0.5, omero_connections: 2}"])
    run.add_image("a")
    done = run.snakemake("--dry-run", "--printshellcmds")
    assert done.returncode == 0, done.stderr
    limits = "PARFOCAL_REMOTE_IN_FLIGHT=3 PARFOCAL_REMOTE_MB_PER_S=0.5 PARFOCAL_OMERO_CONNECTIONS=2"
    assert f"env {limits} parfocal fetch-image" in done.stdout + done.stderr
