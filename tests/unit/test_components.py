from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from memory_images import MemoryImage
from parfocal.analysis.components import label_components, label_mask, number_block
from parfocal.core.blocks import iter_blocks, whole
from parfocal.core.scheduler import Threads


class Volume(MemoryImage):
    def write(self, region, block):
        self.pixels[region] = block


@dataclass(frozen=True)
class Block:
    mask: np.ndarray
    region: tuple

    def read(self):
        return self.mask[self.region[2:]]


def label(mask, block, *, planar=False, threads=1):
    """Label a (Z, Y, X) mask in blocks, and return the components and their image."""
    volume = Volume(np.zeros((1, 1, *mask.shape), np.uint32))
    blocks = list(iter_blocks(whole(volume.shape5), (1, 1, *block)))
    masks = [Block(mask, region) for region in blocks]
    found = label_components(masks, volume, planar=planar, scheduler=Threads(threads))
    for region, table in zip(blocks, found.tables(), strict=True):
        number_block(volume, volume, region, table)
    return found, volume.pixels[0, 0]


def same_partition(one, other):
    pairs = {*zip(one.ravel().tolist(), other.ravel().tolist(), strict=True)}
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


MASKS = st.builds(
    lambda shape, seed, density: np.random.default_rng(seed).random(shape) < density,
    st.tuples(st.integers(1, 6), st.integers(1, 14), st.integers(1, 14)),
    st.integers(0, 999),
    st.sampled_from([0.1, 0.35, 0.6, 0.9]),
)


@given(
    mask=MASKS,
    block=st.tuples(st.integers(1, 6), st.integers(1, 14), st.integers(1, 14)),
    threads=st.integers(1, 2),
)
@settings(max_examples=80)
def test_blocks_give_the_components_of_the_whole(mask, block, threads):
    found, image = label(mask, block, threads=threads)
    expected, count = ndimage.label(mask)
    assert len(found) == count
    assert same_partition(image, expected)
    assert (image > 0).tolist() == mask.tolist()
    for number in range(1, count + 1):
        places = np.argwhere(image == number)
        assert found.counts[number] == len(places)
        assert found.lower[number].tolist() == places.min(0).tolist()
        assert found.upper[number].tolist() == (places.max(0) + 1).tolist()
        assert found.firsts[number] == np.ravel_multi_index(places[0], mask.shape)


@given(mask=MASKS, block=st.tuples(st.just(1), st.integers(1, 14), st.integers(1, 14)))
@settings(max_examples=30)
def test_planes_stay_apart(mask, block):
    found, image = label(mask, block, planar=True)
    apart = ndimage.generate_binary_structure(3, 1)
    apart[0] = apart[2] = False
    expected, count = ndimage.label(mask, apart)
    assert len(found) == count
    assert same_partition(image, expected)


def test_pixels_that_touch_by_a_corner_are_apart():
    labels, count = label_mask(np.eye(3, dtype=bool))
    assert count == 3
    assert sorted(labels.diagonal()) == [1, 2, 3]
