"""The real archives, for whoever has a network: ``make test-live``.

They hold what the replayed answers of the unit tests claim. Each test takes a few hundred
kilobytes at most.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from parfocal.core.step import Context
from parfocal.errors import InputError
from parfocal.images import open_image
from parfocal.models.manifest import read_manifest
from parfocal.models.sheet import Row, read_sheet
from parfocal.models.source import BiaSource, IdrSource
from parfocal.remote.bia import locate
from parfocal.remote.idr_places import find_places
from parfocal.steps import fetch_image, list_images

STORE = "https://uk1s3.embassy.ebi.ac.uk"
REGION = {"z": [100, 102], "c": [0, 1]}


def list_rows(folder: Path, source: str, **params: object) -> list[Row]:
    sheet = folder / "samples.tsv"
    given = list_images.ListImagesParams.model_validate({"source": source} | params)
    list_images.STEP.run({}, {"sheet": sheet}, given, Context(scratch=folder))
    return read_sheet(sheet)


def fetch(folder: Path, source: str, **params: object) -> tuple[Path, Context]:
    context = Context(scratch=folder, row=Row(image_id="a", source=source))
    given = fetch_image.FetchImageParams.model_validate(params)
    fetch_image.STEP.run({}, {"original": folder / "original"}, given, context)
    return read_manifest(folder / "original").primary_path(folder / "original"), context


@pytest.mark.parametrize(
    "source",
    [
        "idr:image/6001240",
        "idr:idr0062A/6001240.zarr",
        f"{STORE}/idr/zarr/v0.4/idr0062A/6001240.zarr",
        "s3://idr/zarr/v0.4/idr0062A/6001240.zarr",
    ],
)
def test_a_region_of_an_ome_zarr_comes(
    tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", STORE)
    path, context = fetch(tmp_path, source, level=1, region=REGION)
    with open_image(path) as image:
        assert image.shape5[1:3] == (1, 2)
        assert image.read(tuple(slice(0, size) for size in image.shape5)).any()
    assert context.details["transfer"]["bytes"] < 1_000_000


def test_an_experiment_of_the_idr_is_listed(tmp_path: Path) -> None:
    rows = list_rows(tmp_path, "idr:idr0062A")
    assert "idr:image/6001240" in [row.source for row in rows]
    row = next(row for row in rows if row.source == "idr:image/6001240")
    assert row.free["size_z"] == "236"
    assert len(row.free) > 8


def test_a_plate_of_the_idr_is_listed(tmp_path: Path) -> None:
    rows = list_rows(tmp_path, "idr:plate/2551")
    assert {row.plate for row in rows} == {rows[0].plate}
    assert all(row.well and row.field for row in rows)


def test_the_original_of_an_image_of_the_idr_is_found() -> None:
    places = find_places(IdrSource("image", "13417006"))
    assert places.zarr or (places.file and places.file.url.startswith("https://ftp.ebi.ac.uk/"))


def test_what_the_idr_does_not_have_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such study"):
        list_rows(tmp_path, "idr:idr9999")


def test_a_study_of_the_bioimage_archive_is_listed(tmp_path: Path) -> None:
    rows = list_rows(tmp_path, "bia:S-BIAD582", pattern="*_mp.tif")
    assert rows
    assert all(int(row.free["size_bytes"]) > 0 for row in rows)
    source = locate(BiaSource("S-BIAD582", "a.tif"))
    assert source.url.startswith("https://ftp.ebi.ac.uk/")


def test_a_study_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such public study"):
        list_rows(tmp_path, "bia:S-BIAD99999999")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_omero_server_of_the_idr_gives_pixels_to_all() -> None:
    pytest.importorskip("Ice")
    from parfocal.models.omero_server import parse_omero_server
    from parfocal.omero.connection import Connection
    from parfocal.omero.credentials import Credentials
    from parfocal.omero.images import read_image
    from parfocal.omero.pixels import OmeroPixels
    from parfocal.steps.sources.archives import OMERO

    server = parse_omero_server(OMERO)
    public = Credentials("public", "public", "the IDR")
    with Connection(server, public, patience_s=30) as connection:
        image = read_image(connection, 6001240)
    assert image.metadata is not None
    assert image.metadata.shape5 == (1, 2, 236, 275, 271)
    with OmeroPixels(server, image, 1, public) as pixels:
        z, y, x = slice(118, 119), slice(0, 275), slice(0, 271)
        plane = pixels.read((slice(0, 1), slice(0, 1), z, y, x))
    assert plane.any()
