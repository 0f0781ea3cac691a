from __future__ import annotations

import numpy as np
import pytest

from parfocal.analysis.voxels import Voxels
from parfocal.analysis.watershed import SplitSettings, basins, merge_basins, split_component


def settings(seeds="distance", prominence=0.1, edge=None, spacing=(1.0, 1.0), *, fill=True):
    return SplitSettings(seeds, prominence, edge, fill, spacing)


def split(mask, levels, background, chosen):
    """Divide the component that `mask` shows, and return its objects as an image."""
    labels = np.zeros(mask.shape, np.int32)
    voxels = Voxels.of_indices(np.nonzero(mask), mask.shape)
    labels[mask] = split_component(voxels, levels[mask], background, chosen)
    return labels


def discs(shape, *circles):
    """Return a mask of discs, each (y, x, radius)."""
    y, x = np.indices(shape)
    mask = np.zeros(shape, bool)
    for cy, cx, radius in circles:
        mask |= (y - cy) ** 2 + (x - cx) ** 2 <= radius**2
    return mask


def count(labels):
    return len(np.unique(labels)) - 1


def test_two_touching_discs_are_divided_at_their_neck():
    mask = discs((31, 51), (15, 16, 10), (15, 34, 10))
    labels = split(mask, np.ones(mask.shape, np.uint16), 1, settings())
    assert count(labels) == 2
    assert (labels > 0).tolist() == mask.tolist()
    assert len(np.unique(labels[:, :25][mask[:, :25]])) == 1
    assert len(np.unique(labels[:, 26:][mask[:, 26:]])) == 1


def test_without_seeds_they_stay_one():
    mask = discs((31, 51), (15, 16, 10), (15, 34, 10))
    labels = split(mask, np.ones(mask.shape, np.uint16), 1, settings("none"))
    assert count(labels) == 1


@pytest.mark.parametrize(("prominence", "objects"), [(0.05, 2), (0.95, 1)])
def test_prominence_decides_how_deep_a_neck_must_be(prominence, objects):
    mask = discs((31, 51), (15, 16, 10), (15, 34, 10))
    chosen = settings(prominence=prominence)
    assert count(split(mask, np.ones(mask.shape, np.uint16), 1, chosen)) == objects


def test_brightness_divides_what_shape_cannot():
    mask = np.zeros((11, 43), bool)
    mask[1:-1, 1:-1] = True
    x = np.arange(43)
    profile = 100 + 900 * (np.exp(-((x - 11) ** 2) / 50) + np.exp(-((x - 31) ** 2) / 50))
    levels = np.broadcast_to(profile.astype(np.uint16), mask.shape).copy()
    assert count(split(mask, levels, 100, settings("distance"))) == 1
    assert count(split(mask, levels, 100, settings("intensity"))) == 2
    assert count(split(mask, levels, 100, settings("combined"))) == 2


def test_the_edge_lies_halfway_to_the_brightness_of_each_object():
    mask = np.zeros((1, 40), bool)
    mask[0, 4:16] = True
    levels = np.full((1, 40), 100, np.uint16)
    levels[0, 5:15] = [200, 400, 590, 600, 1000, 1000, 1000, 1000, 600, 200]
    found = split(mask, levels, 100, settings("none", edge=0.5))
    assert np.flatnonzero(found[0]).tolist() == list(range(7, 14))


def test_a_dim_object_beside_a_bright_one_keeps_its_own_edge():
    mask = discs((31, 61), (15, 15, 10), (15, 40, 10))
    mask[14:17, 20:35] = True
    levels = np.full(mask.shape, 10, np.uint16)
    levels[discs(mask.shape, (15, 15, 8))] = 2000
    levels[discs(mask.shape, (15, 40, 8))] = 200
    found = split(mask, levels, 10, settings("distance", edge=0.5))
    expected = discs(mask.shape, (15, 15, 8), (15, 40, 8))
    assert (found > 0).tolist() == expected.tolist()
    assert count(found) == 2


@pytest.mark.parametrize(("fill", "inside"), [(True, True), (False, False)])
def test_dark_spots_that_the_edge_cuts_out_are_filled_on_demand(fill, inside):
    mask = discs((31, 31), (15, 15, 12))
    levels = np.where(mask, 1000, 10).astype(np.uint16)
    levels[15, 15] = 20
    found = split(mask, levels, 10, settings("none", edge=0.5, fill=fill))
    assert bool(found[15, 15]) is inside


def test_basins_cover_the_mask_and_merge_in_order_of_their_saddles():
    heights = np.array([5, 4, 6, 2, 8, 1, 3], np.float32)
    voxels = Voxels.of_indices(np.nonzero(np.ones((1, 7), bool)), (1, 7))
    labels = basins(voxels, heights)
    assert labels.tolist() == [1, 2, 2, 3, 3, 3, 4]
    merged = merge_basins(voxels, labels, heights, 0.3)
    assert merged[0] == merged[2]
    assert len({int(merged[i]) for i in (0, 4, 6)}) == 3
    assert len(np.unique(merge_basins(voxels, labels, heights, 0.99))) == 1


def test_a_plateau_is_one_object_of_whatever_shape_and_prominence():
    mask = np.zeros((9, 12), bool)
    mask[1:8, 1:3] = mask[1:8, 5:7] = mask[1:8, 9:11] = mask[6:8, 1:11] = True
    for prominence in (0.0, 0.1):
        assert count(split(mask, np.where(mask, 9, 1), 1, settings("intensity", prominence))) == 1


def test_a_single_pixel_is_an_object():
    mask = np.ones((1, 1), bool)
    levels = np.full((1, 1), 9, np.uint16)
    assert split(mask, levels, 1, settings("combined", edge=0.5)).tolist() == [[1]]
