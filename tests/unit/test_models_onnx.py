"""Learned models in ONNX files find the same objects for any tiles."""

from __future__ import annotations

import itertools
import pickle
import sys
from typing import ClassVar

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import ndimage

from memory_images import MemoryImage, five, save
from onnx_networks import blur, blurred, components
from parfocal.analysis.models.loading import open_model
from parfocal.analysis.models.probability import to_probability
from parfocal.analysis.models.segment import ModelRun, prepare
from parfocal.core.blocks import whole
from parfocal.core.digest import digest_path
from parfocal.core.scheduler import Threads
from parfocal.core.step import Context
from parfocal.errors import ConfigurationError, InputError
from parfocal.images import open_image
from parfocal.models.image import ImageMetadata
from parfocal.models.model_options import OnnxModel
from parfocal.steps.segment_objects import STEP, SegmentObjectsParams

_numbers = itertools.count()


class Pickled:
    """Work is packed and unpacked, as for another process."""

    local = False
    workers = 2

    def map(self, work, items):
        for item in items:
            yield pickle.loads(pickle.dumps(work))(item)


def discs(*shape, radius=7, count=12, seed=0):
    """Return an image (Y, X) or (Z, Y, X) of bright discs or balls, some touching."""
    rng = np.random.default_rng(seed)
    image = rng.poisson(20, shape).astype(np.uint16)
    grid = np.indices(shape)
    for _ in range(count):
        centre = [rng.uniform(0, size) for size in shape]
        far = sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True))
        image[far <= radius**2] = 220
    return image


def prepared(options, image, *, channels=(0,), scheduler=None, mode="auto", **sizes):
    source = image if isinstance(image, MemoryImage) else five(image)
    metadata = ImageMetadata(
        name="a", axes="TCZYX", shape=source.shape5, dtype=source.dtype.name, **sizes
    )
    handle = open_model(options, len(channels))
    return prepare(
        handle,
        source,
        metadata,
        tuple(channels),
        block5=(1, 1, 1, 32, 32),
        mode=mode,
        scheduler=scheduler or Threads(1),
    )


class Volume(MemoryImage):
    """Scratch storage in memory."""

    def write(self, region, block):
        assert block.dtype == self.pixels.dtype
        self.pixels[region] = block


class Kept:
    """Makes scratch storage that stays the same when it is pickled."""

    volumes: ClassVar = {}

    def __call__(self, shape, dtype, block):
        number = next(_numbers)
        self.volumes[number] = Volume(np.zeros(shape, dtype))
        return _Reference(number)


class _Reference:
    def __init__(self, number):
        self.number = number

    def __getattr__(self, name):
        if name in ("number", "__getstate__", "__setstate__"):
            raise AttributeError(name)
        return getattr(Kept.volumes[self.number], name)


def run_of(scheduler):
    return ModelRun(Kept(), scheduler, lambda done, total: None)


def run_step(folder, image, threads=1, **params):
    """Run the step, and return its context and the labels."""
    scratch = folder / f"scratch{next(_numbers)}"
    scratch.mkdir()
    context = Context(scratch=scratch, threads=threads)
    labels = folder / f"labels{next(_numbers)}.ome.zarr"
    chosen = SegmentObjectsParams.model_validate(params)
    STEP.run({"image": image}, {"labels": labels}, chosen, context)
    assert not list(scratch.iterdir()), "scratch is left behind"
    with open_image(labels) as written:
        return context, written.read(whole(written.shape5))


# Probabilities


@pytest.mark.parametrize("shape", [(75, 90), (11, 40, 45)], ids=["plane", "volume"])
def test_probabilities_are_those_of_the_whole_image_for_any_tiles(tmp_path, shape):
    planes = len(shape) == 2
    image = discs(*shape)
    path = blur(tmp_path / "model.onnx", len(shape))
    low, high = np.percentile(image, (1, 99.8), method="inverted_cdf")
    expected = blurred((image - float(low)) / (float(high) - float(low)))
    found = []
    for tile, halo, scheduler in ((None, 2, Threads(1)), (24, 4, Threads(3)), (16, 2, Pickled())):
        deep = {} if planes else {"tile_planes": tile and 7, "halo_planes": 2}
        options = OnnxModel(path=str(path), tile_px=tile, halo_px=halo, **deep)
        volume, _ = prepared(options, image).probability(run_of(scheduler))
        found.append(volume.read(whole(volume.shape5)).reshape(shape))
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=2e-6)
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found[2], found[0], rtol=0, atol=1e-6)


