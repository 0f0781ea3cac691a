from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from memory_images import save
from onnx_networks import components
from parfocal import images
from parfocal.analysis import objects
from parfocal.core.digest import digest_path
from parfocal.core.step import Context
from parfocal.errors import InputError
from parfocal.images import open_image
from parfocal.steps import measure_objects
from parfocal.steps.measure_objects import MeasureObjectsParams
from parfocal.steps.segment_objects import STEP, SegmentObjectsParams
from segmented import MASK, nine_discs, pixels, run

DATA = Path(__file__).parents[3] / "shared/data"


def test_discs_are_found_with_the_defaults(tmp_path):
    image = save(tmp_path / "image.ome.zarr", nine_discs(), "YX", y_um=0.5, x_um=0.5)
    context, path = run(tmp_path, image)
    labels = pixels(path)
    assert context.details["objects"] == 9
    assert 110 < context.details["threshold"] < 280
    assert context.warnings == []
    assert sorted(np.unique(labels)) == list(range(10))
    sizes = np.bincount(labels.ravel())[1:]
    assert (abs(sizes - 197) < 25).all()


def test_the_label_image_has_the_axes_without_c_and_names_its_image(tmp_path):
    stack = np.stack([nine_discs(noise=0.0)] * 4).reshape(2, 2, 1, 80, 90)
    image = save(tmp_path / "image.ome.zarr", stack, "TCZYX", z_um=2.0, y_um=0.5, x_um=0.5)
    _, path = run(tmp_path, image, channel=1)
    with open_image(path) as labels:
        metadata = labels.metadata
        assert metadata.axes == "TZYX"
        assert metadata.shape == (2, 1, 80, 90)
        assert metadata.dtype == "uint32"
        assert (metadata.z_um, metadata.y_um, metadata.x_um) == (2.0, 0.5, 0.5)
        assert labels.attributes["parfocal"]["source"] == {"digest": digest_path(image)}
    found = pixels(path)
    assert set(np.unique(found[0])) & set(np.unique(found[1])) == {0}
    assert found.max() == 18


def test_the_same_input_gives_the_same_bytes(tmp_path):
    image = save(tmp_path / "image.ome.zarr", np.stack([nine_discs()] * 3), "ZYX")
    digests = {digest_path(run(tmp_path, image, threads=n)[1]) for n in (1, 2, 2)}
    assert len(digests) == 1


def test_a_channel_is_found_by_name_and_a_missing_one_is_an_error(tmp_path):
    image = save(tmp_path / "image.ome.zarr", np.stack([nine_discs() * 0 + 5, nine_discs()]), "CYX")
    assert run(tmp_path, image, channel="channel_1")[0].details["objects"] == 9
    assert run(tmp_path, image, channel="1")[0].details["objects"] == 9
    with pytest.raises(InputError, match=r"no such channel.*0 \(channel_0\), 1 .*'DAPI'"):
        run(tmp_path, image, channel="DAPI")


def test_micrometres_are_those_of_the_image_and_an_error_without(tmp_path):
    image = save(tmp_path / "image.ome.zarr", nine_discs(), "YX", y_um=0.5, x_um=0.5)
    assert run(tmp_path, image, min_diameter_um=7.0)[0].details["objects"] == 9
    context, _ = run(tmp_path, image, min_diameter_um=9.0)
    assert context.details["objects"] == 0
    assert context.details["dropped_too_small"] >= 9
    assert run(tmp_path, image, max_diameter_um=7.0)[0].details["dropped_too_large"] == 9
    bare = save(tmp_path / "bare.ome.zarr", nine_discs(), "YX")
    with pytest.raises(InputError, match="pixel size"):
        run(tmp_path, bare, min_diameter_um=7.0)


@pytest.mark.parametrize("value", [3.0, np.nan])
def test_one_value_gives_an_empty_label_image_and_a_warning(tmp_path, value):
    image = save(tmp_path / "image.ome.zarr", np.full((6, 7), value, np.float32), "YX")
    context, path = run(tmp_path, image)
    assert not pixels(path).any()
    assert any("single value" in warning for warning in context.warnings)
    assert any("42 pixels are NaN" in w for w in context.warnings) == bool(np.isnan(value))


