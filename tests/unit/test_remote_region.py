"""Regions of OME-Zarrs over http: the right pixels at the right place, and nothing else."""

import json

import numpy as np
import pytest

from memory_images import MemoryImage
from parfocal.core.step import Context
from parfocal.errors import ConfigurationError, InputError, RemoteError
from parfocal.images import ZarrOptions, open_image, write_ome_zarr
from parfocal.models.image import Channel, ImageMetadata
from parfocal.models.manifest import read_manifest
from parfocal.models.sheet import Row
from parfocal.remote import region as region_module
from parfocal.remote import shards
from parfocal.remote.shards import ShardLayout, layout_of, spans_of
from parfocal.steps.fetch_image import STEP, FetchImageParams
from webserver import serve

SHAPE = (2, 2, 3, 70, 90)


def pixels():
    return np.random.default_rng(3).integers(1, 60000, SHAPE, dtype=np.uint16)


def write(path, **options):
    data = pixels()
    metadata = ImageMetadata(
        name="a",
        axes="TCZYX",
        shape=SHAPE,
        dtype="uint16",
        z_um=2.0,
        y_um=0.5,
        x_um=0.5,
        time_increment_s=3.0,
        channels=(Channel(name="DAPI"), Channel(name="GFP")),
    )
    write_ome_zarr(path, metadata, MemoryImage(data), ZarrOptions(chunk_px=16, **options))
    return data


@pytest.fixture
def web(tmp_path):
    (tmp_path / "site").mkdir()
    with serve(tmp_path / "site") as web:
        yield web


def run(tmp_path, source, **params):
    (tmp_path / "scratch").mkdir(exist_ok=True)
    context = Context(scratch=tmp_path / "scratch", row=Row(image_id="a", source=source))
    out = tmp_path / "original"
    STEP.run({}, {"original": out}, FetchImageParams.model_validate(params), context)
    return read_manifest(out).primary_path(out), context


def transforms(path):
    document = json.loads((path / "zarr.json").read_text())
    datasets = document["attributes"]["ome"]["multiscales"][0]["datasets"]
    return [dataset["coordinateTransformations"] for dataset in datasets]


REGION = {"t": [1, 2], "c": [1, 2], "z": [0, 2], "y": [20, 50], "x": [33, 61]}


@pytest.mark.parametrize(
    "options", [{}, {"shard_mib": 0}, {"ngff": "0.4"}], ids=["shards", "chunks", "0.4"]
)
def test_a_region_has_its_pixels_names_and_place(web, tmp_path, options):
    data = write(web.root / "a.zarr", **options)
    path, context = run(tmp_path, f"{web.url}/a.zarr", region=REGION)
    assert path.name == "a.ome.zarr"
    with open_image(path) as image:
        np.testing.assert_array_equal(
            image.read((slice(0, 1), slice(0, 1), slice(0, 2), slice(0, 30), slice(0, 28))),
            data[1:2, 1:2, 0:2, 20:50, 33:61],
        )
        assert image.shape5 == (1, 1, 2, 30, 28)
        assert [channel.name for channel in image.metadata.channels] == ["GFP"]
        assert (image.metadata.x_um, image.metadata.z_um) == (0.5, 2.0)
    scale, place = transforms(path)[0]
    assert scale["scale"] == [3.0, 1.0, 2.0, 0.5, 0.5]
    assert place["translation"] == [3.0, 1.0, 0.0, 10.0, 16.5]
    assert context.details["part"] == {"level": 0, "region": REGION}


def test_what_is_not_asked_for_does_not_come(web, tmp_path):
    write(web.root / "a.zarr", shard_mib=0)
    run(tmp_path, f"{web.url}/a.zarr", region={"t": [0, 1], "c": [0, 1], "z": [2, 3], "x": [0, 16]})
    chunks = [path for path, _ in web.requests if "/c/" in path]
    assert sorted(chunks) == [f"/a.zarr/0/c/0/0/2/{y}/0" for y in range(5)]


