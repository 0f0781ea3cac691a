"""The Image Data Resource, replayed by a server that answers as its web interface does."""

import json
import sys

import numpy as np
import pytest
import tifffile

from idr_replay import PROJECT, Idr, image
from memory_images import MemoryImage
from parfocal.core.step import Context
from parfocal.errors import ConfigurationError, InputError, RemoteError
from parfocal.images import ZarrOptions, open_image, write_ome_zarr
from parfocal.models.image import ImageMetadata
from parfocal.models.manifest import read_manifest
from parfocal.models.naming import well_name
from parfocal.models.sheet import Row, read_sheet
from parfocal.remote import bia, idr, idr_places
from parfocal.steps import fetch_image, list_images
from webserver import serve


def zarr(path, shape=(1, 2, 3, 30, 20), seed=0):
    pixels = np.random.default_rng(seed).integers(0, 999, shape, dtype=np.uint16)
    metadata = ImageMetadata(
        name="a", axes="TCZYX", shape=shape, dtype="uint16", x_um=0.5, y_um=0.5
    )
    write_ome_zarr(path, metadata, MemoryImage(pixels), ZarrOptions(ngff="0.4"))
    return pixels


@pytest.fixture
def resource(tmp_path, monkeypatch):
    (tmp_path / "site").mkdir()
    with serve(tmp_path / "site") as web:
        resource = Idr(web)
        web.answer = resource.answer
        monkeypatch.setitem(sys.modules, "omero", None)  # as if omero-py were not installed
        monkeypatch.setenv(idr.URL_VARIABLE, web.url)
        monkeypatch.setenv(idr_places.STORE_VARIABLE, f"{web.url}/store/idr")
        monkeypatch.setenv(idr_places.FILES_VARIABLE, f"{web.url}/files/IDR")
        monkeypatch.setenv(bia.API_VARIABLE, f"{web.url}/bia")
        yield resource


def list_rows(tmp_path, source, **params):
    sheet = tmp_path / "samples.tsv"
    given = list_images.ListImagesParams.model_validate({"source": source} | params)
    list_images.STEP.run({}, {"sheet": sheet}, given, Context(scratch=tmp_path))
    return read_sheet(sheet)


def fetch(tmp_path, source, **params):
    context = Context(scratch=tmp_path, row=Row(image_id="a", source=source))
    out = tmp_path / "original"
    given = fetch_image.FetchImageParams.model_validate(params)
    fetch_image.STEP.run({}, {"original": out}, given, context)
    return read_manifest(out).primary_path(out), context


def same_pixels(path, pixels):
    with open_image(path) as found:
        np.testing.assert_array_equal(
            found.read(tuple(slice(0, size) for size in found.shape5)), pixels
        )


def test_a_study_is_its_experiments_datasets_and_images(resource, tmp_path):
    rows = list_rows(tmp_path, "idr:idr0062")
    assert [(row.name, row.source) for row in rows] == [
        ("B1_C1.tif", "idr:image/6001240"),
        ("B4_C3.tif", "idr:image/6001247"),
    ]
    assert rows[0].free["dataset"] == "Blastocysts"
    assert rows[0].free["project"] == PROJECT["Name"]
    assert [rows[0].free[f"size_{axis}"] for axis in "tczyx"] == ["1", "2", "3", "30", "20"]
    assert rows[0].free["dtype"] == "uint16"
    assert len({row.image_id for row in rows}) == 2


@pytest.mark.parametrize(
    "source", ["idr:idr0062A", "idr:idr0062/experimentA", "idr:project/501", "idr:dataset/300"]
)
def test_experiments_and_containers_are_listed(resource, tmp_path, source):
    assert [row.name for row in list_rows(tmp_path, source)] == ["B1_C1.tif", "B4_C3.tif"]


@pytest.mark.parametrize("source", ["idr:idr0001", "idr:screen/3", "idr:plate/2551"])
def test_plates_have_wells_and_fields(resource, tmp_path, source):
    rows = list_rows(tmp_path, source)
    assert [(row.plate, row.well, row.field, row.source) for row in rows] == [
        ("X_110222_S1", "A01", "1", "idr:image/81"),
        ("X_110222_S1", "B11", "1", "idr:image/82"),
        ("X_110222_S1", "B11", "2", "idr:image/83"),
    ]


