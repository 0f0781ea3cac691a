"""Every step gives the same bytes in one thread, in several, and in other processes."""

from __future__ import annotations

import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest

from far_processes import Processes, work_twice
from memory_images import save
from parfocal.analysis import quality, scan, thick_blocks
from parfocal.analysis.chunk_cache import ChunkCache
from parfocal.core.blocks import whole
from parfocal.core.digest import digest_path
from parfocal.core.step import Context
from parfocal.core.worker import WORKER
from parfocal.errors import InputError
from parfocal.images import ScratchVolume, ZarrOptions, open_image, reopening, write_ome_zarr
from parfocal.images.readers import ome_zarr
from parfocal.images.readers.registry import ReadOptions
from parfocal.images.readers.source import open_series
from parfocal.images.stores import open_level
from parfocal.images.writers.shards import ShardFile
from parfocal.steps import (
    assess_quality,
    convert_image,
    filter_image,
    measure_objects,
    score_objects,
    segment_objects,
)

LARGEST_WORK_BYTES = 100_000
NAMED = {"certificate"}
"""Outputs that name the folder of the others."""


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
        scratch = folder / step.name / way / "scratch"
        scratch.mkdir(parents=True)
        outputs = {port.name: scratch.parent / f"{port.name}.ome.zarr" for port in step.outputs}
        context = Context(scratch=scratch, **given, **fields)
        step.run(inputs, outputs, params or step.params(), context)
        assert not list(scratch.iterdir())
        digests[way] = [digest_path(path) for name, path in outputs.items() if name not in NAMED]
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


def test_objects_of_windows_are_the_same(tmp_path, pool):
    y, x = np.indices((130, 140))
    waves = 300 + 100 * np.sin(y / 5 + x / 40) * np.sin(x / 4)
    image = save(tmp_path / "image.ome.zarr", np.rint(waves).astype(np.uint16), "YX")
    params = segment_objects.SegmentObjectsParams.model_validate(
        {
            "threshold": {"method": "manual", "value": 50},
            "seeds": {"method": "intensity"},
            "edge_fraction": None,
            "whole_mib": 1,
        }
    )
    outputs = run(segment_objects.STEP, tmp_path, {"image": image}, pool, params=params)
    with open_image(outputs["labels"]) as labels:
        assert labels.read(whole(labels.shape5)).max() > 30


def test_tables_metrics_and_scores_are_the_same(tmp_path, image, pool):
    outputs = run(segment_objects.STEP, tmp_path, {"image": image}, pool)
    inputs = {"image": image, "labels": outputs["labels"]}
    run(measure_objects.STEP, tmp_path, inputs, pool)
    run(assess_quality.STEP, tmp_path, {"image": image}, pool)
    inputs = {"labels": outputs["labels"], "ground_truth": outputs["labels"]}
    run(score_objects.STEP, tmp_path, inputs, pool)


@pytest.mark.parametrize(
    "chosen",
    [
        {"method": "gaussian"},
        {"method": "median"},
        {"method": "difference_of_gaussians", "narrow_px": 1, "wide_px": 2},
    ],
)
def test_filtered_images_are_the_same(tmp_path, image, pool, chosen):
    params = filter_image.FilterImageParams(filter=chosen)
    run(filter_image.STEP, tmp_path, {"image": image}, pool, params=params)


def test_what_is_counted_elsewhere_is_told_here(tmp_path, pool):
    pixels = cells(5, 36, 41).astype(np.float32)
    pixels[2, 10, 11] = np.nan
    image = save(tmp_path / "image.ome.zarr", pixels, "ZYX")
    outputs = {"filtered": tmp_path / "filtered"}
    params = filter_image.FilterImageParams(filter={"method": "median"})
    context = Context(scratch=tmp_path, distributed=Processes(pool))
    filter_image.STEP.run({"image": image}, outputs, params, context)
    assert context.warnings[0].startswith("27 results are NaN")


@pytest.mark.parametrize("ngff", ["0.4", "0.5"])
def test_conversions_are_the_same(tmp_path, image, pool, ngff):
    params = convert_image.ConvertImageParams(chunk_px=16, ngff=ngff, second_reader="none")
    run(convert_image.STEP, tmp_path, {"source": image}, pool, params=params)


def test_chunks_that_are_taken_over_are_the_same(tmp_path, pool):
    pixels = cells(3, 80, 90)
    path = save(tmp_path / "image.ome.zarr", pixels, "ZYX")
    with open_image(path) as image:
        write_ome_zarr(
            tmp_path / "old", image.metadata, image, ZarrOptions(ngff="0.4", chunk_px=16)
        )
    params = convert_image.ConvertImageParams(second_reader="none")
    outputs = run(convert_image.STEP, tmp_path, {"source": tmp_path / "old"}, pool, params=params)
    with open_image(outputs["image"]) as image:
        np.testing.assert_array_equal(image.read(whole(image.shape5))[0, 0], pixels)


SMALL = ZarrOptions(chunk_px=16)


@pytest.fixture
def source(tmp_path):
    """Return an open image that is several shards in `SMALL`, and the digest of its copy."""
    with open_image(save(tmp_path / "image.ome.zarr", cells(3, 100, 150), "ZYX")) as image:
        write_ome_zarr(tmp_path / "whole", image.metadata, image, SMALL)
        yield image, digest_path(tmp_path / "whole")