def test_of_a_shard_only_the_index_and_some_chunks_come(web, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "_GAP", 0)
    write(web.root / "a.zarr", codec="none")
    _, context = run(
        tmp_path, f"{web.url}/a.zarr", region={"c": [0, 1], "y": [0, 16], "x": [0, 16]}
    )
    asked = [part for path, part in web.requests if "/c/" in path]
    assert all(part and part.startswith("bytes=") for part in asked)
    index = 16 * (2 * 2 * 3 * 4 * 4) + 4  # of one shard of 4 x 4 chunks a plane
    chunks = 2 * 3 * 16 * 16 * 2
    assert context.details["transfer"]["bytes"] == index + chunks


def test_a_server_without_parts_sends_whole_shards(web, tmp_path):
    data = write(web.root / "a.zarr")
    web.ranges = False
    path, _ = run(tmp_path, f"{web.url}/a.zarr", region={"y": [0, 16], "x": [0, 16]})
    with open_image(path) as image:
        np.testing.assert_array_equal(
            image.read(tuple(slice(0, size) for size in image.shape5)), data[..., :16, :16]
        )


@pytest.mark.parametrize("params", [{"level": 1}, {"max_pixel_um": 1.9}, {"max_pixel_um": 1.0}])
def test_a_level_comes_alone(web, tmp_path, params):
    write(web.root / "a.zarr", shard_mib=0)
    path, _ = run(tmp_path, f"{web.url}/a.zarr", **params)
    assert not [p for p, _ in web.requests if p.startswith(("/a.zarr/0/c", "/a.zarr/2/c"))]
    with open_image(web.root / "a.zarr") as source, open_image(path) as image:
        everything = tuple(slice(0, size) for size in image.shape5)
        np.testing.assert_array_equal(image.read(everything), source.level(1).read(everything))
        assert image.metadata.y_um == 1.0
    assert transforms(path)[0][1]["translation"] == [0.0, 0.0, 0.0, 0.25, 0.25]


def test_absent_chunks_of_a_region_read_as_the_fill_value(web, tmp_path):
    data = write(web.root / "a.zarr", shard_mib=0)
    (web.root / "a.zarr/0/c/0/0/0/0/0").unlink()
    path, _ = run(tmp_path, f"{web.url}/a.zarr", region={"t": [0, 1], "c": [0, 1], "z": [0, 1]})
    with open_image(path) as image:
        found = image.read(tuple(slice(0, size) for size in image.shape5))[0, 0, 0]
    assert not found[:16, :16].any()
    np.testing.assert_array_equal(found[16:], data[0, 0, 0, 16:])


def test_a_region_of_a_local_ome_zarr_is_copied(tmp_path):
    data = write(tmp_path / "a.zarr")
    path, _ = run(tmp_path, str(tmp_path / "a.zarr"), region={"y": [5, 9]})
    assert path.is_relative_to(tmp_path / "original")
    with open_image(path) as image:
        found = image.read(tuple(slice(0, size) for size in image.shape5))
    np.testing.assert_array_equal(found, data[..., 5:9, :])


def test_the_lone_image_of_a_collection_is_cut_too(web, tmp_path):
    data = write(web.root / "a.zarr/0", ngff="0.4")
    (web.root / "a.zarr/.zattrs").write_text('{"bioformats2raw.layout": 3}')
    (web.root / "a.zarr/.zgroup").write_text('{"zarr_format": 2}')
    path, _ = run(tmp_path, f"{web.url}/a.zarr", region={"y": [5, 9]})
    with open_image(path) as image:
        found = image.read(tuple(slice(0, size) for size in image.shape5))
    np.testing.assert_array_equal(found, data[..., 5:9, :])


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"level": 9}, "no such level"),
        ({"region": {"y": [0, 71]}}, "beyond the level along Y"),
        ({"level": 1, "region": {"x": [0, 46]}}, "beyond the level along X"),
        ({"max_pixel_um": 0.1}, "as small"),
    ],
)
def test_what_is_not_there_cannot_be_fetched(web, tmp_path, params, expected):
    write(web.root / "a.zarr")
    with pytest.raises(ConfigurationError, match=expected) as caught:
        run(tmp_path, f"{web.url}/a.zarr", **params)
    assert web.url in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("place", ["url", "path"])
