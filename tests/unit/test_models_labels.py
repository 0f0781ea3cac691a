"""Networks that give labels find the same objects for any tiles."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from memory_images import save
from model_runs import discs, prepared, run_of, run_step
from onnx_networks import blur, components
from parfocal.analysis.objects import SizeLimits
from parfocal.core.scheduler import Threads
from parfocal.errors import InputError
from parfocal.models.model_options import OnnxModel


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


def test_scratch_storage_does_not_grow_with_the_number_of_planes(tmp_path):
    options = OnnxModel(path=str(components(tmp_path / "model.onnx", steps=4)), output="labels")
    made = []
    for planes in (2, 5):
        run = run_of(Threads(1))
        make, calls = run.make_volume, []

        def count(*given, make=make, calls=calls):
            calls.append(given)
            return make(*given)

        stack = np.stack([discs(20, 24, radius=2, seed=seed) for seed in range(planes)])
        limits = SizeLimits(1, None)
        prepared(options, stack).labels(limits, dataclasses.replace(run, make_volume=count))
        made.append(len(calls))
    assert made[0] == made[1]


def test_planes_are_seen_while_those_before_them_are_joined(tmp_path):
    options = OnnxModel(path=str(components(tmp_path / "model.onnx", steps=4)), output="labels")
    asked = []

    class Counting(Threads):
        """Counts what it is asked to do at a time."""

        def map(self, work, items):
            items = list(items)
            asked.append(len(items))
            return super().map(work, items)

    stack = np.stack([discs(20, 24, radius=2, seed=seed) for seed in range(5)])
    told = []
    given = dataclasses.replace(run_of(Counting(2)), progress=lambda *done: told.append(done))
    prepared(options, stack).labels(SizeLimits(1, None), given)
    assert asked[0] == 5  # one tile a plane
    assert told == [(done, 5) for done in range(1, 6)]


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
