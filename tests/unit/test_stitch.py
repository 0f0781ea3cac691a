from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import find_objects

from memory_images import MemoryImage
from parfocal.analysis.components import label_mask
from parfocal.analysis.stitch import Tiling, stitch
from parfocal.core.scheduler import Threads
from parfocal.errors import ConfigurationError


class Volume(MemoryImage):
    def write(self, region, block):
        self.pixels[region] = block


def make_volume(shape, dtype, _):
    return Volume(np.zeros(shape, dtype))


def run(infer, tiling, *, workers=1, **options):
    """Stitch, and return what was found and the labels (Z, Y, X)."""
    result = np.full(tiling.shape, -1, np.int64)

    def write(box, labels):
        assert (result[box] == -1).all()
        assert labels.dtype == np.int64
        result[box] = labels

    found = stitch(
        infer, tiling, write, make_volume=make_volume, scheduler=Threads(workers), **options
    )
    assert (result >= 0).all()
    assert found.objects == result.max()
    np.testing.assert_array_equal(np.bincount(result.ravel())[1:], found.sizes)
    boxes = [[(part.start, part.stop) for part in box] for box in find_objects(result)]
    np.testing.assert_array_equal(np.array(boxes).reshape(-1, 3, 2)[..., 0], found.lower)
    np.testing.assert_array_equal(np.array(boxes).reshape(-1, 3, 2)[..., 1], found.upper)
    return found, result


def components_of(mask):
    """Return a way to see the components of any box of a mask."""
    return lambda box: label_mask(mask[box])[0]


def canonical(labels):
    """Number labels by their first pixel."""
    names, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(names), np.int64)
    rank[np.argsort(first)] = np.arange(len(names))
    if names[0] == 0:
        rank = np.where(rank < rank[0], rank + 1, rank)
        rank[0] = 0
        return rank[inverse].reshape(labels.shape)
    return rank[inverse].reshape(labels.shape) + 1


def small_objects(shape, extent, density, seed):
    """Return a mask whose components have at most `extent` pixels along each axis."""
    rng = np.random.default_rng(seed)
    mask = rng.random(shape) < density
    labels, _ = label_mask(mask)
    for number, box in enumerate(find_objects(labels), 1):
        if any(part.stop - part.start > most for part, most in zip(box, extent, strict=True)):
            mask[labels == number] = False
    return mask


sizes = st.integers(1, 4)


@given(data=st.data(), flat=st.booleans(), seed=st.integers(0, 999))
@settings(max_examples=30)
def test_objects_no_larger_than_the_halo_are_those_of_the_whole(data, flat, seed):
    shape = (
        1 if flat else data.draw(st.integers(2, 9)),
        *data.draw(st.tuples(*[st.integers(4, 16)] * 2)),
    )
    halo = data.draw(st.tuples(*[sizes] * 3))
    core = tuple(margin + data.draw(st.integers(0, 5)) for margin in halo)
    mask = small_objects(shape, halo, data.draw(st.sampled_from([0.15, 0.3, 0.45])), seed)
    found, labels = run(components_of(mask), Tiling(shape, core, halo), workers=1)
    np.testing.assert_array_equal(labels, canonical(label_mask(mask)[0]))
    assert (found.merged, found.ambiguous, found.contested) == (0, 0, 0)
    places = np.argwhere(labels > 0)
    for number, first in enumerate(found.firsts, 1):
        np.testing.assert_array_equal(first, places[labels[labels > 0] == number][0])


def test_a_block_may_have_fewer_pixels_than_its_neighbours_have_objects():
    _, y, x = np.indices((1, 9, 9))
    truth = (y + 1) // 2 * 9 + x + 1  # the last tile is a pixel of the last object
    found, labels = run(lambda box: truth[box], Tiling((1, 9, 9), (1, 8, 8), (0, 4, 4)))
    np.testing.assert_array_equal(labels, truth)
    assert (found.merged, found.ambiguous, found.contested) == (0, 0, 0)


@given(data=st.data(), flat=st.booleans(), seed=st.integers(0, 999))
@settings(max_examples=20)
def test_objects_larger_than_the_halo_are_merged_by_what_tiles_see_in_common(data, flat, seed):
    shape = (
        1 if flat else data.draw(st.integers(3, 9)),
        *data.draw(st.tuples(*[st.integers(8, 24)] * 2)),
    )
    halo = (1, 2, 2)
    core = data.draw(st.tuples(st.integers(1, 4), st.integers(3, 6), st.integers(3, 6)))
    rng = np.random.default_rng(seed)
    grid = np.indices(shape)
    centres = [[rng.uniform(0, size) for size in shape] for _ in range(6)]
    truth = np.argmin(
        [sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) for centre in centres], axis=0
    )
    truth = canonical(truth + 1)
    labels = run(lambda box: truth[box] * 7, Tiling(shape, core, halo))[1]
    np.testing.assert_array_equal(labels, truth)


