"""Sizes and bounding boxes: those of SciPy, of each time point or plane by itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from parfocal.analysis import object_boxes
from parfocal.analysis.object_boxes import BoxTable, find_boxes
from parfocal.analysis.tiling import Tiling
from parfocal.analysis.voxels import Voxels


def boxes_of(labels):
    """Return sizes, first pixels, and the ones after the last, of labels without gaps."""
    found = ndimage.find_objects(labels)
    bounds = np.array([[(part.start, part.stop) for part in box] for box in found])
    bounds = bounds.reshape(len(found), labels.ndim, 2)
    return np.bincount(labels.ravel())[1:], bounds[..., 0], bounds[..., 1]


@given(seed=st.integers(0, 99), chunk=st.sampled_from([7, 1 << 18]))
@settings(max_examples=30)
@pytest.mark.parametrize("shape", [(4, 9, 11), (9, 11)])
def test_boxes_are_those_of_the_whole(shape, seed, chunk):
    labels = np.random.default_rng(seed).integers(0, 30, shape)
    labels = np.unique(np.where(labels > 12, 0, labels), return_inverse=True)[1].reshape(shape)
    inside = np.random.default_rng(seed).random(shape) < 0.9
    voxels = Voxels.of_indices(np.nonzero(inside), shape)
    labels = np.unique(np.where(inside, labels, 0), return_inverse=True)[1].reshape(shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(object_boxes, "CHUNK", chunk)
        found = find_boxes(voxels, labels[inside], labels.max())
    expected = boxes_of(labels if len(shape) == 3 else labels[None])
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


TILES = Tiling((6, 50, 60), (6, 25, 60), (0, 0, 0))


def table(*, planar):
    boxes = BoxTable((3, 1, 6, 50, 60), (1, 1, 2, 50, 60), planar=planar)
    boxes.add(2, np.array([7]), np.array([[5, 1, 2]]), np.array([[6, 2, 9]]))
    boxes.add(0, np.array([8, 9]), np.array([[0, 3, 4], [1, 0, 0]]), np.full((2, 3), 9))
    boxes.add(0, *(np.zeros(shape, np.int64) for shape in (0, (0, 3), (0, 3))))
    return boxes


def test_volumes_are_time_points():
    first, last = table(planar=False).volumes()
    assert first.tiling == Tiling((6, 50, 60), (2, 50, 60), (0, 0, 0))
    assert (first.sizes.tolist(), last.sizes.tolist()) == ([8, 9], [7])
    assert first.lower.tolist() == [[0, 3, 4], [1, 0, 0]]
    assert (last.lower.tolist(), last.upper.tolist()) == ([[5, 1, 2]], [[6, 2, 9]])


def test_or_planes_where_these_are_segmented_each_by_itself():
    volumes = table(planar=True).volumes(TILES)
    assert [one.sizes.tolist() for one in volumes] == [[8], [9], [7]]
    assert {one.tiling for one in volumes} == {TILES}


def test_an_empty_image_has_none():
    assert BoxTable((1, 1, 4, 9, 11), (1, 1, 4, 4, 4), planar=False).volumes() == []
