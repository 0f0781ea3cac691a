from __future__ import annotations

import numpy as np
import pytest

from parfocal.analysis.watershed import (
    SplitSettings,
    basins,
    border_distance,
    merge_basins,
    split_component,
)


def settings(seeds="distance", prominence=0.1, edge=None, spacing=(1.0, 1.0), *, fill=True):
    return SplitSettings(seeds, prominence, edge, fill, spacing)


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
    labels = split_component(mask, np.ones(mask.shape, np.uint16), 1, settings())
    assert count(labels) == 2
    assert (labels > 0).tolist() == mask.tolist()
    assert len(np.unique(labels[:, :25][mask[:, :25]])) == 1
    assert len(np.unique(labels[:, 26:][mask[:, 26:]])) == 1


def test_without_seeds_they_stay_one():
    mask = discs((31, 51), (15, 16, 10), (15, 34, 10))
    labels = split_component(mask, np.ones(mask.shape, np.uint16), 1, settings("none"))
    assert count(labels) == 1


@pytest.mark.parametrize(("prominence", "objects"), [(0.05, 2), (0.95, 1)])
def test_prominence_decides_how_deep_a_neck_must_be(prominence, objects):
    mask = discs((31, 51), (15, 16, 10), (15, 34, 10))
    chosen = settings(prominence=prominence)
    assert count(split_component(mask, np.ones(mask.shape, np.uint16), 1, chosen)) == objects


def test_brightness_divides_what_shape_cannot():
    mask = np.zeros((11, 43), bool)
    mask[1:-1, 1:-1] = True
    x = np.arange(43)
    profile = 100 + 900 * (np.exp(-((x - 11) ** 2) / 50) + np.exp(-((x - 31) ** 2) / 50))
    levels = np.broadcast_to(profile.astype(np.uint16), mask.shape).copy()
    assert count(split_component(mask, levels, 100, settings("distance"))) == 1
    assert count(split_component(mask, levels, 100, settings("intensity"))) == 2
    assert count(split_component(mask, levels, 100, settings("combined"))) == 2


def test_the_edge_lies_halfway_to_the_brightness_of_each_object():
    mask = np.zeros((1, 40), bool)
    mask[0, 4:16] = True
    levels = np.full((1, 40), 100, np.uint16)
    levels[0, 5:15] = [200, 400, 590, 600, 1000, 1000, 1000, 1000, 600, 200]
    found = split_component(mask, levels, 100, settings("none", edge=0.5))
    assert np.flatnonzero(found[0]).tolist() == list(range(7, 14))


def test_a_dim_object_beside_a_bright_one_keeps_its_own_edge():
    mask = discs((31, 61), (15, 15, 10), (15, 40, 10))
    mask[14:17, 20:35] = True
    levels = np.full(mask.shape, 10, np.uint16)
    levels[discs(mask.shape, (15, 15, 8))] = 2000
    levels[discs(mask.shape, (15, 40, 8))] = 200
    found = split_component(mask, levels, 10, settings("distance", edge=0.5))
    expected = discs(mask.shape, (15, 15, 8), (15, 40, 8))
    assert (found > 0).tolist() == expected.tolist()
    assert count(found) == 2


@pytest.mark.parametrize(("fill", "inside"), [(True, True), (False, False)])
def test_dark_spots_that_the_edge_cuts_out_are_filled_on_demand(fill, inside):
    mask = discs((31, 31), (15, 15, 12))
    levels = np.where(mask, 1000, 10).astype(np.uint16)
    levels[15, 15] = 20
    found = split_component(mask, levels, 10, settings("none", edge=0.5, fill=fill))
    assert bool(found[15, 15]) is inside


def test_distances_follow_the_spacing():
    mask = np.zeros((5, 9), bool)
    mask[2, 1:8] = True
    assert border_distance(mask, (3.0, 1.0))[2].tolist() == [0, 1, 2, 3, 3, 3, 2, 1, 0]


def test_a_full_box_is_bounded_by_its_border():
    assert border_distance(np.ones((3, 3), bool), (1.0, 1.0)).tolist() == [
        [1, 1, 1],
        [1, 2, 1],
        [1, 1, 1],
    ]


def test_basins_cover_the_mask_and_merge_in_order_of_their_saddles():
    heights = np.array([[5, 4, 6, 2, 8, 1, 3]], np.float32)
    mask = np.ones(heights.shape, bool)
    labels = basins(heights, mask)
    assert labels.tolist() == [[1, 2, 2, 3, 3, 3, 4]]
    merged = merge_basins(labels, heights, 0.3)
    assert merged[0, 0] == merged[0, 2]
    assert len({int(merged[0, i]) for i in (0, 4, 6)}) == 3
    assert len(np.unique(merge_basins(labels, heights, 0.99))) == 1


def test_a_single_pixel_is_an_object():
    mask = np.ones((1, 1), bool)
    levels = np.full((1, 1), 9, np.uint16)
    assert split_component(mask, levels, 1, settings("combined", edge=0.5)).tolist() == [[1]]