@pytest.mark.parametrize("mirrored", [False, True])
def test_pieces_of_what_another_tile_sees_whole_belong_to_it(mirrored):
    mask = np.zeros((1, 7, 16), bool)
    mask[0, :5, 1] = True  # the back of a comb, which the other tile does not see
    mask[0, :5:2, 1:10] = True
    mask = mask[..., ::-1] if mirrored else mask
    found, labels = run(components_of(mask), Tiling((1, 7, 16), (1, 7, 8), (0, 0, 6)))
    np.testing.assert_array_equal(labels, mask)
    assert (found.merged, found.ambiguous, found.contested) == (0, 0, 0)


def test_the_tile_with_the_first_pixel_decides_what_belongs_to_an_object():
    def seen(box):
        labels = np.zeros((1, 4, 16), np.int64)
        labels[0, 0, 8:10] = labels[0, 1, 6:10] = 1
        labels[0, 2, 6:10] = box[2].start > 0  # only the second tile sees this row
        return labels[box]

    labels = run(seen, Tiling((1, 4, 16), (1, 4, 8), (0, 0, 5)))[1]
    assert labels[0, 2].tolist() == [0] * 6 + [1] * 4 + [0] * 6


@given(seed=st.integers(0, 999), workers=st.integers(2, 3))
@settings(max_examples=12)
def test_neither_workers_nor_the_numbering_of_tiles_change_anything(seed, workers):
    rng = np.random.default_rng(seed)
    mask = rng.random((4, 20, 20)) < 0.4
    tiling = Tiling(mask.shape, (3, 7, 6), (2, 3, 3))

    def seen(box, *, salt=0):
        """Disagree with other tiles: look at no more than the box, with noise of its own."""
        own = np.random.default_rng([box[0].start, box[1].start, box[2].start])
        labels = label_mask(mask[box] & (own.random(mask[box].shape) < 0.95))[0].astype(np.int64)
        if not salt:
            return labels
        numbers = np.random.default_rng(salt).permutation(labels.max() + 1) + 1
        numbers[0], numbers[numbers == numbers[0]] = 0, numbers[0]
        names = np.concatenate(
            [[0], np.random.default_rng(salt).permutation(10**12 + np.arange(labels.max()))]
        )
        return names[labels]

    first, labels = run(seen, tiling)
    again, same = run(lambda box: seen(box, salt=seed + 1), tiling, workers=workers)
    np.testing.assert_array_equal(labels, same)
    assert (first.merged, first.ambiguous, first.contested) == (
        again.merged,
        again.ambiguous,
        again.contested,
    )
    np.testing.assert_array_equal(labels, canonical(labels))


def test_a_rod_through_three_tiles_is_one_object_of_pieces():
    mask = np.zeros((1, 9, 30), bool)
    mask[0, 4, 2:28] = True
    found, labels = run(components_of(mask), Tiling(mask.shape, (1, 9, 10), (0, 0, 3)))
    np.testing.assert_array_equal(labels, mask)
    assert (found.objects, found.merged, found.ambiguous) == (1, 1, 0)


def test_without_overlap_pieces_are_told_to_be_ambiguous():
    mask = np.zeros((1, 4, 20), bool)
    mask[0, 1, 5:15] = True
    found, labels = run(components_of(mask), Tiling(mask.shape, (1, 4, 10), (0, 0, 0)))
    assert (found.objects, found.merged, found.ambiguous) == (2, 0, 2)
    np.testing.assert_array_equal(labels > 0, mask)


def test_pieces_that_overlap_too_little_stay_apart():
    left, right = np.zeros((2, 1, 20, 20), np.int64)
    left[0, 4:10, 2:] = 1  # both go on beyond what their tile sees
    right[0, 8:14, :18] = 1
    tiling = Tiling((1, 20, 20), (1, 20, 10), (0, 0, 5))

    def infer(box):
        return (left if box[2].start == 0 else right)[box]

    found, labels = run(infer, tiling)
    assert (found.objects, found.merged, found.ambiguous) == (2, 0, 2)
    found, labels = run(infer, tiling, min_iou=0.2)
    assert (found.objects, found.merged, found.ambiguous) == (1, 1, 0)
    np.testing.assert_array_equal(labels[..., :10], left[..., :10])
    np.testing.assert_array_equal(labels[..., 10:], right[..., 10:])


