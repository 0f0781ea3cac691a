"""Every step gives the same bytes in one thread, in several, and in other processes."""

from __future__ import annotations

import multiprocessing
import pickle
from collections import deque
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from memory_images import save
from parfocal.analysis import quality, scan, thick_blocks
from parfocal.core.digest import digest_path
from parfocal.core.step import Context
from parfocal.steps import assess_quality, measure_objects, score_objects, segment_objects

LARGEST_WORK_BYTES = 100_000


class Processes:
    """Blocks are worked on in processes that share nothing with this one but files."""

    local = False
    workers = 2

    def __init__(self, pool):
        self._pool = pool
        self.sent = []

    def map(self, work, items):
        waiting = deque()
        for item in items:
            packed = pickle.dumps((work, item))
            self.sent.append((type(work).__name__, len(packed)))
            waiting.append(self._pool.submit(_call, packed))
            if len(waiting) > self.workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _call(packed):
    work, item = pickle.loads(packed)
    return work(item)


@pytest.fixture(scope="module")
def pool():
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Let blocks be so small that objects are larger."""
    monkeypatch.setattr(thick_blocks, "BLOCK_SIDE", 16)
    monkeypatch.setattr(thick_blocks, "BLOCK_PIXELS", 16 * 16 * 2)
    monkeypatch.setattr(scan, "TARGET_PIXELS", 16 * 16 * 2)
    monkeypatch.setattr(quality, "_TARGET_PIXELS", 1 << 12)


def cells(*shape):
    """Return noise with blobs that touch each other, the border, and several blocks."""
    rng = np.random.default_rng(7)
    grid = np.indices(shape[-3:])
    image = rng.normal(100, 3, shape)
    for where in np.ndindex(shape[:-3]):
        for _ in range(9):
            centre = [rng.uniform(0, size) for size in shape[-3:]]
            width = (1.5, 5.0, 5.0)
            parts = zip(grid, centre, width, strict=True)
            image[where] += 300 * np.exp(-sum((g - m) ** 2 / (2 * w**2) for g, m, w in parts))
    return np.rint(image).astype(np.uint16)


IMAGES = {
    "plane": (lambda: cells(1, 40, 52)[0], "YX"),
    "thick planes": (lambda: cells(5, 36, 41), "ZYX"),
    "times and channels": (lambda: cells(2, 2, 3, 24, 35), "TCZYX"),
}


@pytest.fixture(params=IMAGES)
def image(request, tmp_path):
    make, axes = IMAGES[request.param]
    return save(tmp_path / "image.ome.zarr", make(), axes, z_um=1.5, y_um=0.5, x_um=0.5)


def run(step, folder, inputs, pool, *, params=None, **fields):
    """Run a step in three ways, compare the digests of its outputs, and return one of them."""
    ways = {"one": {"threads": 1}, "three": {"threads": 3}, "far": {"distributed": Processes(pool)}}
    digests, told = {}, {}
    for way, given in ways.items():
        outputs = {port.name: folder / f"{step.name}.{way}.{port.name}" for port in step.outputs}
        scratch = folder / f"{step.name}.{way}.scratch"
        scratch.mkdir()
        context = Context(scratch=scratch, **given, **fields)
        step.run(inputs, outputs, params or step.params(), context)
        assert not list(scratch.iterdir())
        digests[way] = [digest_path(path) for path in outputs.values()]
        told[way] = (context.details, context.warnings)
    assert digests["far"] == digests["three"] == digests["one"]
    assert told["far"] == told["three"] == told["one"]
    sent = ways["far"]["distributed"].sent
    assert sent
    assert not [one for one in sent if one[1] > LARGEST_WORK_BYTES]
    return outputs


@pytest.mark.parametrize("threshold", [{"method": "otsu"}, {"method": "local"}])
def test_objects_are_the_same(tmp_path, image, pool, threshold):
    params = segment_objects.SegmentObjectsParams(threshold=threshold)
    run(segment_objects.STEP, tmp_path, {"image": image}, pool, params=params)


def test_tables_metrics_and_scores_are_the_same(tmp_path, image, pool):
    outputs = run(segment_objects.STEP, tmp_path, {"image": image}, pool)
    inputs = {"image": image, "labels": outputs["labels"]}
    run(measure_objects.STEP, tmp_path, inputs, pool)
    run(assess_quality.STEP, tmp_path, {"image": image}, pool)
    inputs = {"labels": outputs["labels"], "ground_truth": outputs["labels"]}
    run(score_objects.STEP, tmp_path, inputs, pool)
