"""Blocks of any size, pickled, in any order: bit for bit what the whole image gives."""

from __future__ import annotations

import pickle
import random
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from memory_images import five
from parfocal.analysis import filters, quality, scan, thick_blocks
from parfocal.analysis.measure import Task, measure_objects
from parfocal.analysis.quality import Survey, assess_image
from parfocal.analysis.score import count_overlaps
from parfocal.analysis.segment import segment
from parfocal.core.blocks import whole
from parfocal.core.scheduler import Threads
from parfocal.core.tally import Tally
from parfocal.images import ScratchVolume, ZarrOptions, write_ome_zarr
from parfocal.models.image import ImageMetadata
from segmenting import PLANE, VOLUME


class Shuffled:
    """Works on some items at a time in any order, on copies of them and of the work."""

    local = False
    workers = 3

    def __init__(self, seed):
        self._random = random.Random(seed)

    def map(self, work, items):
        waiting = []
        for item in items:
            waiting.append(item)
            if len(waiting) == self._random.randint(1, 4):
                yield from self._flush(work, waiting)
                waiting = []
        yield from self._flush(work, waiting)

    def _flush(self, work, items):
        order = self._random.sample(range(len(items)), len(items))
        results = {number: again(again(work)(again(items[number]))) for number in order}
        yield from (results[number] for number in range(len(items)))


def again(thing):
    return pickle.loads(pickle.dumps(thing))


@st.composite
def images(draw):
    """Draw noise and objects of any size that touch each other and the border."""
    sizes = ((1, 2), (1, 2), (1, 7), (5, 28), (5, 28))
    shape = draw(st.tuples(*[st.integers(low, high) for low, high in sizes]))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    width = draw(st.sampled_from([0.8, 2.0, 4.0]))
    pixels = ndimage.gaussian_filter(rng.normal(0, 1, shape), (0, 0, width / 2, width, width))
    scaled = 100 + 1000 * (pixels - pixels.min()) / max(np.ptp(pixels), 1e-9)
    return (scaled + rng.normal(0, 2, shape)).astype(draw(st.sampled_from(["uint16", "float32"])))


@st.composite
def blocks(draw):
    """Draw sizes of blocks, most of them smaller than objects."""
    return {
        (thick_blocks, "BLOCK_SIDE"): draw(st.integers(3, 16)),
        (thick_blocks, "BLOCK_PIXELS"): draw(st.integers(9, 900)),
        (scan, "TARGET_PIXELS"): draw(st.integers(1, 900)),
        (quality, "_TARGET_PIXELS"): draw(st.sampled_from([1, 1 << 12])),
    }


def analyse(image, chosen, block5, scheduler):
    """Segment, measure, assess and score, and return all that came of it as bytes and numbers."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:

        def make_volume(shape, dtype, block):
            return stack.enter_context(ScratchVolume(Path(folder), shape, dtype, block))

        found = segment(
            image,
            0,
            chosen,
            block5=block5,
            make_volume=make_volume,
            scheduler=scheduler,
            progress=lambda done, total: None,
        )
        labels = found.table.image(np.dtype(np.uint32)).read(whole(found.table.labels.shape5))
    names = tuple(f"c{number}" for number in range(image.shape5[1]))
    task = Task(image, five(labels), names, (2.0, 1.0, 0.5), block5, scheduler)
    tables = [
        {name: column.tobytes() for name, column in objects.columns.items()}
        for objects in measure_objects(task)
    ]
    metrics = assess_image(Survey(image, names, block5, scheduler=scheduler))
    truth = five(np.roll(labels, 1, axis=-1))
    overlaps = count_overlaps(truth, five(labels), block5, scheduler, lambda done, total: None)
    pairs = [column.tobytes() for column in (overlaps.truth, overlaps.predicted, overlaps.pixels)]
    return found.threshold, labels.tobytes(), tables, metrics, pairs


@given(
    pixels=images(),
    sizes=blocks(),
    block5=st.tuples(*[st.integers(1, size) for size in (1, 1, 3, 9, 9)]),
    planar=st.booleans(),
    threshold=st.sampled_from(["otsu", "li", 600.0]),
    seeds=st.sampled_from(["none", "combined"]),
    spacing=st.sampled_from([(1.0, 1.0, 1.0), (3.5, 1.0, 1.0), (0.4, 1.0, 1.3)]),
    seed=st.integers(0, 99),
)
@settings(max_examples=15)
def test_objects_and_numbers_are_those_of_the_whole(
    pixels, sizes, block5, planar, threshold, seeds, spacing, seed
):
    base = PLANE if planar else VOLUME
    split = replace(base.split, seeds=seeds, spacing=spacing[1:] if planar else spacing)
    chosen = replace(base, threshold=threshold, split=split)
    image = five(pixels)
    expected = analyse(image, chosen, image.shape5, Threads(1))
    with pytest.MonkeyPatch.context() as patch:
        for (module, name), value in sizes.items():
            patch.setattr(module, name, value)
        assert analyse(image, chosen, block5, Shuffled(seed)) == expected


@given(
    pixels=images(),
    sizes=blocks(),
    chosen=st.sampled_from(
        [
            filters.Gaussian((0.6, 1.0, 1.3)),
            filters.Median((1, 1, 2)),
            filters.TopHat((1, 2, 3)),
        ]
    ),
    halve_z=st.booleans(),
    shard_mib=st.sampled_from([0, 1]),
    seed=st.integers(0, 99),
)
@settings(max_examples=20)
def test_files_of_filtered_images_are_those_of_the_whole(
    pixels, sizes, chosen, halve_z, shard_mib, seed
):
    if pixels.dtype.kind == "f":
        pixels[0, 0, 0, 2, 3] = np.nan
    image = five(pixels)
    metadata = ImageMetadata(name="a", axes="TCZYX", shape=pixels.shape, dtype=pixels.dtype.name)
    options = ZarrOptions(chunk_px=16, halve_z=halve_z, shard_mib=shard_mib)

    def write(folder, block5, scheduler):
        channels = frozenset(range(pixels.shape[1]))
        source = filters.FilteredSource(image, chosen, channels, pixels.dtype, block5, Tally())
        path = Path(folder)
        write_ome_zarr(path, metadata, source, options, scheduler=scheduler, resume=True)
        files = {p.relative_to(path): p.read_bytes() for p in path.rglob("*") if p.is_file()}
        return files, source.tally.counts()

    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        expected = write(one, image.shape5, None)
        with pytest.MonkeyPatch.context() as patch:
            for (module, name), value in sizes.items():
                patch.setattr(module, name, value)
            assert write(other, (1, 1, 1, 4, 4), Shuffled(seed)) == expected