def test_of_two_tiles_that_disagree_each_decides_on_its_block():
    tiling = Tiling((1, 12, 20), (1, 12, 10), (0, 0, 5))
    left, right = np.zeros((2, 1, 12, 20), np.int64)
    left[0, 2:8, 5:13] = 1
    right[0, 6:11, 8:16] = 1
    found, labels = run(lambda box: (left if box[2].start == 0 else right)[box], tiling)
    assert (found.objects, found.merged, found.ambiguous, found.contested) == (2, 0, 0, 2)
    assert labels[0, 7, 9] == 1
    assert labels[0, 7, 10] == 2
    assert labels[0, 3, 12] == 1
    assert labels[0, 9, 8] == 2


def test_an_object_seen_whole_replaces_its_fragments():
    mask = np.zeros((1, 12, 24), bool)
    mask[0, 2, 6:14] = mask[0, 6, 6:14] = mask[0, 2:7, 14] = True  # a U that opens to the left
    tiling = Tiling(mask.shape, (1, 12, 12), (0, 0, 2))
    found, labels = run(components_of(mask), tiling)
    assert (found.objects, found.merged) == (1, 1)  # of the two bars that the left tile sees
    np.testing.assert_array_equal(labels, mask)
    tiling = Tiling(mask.shape, (1, 12, 12), (0, 0, 9))
    found, labels = run(components_of(mask), tiling)
    assert (found.objects, found.merged) == (1, 0)
    np.testing.assert_array_equal(labels, mask)


def test_objects_are_kept_by_their_size():
    mask = np.zeros((1, 10, 20), bool)
    mask[0, 1, 8:12] = mask[0, 4:7, 9:11] = mask[0, 8, 1] = True
    tiling = Tiling(mask.shape, (1, 5, 5), (0, 4, 4))
    found, labels = run(components_of(mask), tiling, keep=lambda sizes: sizes > 4)
    assert found.sizes.tolist() == [6]
    assert found.firsts.tolist() == [[0, 4, 9]]
    assert set(labels[mask].tolist()) == {0, 1}


@pytest.mark.parametrize("value", [0, 5])
def test_nothing_but_background_or_one_object(value):
    tiling = Tiling((3, 10, 10), (2, 3, 4), (1, 2, 2))
    found, labels = run(lambda box: np.full(np.zeros(tiling.shape)[box].shape, value), tiling)
    assert found.objects == (value > 0)
    assert (labels == (value > 0)).all()
    assert found.merged == (value > 0)


@pytest.mark.parametrize(
    "labels", [np.zeros((1, 3, 3), int), np.full((1, 4, 6), -1)], ids=["shape", "negative"]
)
def test_labels_that_do_not_fit_are_refused(labels):
    with pytest.raises(ValueError, match="do not fit"):
        run(lambda _: labels, Tiling((1, 4, 6), (1, 4, 6), (0, 0, 0)))


@pytest.mark.parametrize(
    ("core", "halo"), [((1, 4, 4), (0, 5, 0)), ((1, 0, 4), (0, 0, 0)), ((1, 4, 4), (0, 0, -1))]
)
def test_a_block_smaller_than_its_halo_is_refused(core, halo):
    with pytest.raises(ConfigurationError, match="smaller than its halo"):
        Tiling((1, 20, 20), core, halo)


def test_a_halo_may_be_larger_than_an_axis_that_is_not_divided():
    assert len(Tiling((2, 20, 20), (2, 10, 10), (8, 5, 5))) == 4


class Nothing(Volume):
    """Storage of which nothing is kept."""

    def write(self, region, block):
        pass

    def read(self, region):
        return np.zeros([part.stop - part.start for part in region], self.dtype)


def peak_memory(side, infer):
    """Return how many tiles there are, and how many bytes were used at once."""
    tiling = Tiling((1, side, side), (1, 4, 4), (0, 1, 1))
    gc.collect()
    gc.freeze()
    thresholds = gc.get_threshold()
    gc.set_threshold(1, 1, 1)  # else what is free already counts until it is collected
    tracemalloc.start()
    try:
        stitch(
            infer,
            tiling,
            lambda box, labels: None,
            make_volume=lambda *_: Nothing(np.zeros((1,) * 5, np.int32)),
            scheduler=Threads(1),
        )
        return len(tiling), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def test_memory_goes_neither_with_tiles_nor_with_the_largest_label():
    def infer(box):
        labels = np.zeros([part.stop - part.start for part in box], np.int64)
        if box[1].start == box[2].start == 0:
            labels[0, 1, 1] = 10**15
        return labels

    peak_memory(20, infer)  # so that caches are warm
    few, least = peak_memory(20, infer)
    many, most = peak_memory(80, infer)
    assert (most - least) / (many - few) < 100
