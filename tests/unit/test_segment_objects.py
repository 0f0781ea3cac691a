from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from memory_images import save
from onnx_networks import blur
from parfocal import images
from parfocal.analysis import objects, thick_blocks
from parfocal.core.blocks import whole
from parfocal.core.digest import digest_path
from parfocal.core.step import Context
from parfocal.errors import ConfigurationError, InputError
from parfocal.images import ZarrOptions, open_image
from parfocal.models.image import Channel
from parfocal.steps import measure_objects
from parfocal.steps.measure_objects import MeasureObjectsParams
from parfocal.steps.segment_objects import STEP, SegmentObjectsParams

_numbers = itertools.count()
RGB = tuple(Channel(name=name) for name in ("Red", "Green", "Blue"))
DATA = Path(__file__).parents[3] / "shared/data"


def run(folder, image, threads=1, **params):
    """Run the step, and return its context and the path of the label image."""
    scratch = folder / f"scratch{next(_numbers)}"
    scratch.mkdir()
    context = Context(scratch=scratch, threads=threads)
    (folder / "labels").mkdir(exist_ok=True)
    labels = folder / "labels" / f"labels{next(_numbers)}.ome.zarr"
    chosen = SegmentObjectsParams.model_validate(params)
    STEP.run({"image": image}, {"labels": labels}, chosen, context)
    assert not list(scratch.iterdir()), "scratch is left behind"
    return context, labels


def pixels(path):
    with open_image(path) as image:
        return image.read(whole(image.shape5))


def discs(shape=(80, 90), noise=2.0):
    """Return a plane with nine discs of radius 8."""
    y, x = np.indices(shape)
    plane = np.random.default_rng(0).normal(100, noise, shape)
    for cy, cx in itertools.product((13, 40, 66), (15, 45, 75)):
        plane += 200.0 * ((y - cy) ** 2 + (x - cx) ** 2 <= 64)
    return np.rint(plane).astype(np.uint16)


def test_discs_are_found_with_the_defaults(tmp_path):
    image = save(tmp_path / "image.ome.zarr", discs(), "YX", y_um=0.5, x_um=0.5)
    context, path = run(tmp_path, image)
    labels = pixels(path)
    assert context.details["objects"] == 9
    assert 110 < context.details["threshold"] < 280
    assert context.warnings == []
    assert sorted(np.unique(labels)) == list(range(10))
    sizes = np.bincount(labels.ravel())[1:]
    assert (abs(sizes - 197) < 25).all()


def test_the_label_image_has_the_axes_without_c_and_names_its_image(tmp_path):
    stack = np.stack([discs(noise=0.0)] * 4).reshape(2, 2, 1, 80, 90)
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
    image = save(tmp_path / "image.ome.zarr", np.stack([discs()] * 3), "ZYX")
    digests = {digest_path(run(tmp_path, image, threads=n)[1]) for n in (1, 2, 2)}
    assert len(digests) == 1


def test_a_channel_is_found_by_name_and_a_missing_one_is_an_error(tmp_path):
    image = save(tmp_path / "image.ome.zarr", np.stack([discs() * 0 + 5, discs()]), "CYX")
    assert run(tmp_path, image, channel="channel_1")[0].details["objects"] == 9
    assert run(tmp_path, image, channel="1")[0].details["objects"] == 9
    with pytest.raises(InputError, match=r"no such channel.*0 \(channel_0\), 1 .*'DAPI'"):
        run(tmp_path, image, channel="DAPI")


def test_micrometres_are_those_of_the_image_and_an_error_without(tmp_path):
    image = save(tmp_path / "image.ome.zarr", discs(), "YX", y_um=0.5, x_um=0.5)
    assert run(tmp_path, image, min_diameter_um=7.0)[0].details["objects"] == 9
    context, _ = run(tmp_path, image, min_diameter_um=9.0)
    assert context.details["objects"] == 0
    assert context.details["dropped_too_small"] >= 9
    assert run(tmp_path, image, max_diameter_um=7.0)[0].details["dropped_too_large"] == 9
    bare = save(tmp_path / "bare.ome.zarr", discs(), "YX")
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
    image = save(tmp_path / "image.ome.zarr", discs(), "YX")
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
    image = save(tmp_path / "image.ome.zarr", discs(), "YX")
    assert run(tmp_path, image, **params)[0].details["objects"] == 9