def test_a_single_pixel_works(tmp_path):
    image = save(tmp_path / "image.ome.zarr", np.array([[7]], np.uint8), "YX")
    context, path = run(tmp_path, image)
    assert pixels(path).shape == (1, 1, 1, 1, 1)
    assert context.details["objects"] == 0


def test_no_objects_are_a_warning(tmp_path):
    image = save(tmp_path / "image.ome.zarr", nine_discs(), "YX")
    context, _ = run(tmp_path, image, threshold={"method": "manual", "value": 5000})
    assert context.warnings == ["No objects were found for nuclei"]


@pytest.mark.parametrize(
    "params",
    [
        {"threshold": {"method": "local", "offset": 30.0}},
        {"threshold": {"method": "otsu"}},
        {"seeds": {"method": "none"}},
        {"mode": "plane"},
        {"edge_fraction": None},
    ],
)
def test_every_variant_finds_the_discs(tmp_path, params):
    image = save(tmp_path / "image.ome.zarr", nine_discs(), "YX")
    assert run(tmp_path, image, **params)[0].details["objects"] == 9


@pytest.mark.skipif(not (DATA / "bbbc007").is_dir(), reason="the real images are not here")
def test_real_nuclei_are_about_as_many_as_one_sees(tmp_path):
    import tifffile

    plane = tifffile.imread(DATA / "bbbc007/A9 p5d (cropped 3).tif")
    image = save(tmp_path / "image.ome.zarr", plane, "YX")
    assert 12 <= run(tmp_path, image)[0].details["objects"] <= 24


def test_progress_is_told_on_the_way_and_ends_complete(tmp_path):
    image = save(tmp_path / "image.ome.zarr", nine_discs(), "YX")
    told = []
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    context = Context(scratch=scratch, progress=lambda *step: told.append(step))
    STEP.run({"image": image}, {"labels": tmp_path / "l"}, SegmentObjectsParams(), context)
    done, totals = zip(*told, strict=True)
    assert list(done) == sorted(done)
    assert len(set(done)) > 8
    assert done[-1] == totals[-1]


@pytest.mark.parametrize("way", ["divided", "components", "model"])
def test_labels_of_64_bits_are_told_written_and_measured(tmp_path, monkeypatch, way):
    image = save(tmp_path / "image.ome.zarr", nine_discs(), "YX", y_um=0.5, x_um=0.5)
    network = {"method": "onnx", "output": "labels", "path": str(tmp_path / "model.onnx")}
    components(tmp_path / "model.onnx")
    params = {
        "divided": {},
        "components": MASK | {"threshold": {"method": "manual", "value": 200}},
        "model": {"model": network},
    }[way]
    _, narrow = run(tmp_path, image, **params)
    monkeypatch.setattr(objects, "NARROW", 5)
    context, wide = run(tmp_path, image, **params)
    assert context.details["label_bits"] == 64
    assert any("64 bits" in warning for warning in context.warnings)
    assert pixels(wide).dtype == np.uint64
    np.testing.assert_array_equal(pixels(wide), pixels(narrow))
    tables = []
    for number, labels in enumerate((narrow, wide)):
        table = tmp_path / f"{number}.parquet"
        measured = Context(scratch=tmp_path, image_id="image")
        measure_objects.STEP.run(
            {"image": image, "labels": labels},
            {"table": table, "tsv": tmp_path / f"{number}.tsv"},
            MeasureObjectsParams(),
            measured,
        )
        tables.append(pq.read_table(table))
    assert tables[0].num_rows == 9
    assert tables[0].equals(tables[1])


def test_scratch_storage_is_given_back_before_the_labels_are_written(tmp_path, monkeypatch):
    write, left = images.write_ome_zarr, []

    def look(*args, **kwargs):
        left.append(len(list(tmp_path.glob("scratch*/*.raw"))))
        write(*args, **kwargs)

    image = save(tmp_path / "image.ome.zarr", nine_discs(), "YX")
    monkeypatch.setattr(images, "write_ome_zarr", look)
    run(tmp_path, image)
    run(tmp_path, image, seeds={"method": "none"}, edge_fraction=None)
    assert left == [1, 1]