def test_an_interrupted_writing_goes_on_elsewhere(tmp_path, source, pool):
    image, expected = source
    path = tmp_path / "copy"
    write_ome_zarr(path, image.metadata, image, SMALL, scheduler=Processes(pool))
    min(path.glob("*/c/0/0/*")).unlink()
    told, far = [], Processes(pool)
    written = write_ome_zarr(
        path,
        image.metadata,
        image,
        SMALL,
        scheduler=far,
        progress=lambda *step: told.append(step),
        resume=True,
    )
    assert digest_path(path) == expected
    assert len(far.sent) == 1
    assert written.kept > 3
    assert told[-1][0] == told[-1][1]


class Unreliable:
    """Every worker is killed in the midst; then two work on the block at once."""

    local = False
    workers = 1

    def __init__(self, folder, monkeypatch):
        self._folder, self._monkeypatch = folder, monkeypatch

    def map(self, work, items):
        for item in items:
            before = files(self._folder)
            packed = pickle.dumps((work, item))
            with self._monkeypatch.context() as patch:
                patch.setattr(ShardFile, "finish", killed)
                with pytest.raises(KeyboardInterrupt):
                    work_twice(packed)
            assert files(self._folder) == before
            assert list(self._folder.rglob("*.tmp"))
            with ThreadPoolExecutor(2) as both:
                yield list(both.map(work_twice, [packed, packed]))[1]
            work_twice(packed)


def killed(self):
    raise KeyboardInterrupt


def files(folder):
    return {path for path in folder.rglob("*") if path.is_file() and path.suffix != ".tmp"}


def test_workers_that_die_and_come_twice_harm_nothing(tmp_path, source, monkeypatch):
    image, expected = source
    path = tmp_path / "copy"
    write_ome_zarr(path, image.metadata, image, SMALL, scheduler=Unreliable(path, monkeypatch))
    assert digest_path(path) == expected
    assert files(path) == set(path.rglob("*")) - {p for p in path.rglob("*") if p.is_dir()}


def test_a_damaged_image_is_the_same_error_elsewhere(tmp_path, source, pool):
    image, _ = source
    for shard in (tmp_path / "image.ome.zarr").rglob("c/**/0"):
        if shard.is_file():
            shard.write_bytes(b"damaged" * 100)
    with pytest.raises(InputError, match="cannot be read") as caught:
        write_ome_zarr(tmp_path / "copy", image.metadata, image, SMALL, scheduler=Processes(pool))
    assert caught.value.remedy


def copy(thing):
    return pickle.loads(pickle.dumps(thing))


def test_a_copy_of_a_scratch_volume_shares_its_file_and_never_removes_it(tmp_path):
    with ScratchVolume(tmp_path, (1, 1, 2, 5, 7), np.uint16, (1, 1, 1, 2, 3)) as volume:
        there = copy(volume)
        pixels = np.arange(70, dtype=np.uint16).reshape(volume.shape5)
        there.write(whole(volume.shape5), pixels)
        np.testing.assert_array_equal(volume.read(whole(volume.shape5)), pixels)
        volume.write(whole(volume.shape5), pixels + 1)
        there.close()
        np.testing.assert_array_equal(there.read(whole(volume.shape5)), pixels + 1)
    assert not list(tmp_path.iterdir())


def test_an_image_is_opened_once_elsewhere_and_anew_when_it_is_another(tmp_path):
    pixels = cells(3, 20, 30)
    path = save(tmp_path / "image.ome.zarr", pixels, "ZYX")
    with open_image(path) as image:
        there = copy(image)
        assert there is copy(image)
        assert there is not image
        level = copy(open_level(path / "0", "ZYX"))
        path.rename(tmp_path / "elsewhere")
        save(path, pixels + 1, "ZYX")
        anew, new_level = copy(image), copy(open_level(path / "0", "ZYX"))
    np.testing.assert_array_equal(anew.read(whole(anew.shape5))[0, 0], pixels + 1)
    assert new_level is not level
    np.testing.assert_array_equal(new_level.read(whole(anew.shape5))[0, 0], pixels + 1)


def test_an_image_is_decoded_in_as_many_threads_as_the_worker_has(tmp_path, monkeypatch):
    path = save(tmp_path / "image.ome.zarr", cells(1, 20, 30), "ZYX")
    threads = []

    def opening(*args, **options):
        threads.append(options["threads"])
        return open_image(*args, **options)

    monkeypatch.setattr(reopening, "open_image", opening)
    monkeypatch.setattr(WORKER, "threads", 3)
    with open_image(path) as image:
        copy(image)
    assert threads == [3]


def test_an_image_of_unknown_origin_cannot_be_sent(tmp_path):
    path = save(tmp_path / "image.ome.zarr", cells(1, 20, 30), "ZYX")
    image = open_series(ome_zarr, path, "", ReadOptions())
    with image, pytest.raises(TypeError, match="open_image"):
        pickle.dumps(image)


def test_copies_of_a_cache_share_their_chunks(tmp_path):
    path = save(tmp_path / "image.ome.zarr", cells(1, 20, 30), "ZYX")
    with open_image(path) as image:
        one, other = (ChunkCache(image, (1, 1, 1, 8, 8)) for _ in range(2))
        assert copy(one) is copy(one)
        assert copy(one) is not copy(other)
        np.testing.assert_array_equal(
            copy(one).read(whole(image.shape5)), image.read(whole(image.shape5))
        )
