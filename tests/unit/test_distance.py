from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from parfocal.analysis import distance
from parfocal.analysis.distance import border_distance
from parfocal.analysis.voxels import Voxels


def distances(mask, spacing):
    """Return the distances of a mask as an image."""
    image = np.zeros(mask.shape, np.float32)
    image[mask] = border_distance(Voxels.of_indices(np.nonzero(mask), mask.shape), spacing)
    return image


def test_distances_follow_the_spacing():
    mask = np.zeros((5, 9), bool)
    mask[2, 1:8] = True
    assert distances(mask, (3.0, 1.0))[2].tolist() == [0, 1, 2, 3, 3, 3, 2, 1, 0]


def test_a_full_box_is_bounded_by_its_border():
    expected = [[1, 1, 1], [1, 2, 1], [1, 1, 1]]
    assert distances(np.ones((3, 3), bool), (1.0, 1.0)).tolist() == expected


@given(
    shape=st.lists(st.integers(1, 14), min_size=2, max_size=3),
    holes=st.integers(1, 5),
    seed=st.integers(0, 999),
    window=st.integers(1, 60),
    reach=st.sampled_from([0.5, 1.0, 4.0]),
)
@settings(max_examples=30)
def test_windows_give_the_distances_of_the_whole(shape, holes, seed, window, reach):
    mask = np.ones(shape, bool)
    mask.flat[np.random.default_rng(seed).integers(0, mask.size, holes)] = False
    spacing = (2.5, 1.0, 0.75)[-len(shape) :]
    expected = distance_transform_edt(mask, sampling=spacing)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distance, "WINDOW", window)
        patch.setattr(distance, "REACH", reach)
        np.testing.assert_allclose(distances(mask, spacing), expected, rtol=1e-6)
