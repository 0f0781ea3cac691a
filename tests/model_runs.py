"""Images of discs, and learned models that are run on them in memory or by the step."""

from __future__ import annotations

import itertools
import pickle
from typing import ClassVar

import numpy as np

from memory_images import MemoryImage, five
from parfocal.analysis.models.loading import open_model
from parfocal.analysis.models.segment import ModelRun, prepare
from parfocal.core.blocks import whole
from parfocal.core.scheduler import Threads
from parfocal.core.step import Context
from parfocal.images import open_image
from parfocal.models.image import ImageMetadata
from parfocal.steps.segment_objects import STEP, SegmentObjectsParams

__all__ = ["Pickled", "discs", "prepared", "run_of", "run_step"]

_numbers = itertools.count()


class Pickled:
    """Work is packed and unpacked, as for another process."""

    local = False
    workers = 2

    def map(self, work, items):
        for item in items:
            yield pickle.loads(pickle.dumps(work))(item)


def discs(*shape, radius=7, count=12, seed=0):
    """Return an image (Y, X) or (Z, Y, X) of bright discs or balls, some touching."""
    rng = np.random.default_rng(seed)
    image = rng.poisson(20, shape).astype(np.uint16)
    grid = np.indices(shape)
    for _ in range(count):
        centre = [rng.uniform(0, size) for size in shape]
        far = sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True))
        image[far <= radius**2] = 220
    return image


def prepared(options, image, *, channels=(0,), scheduler=None, mode="auto", **sizes):
    source = image if isinstance(image, MemoryImage) else five(image)
    metadata = ImageMetadata(
        name="a", axes="TCZYX", shape=source.shape5, dtype=source.dtype.name, **sizes
    )
    handle = open_model(options, len(channels))
    return prepare(
        handle,
        source,
        metadata,
        tuple(channels),
        block5=(1, 1, 1, 32, 32),
        mode=mode,
        scheduler=scheduler or Threads(1),
    )


class Volume(MemoryImage):
    """Scratch storage in memory."""

    def write(self, region, block):
        assert block.dtype == self.pixels.dtype
        self.pixels[region] = block


class _Kept:
    """Makes scratch storage that stays the same when it is pickled."""

    volumes: ClassVar = {}

    def __call__(self, shape, dtype, block):
        number = next(_numbers)
        self.volumes[number] = Volume(np.zeros(shape, dtype))
        return _Reference(number)


class _Reference:
    def __init__(self, number):
        self.number = number

    def __getattr__(self, name):
        if name in ("number", "__getstate__", "__setstate__"):
            raise AttributeError(name)
        return getattr(_Kept.volumes[self.number], name)


def run_of(scheduler):
    return ModelRun(_Kept(), scheduler, lambda done, total: None)


def run_step(folder, image, threads=1, **params):
    """Run the step, and return its context and the labels."""
    scratch = folder / f"scratch{next(_numbers)}"
    scratch.mkdir()
    context = Context(scratch=scratch, threads=threads)
    labels = folder / f"labels{next(_numbers)}.ome.zarr"
    chosen = SegmentObjectsParams.model_validate(params)
    STEP.run({"image": image}, {"labels": labels}, chosen, context)
    assert not list(scratch.iterdir()), "scratch is left behind"
    with open_image(labels) as written:
        return context, written.read(whole(written.shape5))