def test_a_well_and_an_image_are_listed(resource, tmp_path):
    assert [row.source for row in list_rows(tmp_path, "idr:well/71")] == [
        "idr:image/82",
        "idr:image/83",
    ]
    assert [row.name for row in list_rows(tmp_path, "idr:image/6001240")] == ["B1_C1.tif"]


def test_key_values_and_tags_are_columns_and_choose(resource, tmp_path):
    resource.annotate("image", 82, [("Gene", "CDC20"), ("Gene", "PLK1"), ("Well", "B11\tx")])
    resource.annotate("well", 71, [("siRNA", "s1")])
    resource.annotate("image", 83, tag="good")
    rows = list_rows(tmp_path, "idr:plate/2551")
    assert rows[1].free["Gene"] == "CDC20; PLK1"
    assert rows[1].free["Well"] == "B11 x"
    assert [row.free["siRNA"] for row in rows] == ["", "s1", "s1"]
    assert [row.free["tags"] for row in rows] == ["", "", "good"]
    assert [row.well for row in rows] == ["A01", "B11", "B11"]
    chosen = list_rows(tmp_path, "idr:plate/2551", key_values={"Gene": "PLK1"})
    assert [row.source for row in chosen] == ["idr:image/82"]
    assert len(list_rows(tmp_path, "idr:plate/2551", tags=["good"])) == 1
    assert len(list_rows(tmp_path, "idr:plate/2551", pattern="*2")) == 1


@pytest.mark.parametrize("source", ["idr:idr0099", "idr:idr0062/C", "idr:plate/1", "idr:image/1"])
def test_what_the_idr_does_not_have_is_the_users_error(resource, tmp_path, source):
    with pytest.raises(InputError, match="no such") as caught:
        list_rows(tmp_path, source)
    assert source in str(caught.value)


def test_an_experiment_without_images_is_the_users_error(resource, tmp_path):
    with pytest.raises(InputError, match="holds no image"):
        list_rows(tmp_path, "idr:project/502")


def test_the_ome_zarr_in_the_bucket_comes_first(resource, tmp_path):
    pixels = zarr(resource.web.root / "store/idr/zarr/v0.4/idr0062A/6001240.zarr")
    resource.paths[6001240] = ["uod/idr/filesets/idr0062-x/B1_C1.tif"]
    path, context = fetch(tmp_path, "idr:image/6001240")
    same_pixels(path, pixels)
    assert context.details["resolved"].endswith("/v0.4/idr0062A/6001240.zarr")


def test_a_region_of_it_comes_alone(resource, tmp_path):
    pixels = zarr(resource.web.root / "store/idr/zarr/v0.5/idr0062A/6001240.zarr")
    path, _ = fetch(tmp_path, "idr:image/6001240", region={"z": [1, 2], "y": [4, 9]})
    same_pixels(path, pixels[:, :, 1:2, 4:9])


def test_an_ome_zarr_is_named_by_its_path(resource, tmp_path):
    pixels = zarr(resource.web.root / "store/idr/zarr/v0.5/idr0010/76-45.ome.zarr")
    path, _ = fetch(tmp_path, "idr:idr0010/76-45.ome.zarr")
    same_pixels(path, pixels)
    with pytest.raises(InputError, match="no such OME-Zarr"):
        fetch(tmp_path / "site", "idr:idr0010/none.zarr")


def test_an_ome_zarr_of_other_sizes_is_not_the_image(resource, tmp_path):
    zarr(resource.web.root / "store/idr/zarr/v0.4/idr0062A/6001240.zarr", (1, 2, 3, 31, 20))
    with pytest.raises(InputError, match="has sizes") as caught:
        fetch(tmp_path, "idr:image/6001240")
    assert "v0.4/idr0062A/6001240.zarr" in str(caught.value)


def test_fields_of_a_plate_come_from_its_ome_zarr(resource, tmp_path):
    uuid = "bia-integrator-data/S-BIAD852/u/u.zarr"
    root = resource.web.root / uuid
    pixels = {}
    for field in range(2):
        pixels[field] = zarr(root / f"B/11/{field}", seed=field)
    groups = {
        ".zattrs": {"plate": {"name": "P", "wells": [{"path": "A/1"}, {"path": "B/11"}]}},
        "A/1/.zattrs": {"well": {"images": [{"path": "0"}]}},
        "B/11/.zattrs": {"well": {"images": [{"path": "0"}, {"path": "1"}]}},
    }
    for key, group in groups.items():
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_text(json.dumps(group))
    resource.paths[83] = [f"{resource.web.url}/{uuid}/.zattrs"]
    path, context = fetch(tmp_path, "idr:image/83")
    same_pixels(path, pixels[1])
    assert context.details["resolved"].endswith("u.zarr/B/11/1")