def test_a_part_of_another_format_is_refused_with_the_remedy(web, tmp_path, place):
    (web.root / "a.tif").write_bytes(b"II*\0")
    source = f"{web.url}/a.tif" if place == "url" else str(web.root / "a.tif")
    with pytest.raises(ConfigurationError, match=r"of an OME-Zarr, and of.*Leave out level"):
        run(tmp_path, source, level=0)


@pytest.mark.parametrize(
    "params", [{"region": {"y": [5, 5]}}, {"region": {"y": [5]}}, {"level": 0, "max_pixel_um": 1}]
)
def test_parts_that_are_none(params):
    with pytest.raises(ValueError, match=r"region|level"):
        FetchImageParams.model_validate(params)


def test_labels_are_left_out_and_told(web, tmp_path):
    write(web.root / "a.zarr")
    write(web.root / "a.zarr/labels/nuclei")
    group = {"node_type": "group", "attributes": {"ome": {"labels": ["nuclei"]}}}
    (web.root / "a.zarr/labels/zarr.json").write_text(json.dumps(group))
    path, context = run(tmp_path, f"{web.url}/a.zarr", level=1)
    assert not (path / "labels").exists()
    assert any("label images" in warning for warning in context.warnings)
    assert not [p for p, _ in web.requests if "labels/nuclei/0/c" in p]


def test_a_damaged_index_is_told(web, tmp_path):
    write(web.root / "a.zarr")
    shard = next(file for file in sorted((web.root / "a.zarr/0/c").rglob("*")) if file.is_file())
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    with pytest.raises(InputError, match="index of a shard is damaged"):
        run(tmp_path, f"{web.url}/a.zarr", region={"y": [0, 8], "x": [0, 8]})


def test_a_shard_that_vanishes_between_index_and_chunks_is_a_remote_fault(
    web, tmp_path, monkeypatch
):
    write(web.root / "a.zarr")
    read_part = region_module.Site.read_part

    async def gone(self, key, start, length):
        return await read_part(self, key, start, length) if start < 0 else None

    monkeypatch.setattr(region_module.Site, "read_part", gone)
    with pytest.raises(RemoteError, match="removed while it was read"):
        run(tmp_path, f"{web.url}/a.zarr", region={"y": [0, 8], "x": [0, 8]})


def test_the_numbers_of_chunks_in_a_shard_are_in_c_order():
    layout = ShardLayout(chunk=(1, 4, 4), counts=(2, 2, 3), index_first=False)
    assert layout.numbers([(1, 2), (0, 5), (4, 9)]) == [7, 8, 10, 11]
    assert layout.index_bytes == 16 * 12 + 4


def test_near_chunks_share_a_request_and_missing_ones_have_none():
    missing = ((1 << 64) - 1,) * 2
    index = [(0, 100), (100, 50), missing, (1 << 20, 10)]
    spans = spans_of(index, [3, 2, 0, 1])
    assert [(span.start, span.stop) for span in spans] == [(0, 150), (1 << 20, (1 << 20) + 10)]
    assert spans[0].members == {0: (0, 100), 1: (100, 50)}


def test_only_plain_indexes_are_understood():
    codec = {"name": "sharding_indexed", "configuration": {"chunk_shape": [2]}}
    codec["configuration"]["index_codecs"] = [{"name": "bytes"}, {"name": "crc32c"}]
    grid = {"configuration": {"chunk_shape": [4]}}
    assert layout_of({"codecs": [codec], "chunk_grid": grid}).counts == (2,)
    codec["configuration"]["index_codecs"] = [{"name": "bytes"}]
    assert layout_of({"codecs": [codec], "chunk_grid": grid}) is None
    assert layout_of({"codecs": [{"name": "bytes"}], "chunk_grid": grid}) is None
