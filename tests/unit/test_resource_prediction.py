"""What the resource model predicts from images and parameters."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memory_images import five
from parfocal.analysis.windows import BOX_BYTES, PIXEL_BYTES
from parfocal.core.blocks import region_shape
from parfocal.engine.resource_features import memory_features
from parfocal.engine.resource_model import predict, read_model, sized
from parfocal.engine.resource_work import Work, variants
from parfocal.images.pyramid import halve
from parfocal.images.writers.chain import Chain
from parfocal.images.writers.layout import plan_levels
from parfocal.images.writers.shards import LevelWriter
from parfocal.models.resources import ImageSize
from parfocal.models.zarr_options import ZarrOptions
from parfocal.report.levels import pick_level
from parfocal.report.thumbnail import READ_BYTES, thumbnail_shape
from unit.resource_works import defaults, image, smoothing


def memory(step: str, size: ImageSize, threads: int = 1, **told: Any) -> int:
    """Return what the model that comes with Parfocal predicts, in bytes."""
    work = Work(step, size, threads, defaults(step) | told)
    return predict(read_model(), work).memory_bytes


def test_larger_images_and_more_threads_never_take_less() -> None:
    model = read_model()
    assert len(model.steps) == 11
    small, large = image(1, 1, 1, 256, 256), image(2, 3, 8, 2048, 2048)
    for step in model.steps:
        each = [
            memory(step, size, threads) for size, threads in ((small, 1), (large, 1), (large, 8))
        ]
        assert sorted(each) == each
    for step in ("convert-image", "filter-image", "segment-objects", "measure-objects"):
        # A region that is divided takes one thread, and could take more than all blocks.
        told = {"whole_mib": 64} if step == "segment-objects" else {}
        one, most = (memory(step, large, threads, **told) for threads in (1, 8))
        assert most > 1.2 * one > 1.2 * memory(step, small)


def test_filters_that_reach_farther_take_more_memory() -> None:
    size = image(1, 1, 40, 1024, 1024)
    for method in ("gaussian", "median", "top_hat", "subtract_mean"):
        near, far = (memory("filter-image", size, 2, **smoothing(px, method)) for px in (1, 25))
        assert far > near
    wide = {"method": "difference_of_gaussians", "narrow_px": 1}
    near, far = (memory("filter-image", size, 2, filter=wide | {"wide_px": px}) for px in (2, 25))
    assert far > near
    local = {"method": "local", "offset": 1}
    near, far = (
        memory("segment-objects", size, 2, threshold=local | {"sigma_px": px}, whole_mib=64)
        for px in (5, 40)
    )
    assert far > near


def test_lengths_in_micrometres_reach_as_far_as_the_pixels_tell() -> None:
    def features(pixel_um: tuple[float, ...], params: dict[str, Any]) -> dict[str, float]:
        size = image(1, 1, 64, 2048, 2048).model_copy(update={"pixel_um": pixel_um})
        return memory_features(Work("filter-image", size, 1, params))

    gaussian = {"filter": {"method": "gaussian", "sigma_px": 1.0, "sigma_um": 2.0}, "mode": "auto"}
    assert features((0.5, 0.5, 0.5), gaussian) == features((0.5, 0.5, 0.5), smoothing(4))
    thick = features((2.0, 0.5, 0.5), gaussian)["mean outer"]
    # Four standard deviations: 16 pixels along Y and X, and 4 planes, around 512 x 512 x 8.
    # Each pixel is there as it is, and as float32.
    assert thick == pytest.approx((8 + 2 * 4) * (512 + 2 * 16) ** 2 * (2 + 4) / 2**20)
    planar = features((2.0, 0.5, 0.5), gaussian | {"mode": "plane"})["mean outer"]
    assert planar == pytest.approx((512 + 2 * 16) ** 2 * (2 + 4) / 2**20)
    model = read_model()
    unknown = sized(model, image(1, 1, 64, 2048, 2048))
    assert unknown.pixel_um == model.assumed.pixel_um
    assert unknown.pixel_um[2] is not None


def test_tiles_count_and_regions_as_far_as_they_are_divided_whole() -> None:
    size = image(1, 1, 1, 8192, 8192)
    network = {"method": "onnx", "tile_px": None, "tile_planes": None}
    small, large = (
        memory("segment-objects", size, 2, model=network | {"tile_px": px}) for px in (256, 2048)
    )
    assert large > small

    def features(size: ImageSize, **told: Any) -> dict[str, float]:
        work = Work("segment-objects", size, 2, defaults("segment-objects") | told)
        found = memory_features(work)
        if "whole" in found:  # it comes after the blocks, in the memory that they had
            found["whole"] += found["worked"]
        return found

    assert features(size, whole_mib=1000)["whole"] == 1000
    unheld = Work("segment-objects", size, 2, defaults("segment-objects") | {"whole_mib": 64})
    assert memory_features(unheld)["whole"] == 0
    plane, volume = image(3, 2, 1, 1024, 1024), image(1, 1, 8, 1024, 1024)
    assert features(plane)["whole"] == PIXEL_BYTES + BOX_BYTES
    assert features(volume)["whole"] == 8 * (PIXEL_BYTES + BOX_BYTES)
    assert features(volume, mode="plane")["whole"] == PIXEL_BYTES + BOX_BYTES
    assert "whole" not in features(plane, seeds={"method": "none"}, edge_fraction=None)
    volumes = network | {"tile_planes": 16, "tile_px": 128}
    # Two threads have a tile each.
    assert features(volume, model=volumes)["tile"] == 2 * 16 * 128**2 * 4 / 2**20


def test_larger_chunks_and_shards_and_halved_planes_count() -> None:
    size, volume = image(1, 1, 1, 8192, 8192), image(1, 1, 32, 4096, 4096)
    for option in ({"chunk_px": 2048}, {"shard_mib": 64, "chunk_px": 1024}):
        assert memory("convert-image", size, 2, **option) > memory("convert-image", size, 2)
    halved, kept = (memory("convert-image", volume, 2, halve_z=halve) for halve in (True, False))
    assert halved > kept
    work = Work("filter-image", volume, 2, smoothing())
    small, large = (
        predict(read_model(), replace(work, chunk_px=px)).memory_bytes for px in (64, 2048)
    )
    assert large > small


def test_the_part_that_is_written_at_once_is_that_of_the_writer() -> None:
    shape, options = (1, 1, 16, 2048, 2048), ZarrOptions(halve_z=True)
    layouts = plan_levels(shape, 2, options, rgb=False)
    told = {"halve_z": True}
    found = memory_features(Work("convert-image", image(*shape), 1, told))["part"]
    pixels = np.zeros(shape, np.uint16)
    writers = tuple(
        LevelWriter(Path(), layout, "TCZYX", bytes, version="0.5", sharded=True)
        for layout in layouts
    )
    chain = Chain(five(pixels), writers, halve)
    (first, *_) = chain.parts(next(iter(chain.blocks())))
    assert found == math.prod(region_shape(first)) * 2 / 2**20


@pytest.mark.parametrize(("size", "edge"), [((1, 1, 3, 100, 300), 64), ((1, 4, 1, 70, 41), 768)])
def test_a_preview_is_of_the_level_that_is_read(size, edge) -> None:
    _, channels, planes, *_ = size
    levels = [level.shape for level in plan_levels(size, 2, ZarrOptions(chunk_px=16), rgb=False)]
    *_, height, width = levels[pick_level([five(np.empty(s, np.uint8)) for s in levels], edge)]
    work = Work("preview-image", image(*size), 1, defaults("preview-image") | {"edge_px": edge})
    found = memory_features(work)
    assert found["read"] == planes * height * width * 2 / 2**20
    assert found["level"] == height * width * 8 / 2**20
    shown = math.prod(thumbnail_shape(height, width, edge))
    assert found["picture"] == min(channels, 3) * shown * 8 / 2**20
    deep = memory_features(replace(work, size=image(1, 1, 9000, 100, 300)))
    assert deep["read"] == READ_BYTES / 2**20


def test_larger_previews_take_more_memory() -> None:
    size = image(1, 3, 1, 4096, 4096)
    each = [memory("preview-image", size, edge_px=edge) for edge in (256, 768, 2048)]
    assert sorted(set(each)) == each


def test_an_unknown_size_step_or_method_gets_the_generous_values() -> None:
    model = read_model()
    assert sized(model, None) == model.assumed
    size = image(1, 1, 1, 512, 512, dtype="bool")
    known = predict(model, Work("filter-image", size, 1, smoothing(1, "median")))
    for step, params in (("invent-image", {}), ("filter-image", smoothing(1, "new"))):
        assert predict(model, Work(step, size, 1, params)).memory_bytes > known.memory_bytes


def test_methods_are_found_in_parameters() -> None:
    expected = ("seeds.method=combined", "threshold.method=li")
    assert variants(defaults("segment-objects")) == expected
    assert variants(defaults("project-image") | {"method": "std"}) == ("method=std",)
