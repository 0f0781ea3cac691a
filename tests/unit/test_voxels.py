from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parfocal.analysis import voxels
from parfocal.analysis.voxels import Voxels


@given(
    shape=st.lists(st.integers(1, 6), min_size=2, max_size=3),
    seed=st.integers(0, 999),
    chunk=st.integers(1, 30),
)
@settings(max_examples=40)
def test_pixels_keep_their_places_and_know_their_neighbours(shape, seed, chunk):
    mask = np.random.default_rng(seed).random(shape) < 0.6
    places = np.argwhere(mask)
    found = Voxels.of_indices(np.nonzero(mask), mask.shape)
    assert np.transpose(found.indices()).tolist() == places.tolist()
    expected = {
        (a, b)
        for a in range(len(places))
        for b in range(a, len(places))
        if np.abs(places[a] - places[b]).sum() == 1
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(voxels, "CHUNK", chunk)
        pairs = [pair for one, other in found.touching() for pair in zip(one, other, strict=True)]
        numbers = found.count_neighbours()
    assert set(pairs) == expected
    assert len(pairs) == len(expected)
    assert numbers.tolist() == [sum(n in pair for pair in expected) for n in range(len(places))]
    assert found.layers(1, 3) == slice(*np.searchsorted(places[:, 0], [1, 3]))