@pytest.mark.parametrize("where", ["uod/idr/filesets", "bia-idr/S-BIAD582"])
def test_the_original_file_comes_next(resource, tmp_path, where):
    pixels = np.random.default_rng(0).integers(0, 99, (30, 20), dtype=np.uint8)
    folder = {"uod/idr/filesets": "files/IDR", "bia-idr/S-BIAD582": "bia/S-BIAD582/Files"}[where]
    file = resource.web.root / folder / "idr0062-x/Zelle ü #1.tif"
    file.parent.mkdir(parents=True)
    tifffile.imwrite(file, pixels)
    answer = resource.answer
    info = json.dumps({"httpLink": f"{resource.web.url}/bia/S-BIAD582"}).encode()
    resource.web.answer = lambda path, query: (
        info if path.endswith("/info") else answer(path, query)
    )
    resource.paths[6001240] = [f"{where}/idr0062-x/Zelle ü #1.tif"]
    path, _ = fetch(tmp_path, "idr:image/6001240")
    assert path.name == "Zelle ü #1.tif"
    assert path.read_bytes() == file.read_bytes()


def test_a_file_of_several_images_is_not_guessed_from(resource, tmp_path):
    file = resource.web.root / "files/IDR/a.tif"
    file.parent.mkdir(parents=True)
    with tifffile.TiffWriter(file) as writer:
        writer.write(np.zeros((5, 6), np.uint8))
        writer.write(np.zeros((7, 8), np.uint16))
    resource.paths[6001240] = ["uod/idr/filesets/a.tif"]
    with pytest.raises(InputError, match="holds 2 images"):
        fetch(tmp_path, "idr:image/6001240")


@pytest.mark.parametrize(
    ("paths", "series", "told"),
    [
        ([], 0, "tells no original file"),
        (["data/idr-metadata/x.companion.ome"], 0, "not published under a known address"),
        (["uod/idr/filesets/a.lif"], 3, "holds several images"),
    ],
)
def test_what_is_published_nowhere_is_told_with_what_was_tried(
    resource, tmp_path, paths, series, told
):
    resource.paths[6001240] = paths
    resource.objects["images/6001240"] = image(6001240, "x", **{"omero:series": series})
    with pytest.raises(InputError, match=told) as caught:
        fetch(tmp_path, "idr:image/6001240")
    assert "parfocal[omero]" in caught.value.remedy


def test_a_part_of_what_is_published_nowhere_needs_omero_py_too(resource, tmp_path):
    with pytest.raises(InputError, match="tells no original file") as caught:
        fetch(tmp_path, "idr:image/6001240", level=1)
    assert "parfocal[omero]" in caught.value.remedy


@pytest.mark.parametrize("source", ["idr:idr0062", "idr:plate/2551", "idr:dataset/300"])
def test_a_source_to_fetch_is_one_image(resource, tmp_path, source):
    with pytest.raises(ConfigurationError, match="must be one image"):
        fetch(tmp_path, source)


def test_a_passing_fault_is_tried_again_and_a_web_page_is_none(resource, tmp_path, monkeypatch):
    monkeypatch.setattr("parfocal.remote.retry.Retry.wait_s", lambda *_: 0.01)
    resource.web.faults["/api/v0/m/datasets/300/"] = [503, "drop"]
    assert len(list_rows(tmp_path, "idr:dataset/300")) == 2
    resource.web.answer = lambda *_: b"<html>maintenance</html>"
    with pytest.raises(RemoteError, match="did not answer with JSON"):
        list_rows(tmp_path, "idr:dataset/300")


@pytest.mark.parametrize(
    ("row", "column", "name"), [(0, 0, "A01"), (25, 9, "Z10"), (26, 0, "AA01")]
)
def test_wells_are_called_by_letters_and_numbers(row, column, name):
    assert well_name(row, column) == name