@pytest.mark.parametrize(
    "params",
    [
        {"label_name": "../x"},
        {"threshold": {"method": "manual"}},
        {"threshold": {"method": "magic"}},
        {"seeds": {"method": "distance", "prominence": 1}},
        {"edge_fraction": 0},
        {"smoothing_px": -1},
        {"colour": 1},
    ],
)
def test_parameters_are_checked(params):
    with pytest.raises(ValidationError):
        SegmentObjectsParams.model_validate(params)


@pytest.mark.skipif(not (DATA / "bbbc007").is_dir(), reason="the real images are not here")
def test_real_nuclei_are_about_as_many_as_one_sees(tmp_path):
    import tifffile

    plane = tifffile.imread(DATA / "bbbc007/A9 p5d (cropped 3).tif")
    image = save(tmp_path / "image.ome.zarr", plane, "YX")
    assert 12 <= run(tmp_path, image)[0].details["objects"] <= 24


@pytest.mark.parametrize("kind", ["poisson", "few photons", "normal", "float", "volume"])
@pytest.mark.parametrize("method", ["li", "otsu", "triangle", "isodata"])
def test_noise_gives_no_objects_and_a_warning(tmp_path, kind, method):
    rng = np.random.default_rng(3)
    noise, axes = {
        "poisson": (rng.poisson(5, (300, 300)).astype(np.uint16), "YX"),
        "few photons": (rng.poisson(0.3, (300, 300)).astype(np.uint8), "YX"),
        "normal": (np.rint(rng.normal(1000, 20, (300, 300))).astype(np.uint16), "YX"),
        "float": (rng.normal(0, 1, (300, 300)).astype(np.float32), "YX"),
        "volume": (rng.poisson(20, (12, 80, 80)).astype(np.uint16), "ZYX"),
    }[kind]
    image = save(tmp_path / "image.ome.zarr", noise, axes)
    context, _ = run(tmp_path, image, threshold={"method": method})
    assert context.details["objects"] == 0
    assert any("within the noise of the background" in warning for warning in context.warnings)


def test_dim_objects_in_noise_are_found_where_the_threshold_lay_in_it(tmp_path):
    plane = np.random.default_rng(0).normal(100, 10, (300, 300))
    for cy, cx in ((50, 60), (150, 220), (250, 80)):
        y, x = np.ogrid[:300, :300]
        plane += 40 * ((y - cy) ** 2 + (x - cx) ** 2 <= 64)
    image = save(tmp_path / "image.ome.zarr", np.rint(plane).astype(np.uint16), "YX")
    assert run(tmp_path, image)[0].details["objects"] == 3


def test_progress_is_told_on_the_way_and_ends_complete(tmp_path):
    image = save(tmp_path / "image.ome.zarr", discs(), "YX")
    told = []
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    context = Context(scratch=scratch, progress=lambda *step: told.append(step))
    STEP.run({"image": image}, {"labels": tmp_path / "l"}, SegmentObjectsParams(), context)
    done, totals = zip(*told, strict=True)
    assert list(done) == sorted(done)
    assert len(set(done)) > 8
    assert done[-1] == totals[-1]


def test_an_rgb_image_is_a_warning_that_names_the_channel(tmp_path):
    colours = np.stack([discs().clip(0, 255)] * 3).astype(np.uint8)
    image = save(tmp_path / "image.ome.zarr", colours, "CYX", rgb=True, channels=RGB)
    context, _ = run(tmp_path, image, channel=1)
    assert "bright objects are looked for in Green alone" in context.warnings[0]


def crowd(side=400):
    """Return a plane of discs that touch, in one connected region."""
    rng = np.random.default_rng(0)
    y, x = np.indices((side, side))
    places = np.arange(16, side - 8, 22)
    plane = np.full((side, side), 120.0)
    for cy, cx in itertools.product(places, places):
        square = (y - cy - rng.uniform(-4, 4)) ** 2 + (x - cx - rng.uniform(-4, 4)) ** 2
        plane = np.maximum(plane, 100 + 400 * np.exp(-square / 100.0))
    return np.rint(plane).astype(np.uint16), len(places) ** 2