def test_a_halo_that_is_too_small_shows_in_the_probabilities(tmp_path):
    """Shows that the test before can fail."""
    image = discs(75, 90)
    path = str(blur(tmp_path / "model.onnx"))
    volumes = [
        prepared(OnnxModel(path=path, tile_px=tile, halo_px=0), image).probability(
            run_of(Threads(1))
        )[0]
        for tile in (16, 128)
    ]
    one, other = (volume.read(whole(volume.shape5)) for volume in volumes)
    assert abs(one - other).max() > 0.01


@pytest.mark.parametrize("mode", ["plane", "volume"])
def test_the_step_finds_the_same_objects_for_any_tiles_and_threads(tmp_path, mode):
    stack = np.stack([discs(64, 70, seed=seed) for seed in (1, 2)])
    image = save(tmp_path / "image.ome.zarr", stack, "ZYX")
    path = str(blur(tmp_path / "model.onnx"))
    found = []
    for tile, threads in ((None, 1), (16, 3), (40, 2)):
        model = {"method": "onnx", "path": path, "tile_px": tile, "halo_px": 4}
        context, labels = run_step(tmp_path, image, threads, model=model, mode=mode)
        assert context.warnings == []
        assert context.details["objects"] == labels.max() > 5
        assert context.details["threshold"] == pytest.approx(0.5, abs=1e-4)
        found.append(labels)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


def test_the_model_sees_the_channels_of_the_list_in_its_order(tmp_path):
    planes = np.stack([discs(40, 40, seed=seed) for seed in (1, 2, 3)])
    image = five(planes[None, :, None])
    path = blur(tmp_path / "model.onnx", weights=(1.0, 0.0))
    options = OnnxModel(path=str(path), halo_px=2)

    def probability(*channels):
        volume, _ = prepared(options, image, channels=channels).probability(run_of(Threads(1)))
        return volume.read(whole((1, 1, 1, 40, 40)))

    first = probability(2, 0)
    assert np.array_equal(first, probability(2, 1))
    assert not np.array_equal(first, probability(0, 2))


def test_channels_may_come_last_and_sizes_may_be_fixed(tmp_path):
    image = discs(50, 60)
    found = []
    for name, given in (("any", {}), ("last", {"last": True}), ("fixed", {"size": 32})):
        path = blur(tmp_path / f"{name}.onnx", **given)
        fitted = prepared(OnnxModel(path=str(path), halo_px=2), image)
        volume, _ = fitted.probability(run_of(Threads(1)))
        found.append(volume.read(whole(volume.shape5)))
        assert fitted.tiles.tile == ((1, 32, 32) if name == "fixed" else (1, 64, 64))
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found[2], found[0], rtol=0, atol=1e-6)


def test_pixels_without_a_value_are_background(tmp_path):
    image = discs(50, 60).astype(np.float32)
    image[20:30, 20:30] = np.nan
    saved = save(tmp_path / "image.ome.zarr", image, "YX")
    model = {"method": "onnx", "path": str(blur(tmp_path / "model.onnx")), "halo_px": 4}
    context, labels = run_step(tmp_path, saved, model=model)
    assert (labels[0, 0, 0, 20:30, 20:30] == 0).all()
    assert labels.max() > 0
    assert context.warnings == ["100 pixels are NaN or infinite: they count as background"]


def test_logits_are_refused_unless_the_activation_is_told(tmp_path):
    image = discs(40, 40)
    path = str(blur(tmp_path / "model.onnx", logits=True))
    with pytest.raises(InputError, match=r"no probability.*from 0 to 1.*Set activation"):
        prepared(OnnxModel(path=path), image).probability(run_of(Threads(1)))
    told, _ = prepared(OnnxModel(path=path, activation="sigmoid"), image).probability(
        run_of(Threads(1))
    )
    plain, _ = prepared(OnnxModel(path=str(blur(tmp_path / "other.onnx"))), image).probability(
        run_of(Threads(1))
    )
    here = whole(told.shape5)
    np.testing.assert_allclose(told.read(here), plain.read(here), rtol=0, atol=1e-6)


def test_a_boundary_is_taken_off_and_softmax_is_over_channels():
    output = np.array([2.0, 1.0, 0.5], np.float32).reshape(3, 1, 1, 1)
    share = np.exp(output) / np.exp(output).sum()
    options = OnnxModel(path="x", foreground_channel=1, boundary_channel=2)
    found = to_probability(output, options, "softmax")
    np.testing.assert_allclose(found, share[1] * (1 - share[2]), rtol=1e-6)
    with pytest.raises(InputError, match="no such channel"):
        to_probability(output[:2], options, "softmax")


# Labels


def expected_labels(image, limits):
    """Return the partition that the network `components` finds."""
    full = np.ones((3,) * image.ndim)
    labels, _ = ndimage.label(image > 110, full)
    sizes = np.bincount(labels.ravel())
    keep = sizes >= limits
    keep[0] = False
    return np.where(keep[labels], labels, 0)


