from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from memory_images import five
from parfocal.analysis.object_boxes import find_boxes
from parfocal.analysis.tiling import Tiling
from parfocal.core.blocks import iter_blocks, whole
from parfocal.core.scheduler import Threads

TILING = Tiling((4, 9, 11), (4, 4, 4), (0, 0, 0))


@given(seed=st.integers(0, 99), block=st.tuples(*[st.integers(1, 11)] * 3))
@settings(max_examples=30, deadline=None)
def test_boxes_are_those_of_the_whole(seed, block):
    labels = np.random.default_rng(seed).integers(0, 30, (4, 9, 11))
    labels[labels > 12] = 0
    regions = iter_blocks(whole((1, 1, 4, 9, 11)), (1, 1, *block))
    found = find_boxes(five(labels), 12, TILING, regions, Threads(2))
    assert found.tiling == TILING
    assert found.sizes.tolist() == np.bincount(labels.ravel(), minlength=13)[1:].tolist()
    for number, box in enumerate(ndimage.find_objects(labels, 12)):
        if box is not None:
            assert found.lower[number].tolist() == [part.start for part in box]
            assert found.upper[number].tolist() == [part.stop for part in box]


def test_an_empty_image_has_none():
    regions = [whole((1, 1, 4, 9, 11))]
    found = find_boxes(five(np.zeros((4, 9, 11), np.uint32)), 0, TILING, regions, Threads(1))
    assert found.sizes.shape == (0,)