def test_a_region_beyond_the_memory_is_divided_in_windows_and_told(tmp_path):
    plane, number = crowd()
    image = save(tmp_path / "image.ome.zarr", plane, "YX")
    chosen = {"threshold": {"method": "manual", "value": 110}, "edge_fraction": None}
    whole_context, expected = run(tmp_path, image, **chosen)
    assert "components_in_windows" not in whole_context.details
    context, labels = run(tmp_path, image, threads=2, whole_mib=4, **chosen)
    assert context.details["components_in_windows"] == 1
    assert abs(whole_context.details["objects"] - number) < 5
    assert abs(context.details["objects"] - whole_context.details["objects"]) <= 1
    assert context.details["cut_by_tiles"] == 0
    assert context.details["seams"]["significant"] is False
    assert any("overlapping windows" in warning for warning in context.warnings)
    boundaries = [np.abs(np.diff(pixels(path)[0, 0, 0], axis=1)) > 0 for path in (labels, expected)]
    assert (boundaries[0] != boundaries[1]).mean() < 0.01


def many_discs(side=420):
    """Return a plane of discs in random places, none of them cut."""
    rng = np.random.default_rng(1)
    plane = np.full((side, side), 10, np.uint8)
    y, x = np.indices((13, 13)) - 6
    for cy, cx in rng.integers(7, side - 7, (500, 2)):
        window = plane[cy - 6 : cy + 7, cx - 6 : cx + 7]
        window[y**2 + x**2 <= rng.uniform(3, 6) ** 2] = 200
    return plane


MASK = {
    "threshold": {"method": "manual", "value": 100},
    "seeds": {"method": "none"},
    "edge_fraction": None,
    "smoothing_px": 0,
}


@pytest.mark.parametrize("params", [{}, MASK])
def test_seams_of_the_image_itself_are_told_at_the_borders_of_blocks(tmp_path, monkeypatch, params):
    monkeypatch.setattr(thick_blocks, "BLOCK_SIDE", 70)
    plane = many_discs()
    cut = plane.copy()
    cut[69::70] = cut[:, 69::70] = 10
    fine = {"chunk_px": 35}
    whole_image, with_seams = (
        save(tmp_path / f"{name}.ome.zarr", pixels, "YX", options=ZarrOptions(**fine))
        for name, pixels in {"whole": plane, "cut": cut}.items()
    )
    context, _ = run(tmp_path, whole_image, **params)
    score = context.details["seams"]
    assert (score["borders"], score["significant"]) == ("blocks", False)
    assert score["near"] > 50
    assert not any("borders" in warning for warning in context.warnings)
    context, _ = run(tmp_path, with_seams, **params)
    assert context.details["seams"]["significant"] is True
    assert any("so that the image has seams of its own" in told for told in context.warnings)


def test_one_block_has_no_seams(tmp_path):
    image = save(tmp_path / "image.ome.zarr", many_discs(), "YX")
    context, _ = run(tmp_path, image)
    assert "seams" not in context.details


def test_labels_of_64_bits_are_told_written_and_measured(tmp_path, monkeypatch):
    image = save(tmp_path / "image.ome.zarr", discs(), "YX", y_um=0.5, x_um=0.5)
    _, narrow = run(tmp_path, image)
    monkeypatch.setattr(objects, "NARROW", 5)
    context, wide = run(tmp_path, image)
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


@pytest.mark.parametrize("name", ["min_diameter_px", "max_diameter_px", "max_diameter_um"])
@pytest.mark.parametrize("value", [float("inf"), 1e200])
def test_absurd_diameters_are_refused_before_any_work(name, value):
    with pytest.raises(ValidationError, match=name):
        SegmentObjectsParams.model_validate({name: value})