def same_partition(one, other):
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1)
    return len(pairs[0]) == len(np.unique(pairs[0])) == len(np.unique(pairs[1]))


@pytest.mark.parametrize(("tile", "halo"), [(None, 16), (48, 16), (64, 20), (100, 32)])
def test_labels_are_joined_to_those_of_the_whole_image(tmp_path, tile, halo):
    image = discs(90, 110, radius=5, count=14)
    saved = save(tmp_path / "image.ome.zarr", image, "YX")
    path = str(components(tmp_path / "model.onnx"))
    model = {"method": "onnx", "path": path, "output": "labels", "tile_px": tile, "halo_px": halo}
    context, labels = run_step(tmp_path, saved, 3, model=model, min_diameter_px=0)
    expected = expected_labels(image, 1)
    assert same_partition(labels[0, 0, 0], expected)
    assert context.warnings == []
    assert context.details["objects"] == expected.max() == labels.max()
    firsts = [np.flatnonzero(labels == number)[0] for number in range(1, labels.max() + 1)]
    assert firsts == sorted(firsts)


def test_labels_of_volumes_are_joined_and_small_ones_dropped(tmp_path):
    stack = discs(20, 60, 70, radius=4, count=8, seed=5)
    stack[0, 0, 0] = 220  # one pixel
    saved = save(tmp_path / "image.ome.zarr", stack, "ZYX")
    path = str(components(tmp_path / "model.onnx", dimensions=3, steps=40))
    found = []
    for tile, planes in ((48, 30), (100, 42)):
        model = {"method": "onnx", "path": path, "output": "labels", "tile_px": tile}
        model |= {"halo_px": 12, "tile_planes": planes, "halo_planes": planes // 3}
        context, labels = run_step(tmp_path, saved, 2, model=model, min_diameter_px=2)
        assert context.details["dropped_too_small"] == 1
        found.append(labels[0, 0])
        assert same_partition(found[-1], expected_labels(stack, 2))
    assert np.array_equal(found[0], found[1])


def test_planes_and_times_are_numbered_on(tmp_path):
    stack = np.stack([discs(40, 44, radius=5, count=5, seed=seed) for seed in range(4)]).reshape(
        2, 2, 40, 44
    )
    saved = save(tmp_path / "image.ome.zarr", stack, "TZYX")
    path = str(components(tmp_path / "model.onnx"))
    model = {"method": "onnx", "path": path, "output": "labels"}
    context, labels = run_step(tmp_path, saved, model=model, min_diameter_px=0)
    parts = [labels[t, 0, z] for t in range(2) for z in range(2)]
    most = 0
    for part, plane in zip(parts, stack.reshape(4, 40, 44), strict=True):
        assert same_partition(part, expected_labels(plane, 1))
        assert set(np.unique(part)) - {0} == set(range(most + 1, part.max() + 1))
        most = part.max()
    assert context.details["objects"] == most


def test_objects_larger_than_the_halo_are_joined_and_counted(tmp_path):
    image = np.full((40, 150), 20, np.uint16)
    image[10:16, 5:140] = 220
    image[30:34, 60:66] = 220
    saved = save(tmp_path / "image.ome.zarr", image, "YX")
    path = str(components(tmp_path / "model.onnx", steps=64))
    model = {"method": "onnx", "path": path, "output": "labels", "tile_px": 64, "halo_px": 16}
    context, labels = run_step(tmp_path, saved, model=model)
    assert same_partition(labels[0, 0, 0], expected_labels(image, 1))
    assert (context.details["objects"], context.details["merged_from_tiles"]) == (2, 1)


def test_fractions_are_no_labels(tmp_path):
    model = {"method": "onnx", "path": str(blur(tmp_path / "model.onnx")), "output": "labels"}
    saved = save(tmp_path / "image.ome.zarr", discs(40, 40), "YX")
    with pytest.raises(InputError, match=r"no labels.*whole numbers"):
        run_step(tmp_path, saved, model=model)


# What cannot be used


def test_a_url_is_no_path():
    with pytest.raises(ValidationError, match=r"not downloaded\. Export your network"):
        OnnxModel(path="https://example.org/model.onnx")


def refused(path, image=None, *, error=InputError, match, channels=(0,), mode="auto", **options):
    given = {"path": str(path)} | options
    with pytest.raises(error, match=match):
        prepared(
            OnnxModel(**given),
            discs(40, 40) if image is None else image,
            channels=channels,
            mode=mode,
        )


def test_files_that_are_no_models_are_told(tmp_path):
    refused(tmp_path / "none.onnx", match=r"no such model.*not downloaded.*Export")
    refused(tmp_path, match="not a file")
    (tmp_path / "text.onnx").write_text("nonsense")
    refused(tmp_path / "text.onnx", match="no ONNX model")
    path = blur(tmp_path / "model.onnx")
    content = path.read_bytes()
    (tmp_path / "half.onnx").write_bytes(content[: len(content) // 2])
    refused(tmp_path / "half.onnx", match="no ONNX model")


def test_models_that_do_not_fit_the_image_are_told(tmp_path):
    path = blur(tmp_path / "model.onnx", weights=(1.0, 1.0, 1.0))
    refused(path, error=ConfigurationError, match=r"number of channels.*expected 3; found 1")
    volumes = blur(tmp_path / "volumes.onnx", 3)
    refused(volumes, error=ConfigurationError, match="one plane")
    labels = components(tmp_path / "labels.onnx", steps=1)
    refused(labels, output="labels", mode="volume", error=ConfigurationError, match="another kind")


def test_tiles_that_are_too_small_or_of_the_wrong_size_are_told_before_any_work(tmp_path):
    path = blur(tmp_path / "model.onnx")
    smaller = r"smaller than its halo.*at least 3 x halo_px.*tile_px 64, halo_px 32"
    refused(path, tile_px=64, halo_px=32, error=ConfigurationError, match=smaller)
    fixed = blur(tmp_path / "fixed.onnx", size=64)
    refused(fixed, tile_px=128, error=ConfigurationError, match=r"one size only.*expected 64")
    refused(fixed, halo_px=30, error=ConfigurationError, match="smaller than its halo")


def test_a_gpu_that_is_not_there_is_told(tmp_path):
    path = blur(tmp_path / "model.onnx")
    refused(path, device="cuda", error=ConfigurationError, match=r"no GPU.*device=cpu")


def test_pixel_sizes_are_compared(tmp_path):
    options = OnnxModel(path=str(blur(tmp_path / "model.onnx")), pixel_size_um=0.5)
    image = discs(40, 40)
    assert prepared(options, image, x_um=0.52).warnings == []
    (near,) = prepared(options, image, x_um=0.6).warnings
    assert "pixels of 0.5 um" in near
    (unknown,) = prepared(options, image).warnings
    assert "does not tell" in unknown
    with pytest.raises(InputError, match=r"another size.*expected 0\.5 um; found 1\.2 um"):
        prepared(options, image, x_um=1.2)


def test_a_library_that_is_missing_is_told_with_its_extra(tmp_path, monkeypatch):
    path = blur(tmp_path / "model.onnx", weights=(0.5,))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    missing = r"needs onnxruntime.*pip install 'parfocal\[models\]'"
    refused(path, error=ConfigurationError, match=missing)


def test_a_model_that_is_changed_under_way_is_told(tmp_path):
    path = blur(tmp_path / "model.onnx", weights=(0.25,))
    handle = open_model(OnnxModel(path=str(path)), 1)
    blur(path, weights=(0.125,), logits=True)
    with pytest.raises(InputError, match="changed while it was used"):
        handle.predictor()


# Records


def test_the_record_tells_the_model_and_the_key_its_bytes(tmp_path):
    saved = save(tmp_path / "image.ome.zarr", discs(40, 40), "YX")
    path = blur(tmp_path / "model.onnx")
    model = {"method": "onnx", "path": str(path), "halo_px": 4, "device": "cpu"}
    context, _ = run_step(tmp_path, saved, model=model)
    told = context.details["model"]
    assert told["digest"] == digest_path(path)
    assert told["runtime"].startswith("onnxruntime 1.")
    assert (told["tile"], told["halo"]) == ([1, 64, 64], [0, 4, 4])
    assert (told["device"], told["exactness"]) == ("cpu", "exact")
    params = SegmentObjectsParams.model_validate({"model": model})
    before = STEP.state(params, None)
    blur(path, weights=(0.9,))
    assert STEP.state(params, None) not in (before, STEP.state(SegmentObjectsParams(), None))
    path.unlink()
    assert "missing" in STEP.state(params, None)


def test_parameters_without_effect_are_warned_of(tmp_path):
    saved = save(tmp_path / "image.ome.zarr", discs(40, 40), "YX")
    model = {"method": "onnx", "path": str(blur(tmp_path / "model.onnx")), "min_iou": 0.3}
    context, _ = run_step(
        tmp_path, saved, model=model, smoothing_px=2, threshold={"method": "otsu"}
    )
    assert [warning.split(" is set")[0] for warning in context.warnings] == [
        "smoothing_px",
        "threshold",
        "model.min_iou",
    ]