@pytest.mark.parametrize(
    "values",
    [
        {"min_diameter_px": 10, "max_diameter_px": 5},
        {"max_diameter_px": 3},  # below the default
        {"min_diameter_um": 2.0, "max_diameter_um": 1.5},
    ],
)
def test_limits_that_keep_nothing_are_refused_before_any_work(values):
    with pytest.raises(ValidationError, match=r"max_diameter_.. .* is below min_diameter_.."):
        SegmentObjectsParams.model_validate(values)


@pytest.mark.parametrize(
    "values",
    [
        {"max_diameter_um": 1.0},  # what is in micrometres replaces pixels
        {"max_diameter_px": 3, "max_diameter_um": 20.0},
        {"min_diameter_um": 2.0, "max_diameter_px": 1},  # the image tells
        {"min_diameter_px": 4, "max_diameter_px": 4},
    ],
)
def test_limits_that_may_keep_something_are_taken(values):
    assert SegmentObjectsParams.model_validate(values)


def test_limits_of_different_units_that_keep_nothing_are_refused(tmp_path):
    image = save(tmp_path / "image.ome.zarr", discs(), "YX", y_um=0.5, x_um=0.5)
    with pytest.raises(ConfigurationError, match="smaller than the smallest"):
        run(tmp_path, image, min_diameter_px=10, max_diameter_um=4.9)


@pytest.mark.parametrize(("brightest", "told"), [(10.0, 0), (1e9, 1)])
def test_it_is_told_where_brightness_is_rounded_beside_the_threshold(tmp_path, brightest, told):
    plane = np.zeros((16, 16), np.float32)
    plane[2:9, 2:9] = 0.6
    plane[12:, 12:] = brightest
    image = save(tmp_path / "image.ome.zarr", plane, "YX")
    threshold = {"method": "manual", "value": 0.5}
    context, _ = run(tmp_path, image, threshold=threshold, smoothing_px=0)
    assert sum("coarse beside the threshold" in line for line in context.warnings) == told


def test_scratch_storage_is_given_back_before_the_labels_are_written(tmp_path, monkeypatch):
    write, left = images.write_ome_zarr, []

    def look(*args, **kwargs):
        left.append(len(list(tmp_path.glob("scratch*/*.raw"))))
        write(*args, **kwargs)

    image = save(tmp_path / "image.ome.zarr", discs(), "YX")
    monkeypatch.setattr(images, "write_ome_zarr", look)
    run(tmp_path, image)
    run(tmp_path, image, seeds={"method": "none"}, edge_fraction=None)
    assert left == [1, 1]


def implausible(context):
    words = ("background was taken", "noise may have been taken")
    return [word for word in words if any(word in warning for warning in context.warnings)]


def test_how_much_of_the_image_is_object_is_recorded(tmp_path):
    image = save(tmp_path / "image.ome.zarr", discs(), "YX")
    context, path = run(tmp_path, image)
    assert context.details["object_share"] == np.count_nonzero(pixels(path)) / (80 * 90)
    assert not implausible(context)


def test_noise_that_is_taken_for_objects_is_warned_of(tmp_path):
    noise = np.random.default_rng(0).poisson(100, (300, 300)).astype(np.uint16)
    image = save(tmp_path / "image.ome.zarr", noise, "YX")
    context, _ = run(tmp_path, image, threshold={"method": "manual", "value": 100})
    assert implausible(context) == ["noise may have been taken"]
    context, _ = run(tmp_path, image, threshold={"method": "manual", "value": 60})
    assert implausible(context) == ["background was taken"]
    assert not implausible(run(tmp_path, image)[0])  # by default nothing is found in noise


def test_a_model_that_sees_objects_in_noise_is_warned_of(tmp_path):
    noise = np.random.default_rng(0).poisson(100, (300, 300)).astype(np.uint16)
    image = save(tmp_path / "image.ome.zarr", noise, "YX")
    model = {"method": "onnx", "path": str(blur(tmp_path / "model.onnx")), "halo_px": 8}
    assert implausible(run(tmp_path, image, model=model)[0]) == ["noise may have been taken"]
    low = model | {"threshold": 0.1}
    assert implausible(run(tmp_path, image, model=low)[0]) == ["background was taken"]
