"""What a step holds in memory at a time, as far as image and parameters tell.

Each step works on blocks that are planned from the shape of the image and its chunks, and
threads have one each. Here the same plans are made; what else a step needs for each MiB of them
is what `parfocal.engine.calibration` fits.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from parfocal.engine.resource_work import Work, variants

if TYPE_CHECKING:
    from parfocal.core.blocks import Shape

__all__ = ["UNHELD", "memory_features", "time_features"]

UNHELD = frozenset(["one", "root", "solid", "mean", "whole"])
"""Features that are not what a step holds for certain."""

_MIB = 2**20
_SINGLE, _DOUBLE = 4, 8
"""Bytes of float32 and float64, in which most steps calculate."""

_OPTIONS = ("chunk_px", "shard_mib", "halve_z")
_COPIES, _LIMBS, _LABELS = 6, 9, 5
"""How often floats are there that may lack a value, numbers that are summed up exactly, labels."""

_PROOF_BYTES = 32 * _MIB
"""How much of an image is compared with its source at once."""

_MEANS = ("gaussian", "difference_of_gaussians", "subtract_mean")
_FIELDS = {"max": "extreme", "min": "extreme", "sum": "sum", "mean": "sum"}
"""Filters and projections that hold the same."""

Features = dict[str, float]
Sides = tuple[int, int, int]


def time_features(work: Work) -> Features:
    """Return what the time of a step is a sum of: 1 and the MiB of the image, for methods too.

    Threads are left out: how much they help is the machine's.
    """
    found = {"one": 1.0, "image": work.image_mib}
    for method in variants(work.params):
        found |= {method: 1.0, f"{method} image": work.image_mib}
    return found


def memory_features(work: Work) -> Features:
    """Return what the memory of a step is a sum of, in MiB but for ``one`` and ``root``.

    Returns
    -------
    dict of str to float
        ``one`` is 1, and ``root`` the square root of the MiB of the image, for lists of blocks
        and objects. ``solid`` is 1 for volumes. Of the others the functions of this module tell,
        one for each step.
    """
    found = {"one": 1.0, "root": math.sqrt(work.image_mib)}
    if work.size.shape[2] > 1:
        found["solid"] = 1.0
    return found | _HELD.get(work.step, _any)(work)


def _mib(count: float, pixels: float, item: int) -> float:
    return count * pixels * item / _MIB


def _any(work: Work) -> Features:
    """``block``: two million pixels a thread, as float32."""
    block = _thick(work, work.block5, planar=False)
    return {"block": _mib(work.count(block), math.prod(block), _SINGLE)}


def _convert(work: Work) -> Features:
    """``part``: what is read, halved and compressed together; ``proof``: what is compared."""
    options = {name: work.params[name] for name in _OPTIONS if name in work.params}
    t, c, z, y, x = work.size.shape
    part = _part(work.item, work.size.shape, options)
    together = min(t * c * z, max(1, _PROOF_BYTES // (y * x * work.item)))
    proof = min(together * y * x, max(_PROOF_BYTES // work.item, 512 * x))
    units = min(work.threads, -(-t * c * z // together))
    return {
        "part": _mib(work.count(part), math.prod(part), work.item),
        "proof": _mib(units, proof, work.item),
    }


def _filter(work: Work) -> Features:
    """``held``: what is read around a part, ``kept``: of what was read before.

    ``part`` is what is written, ``float part`` where it is floats, which are hardly compressed;
    and by the method ``outer`` a block with its halo. ``mean`` is 1 where OpenCV is loaded.
    """
    from parfocal.analysis.filters import HELD_BYTES

    chosen = work.params["filter"]
    method = chosen["method"]
    halo = _halo(work, chosen)
    block = _thick(work, work.block5, planar=not halo[0])
    item = work.working if method == "difference_of_gaussians" else work.item
    part = _part(item, work.size.shape, _output(work), block[0])
    count = work.count(part)
    held = min(math.prod(_around(part, halo, work)), HELD_BYTES // work.item)
    means = method in _MEANS
    outer = math.prod(_around(block, halo, work))
    own = 2 * work.item if work.floats else work.item  # floats are copied to be looked through
    working = work.working if means else work.item
    floats = work.floats or method == "difference_of_gaussians"
    return {
        "mean": float(means),
        "float part" if floats else "part": _mib(count, math.prod(part), item),
        "held": _mib(count, held, work.item),
        "kept": min(96.0, work.image_mib),
        "mean outer" if means else f"{method} outer": _mib(count, outer, own + working),
    }


def _halo(work: Work, chosen: Mapping[str, Any]) -> Sides:
    """Return how far a filter looks along Z, Y, X, as `parfocal.analysis.filters` does."""
    from parfocal.analysis.gaussian import radius_of

    method = chosen["method"]
    if method in ("median", "top_hat"):
        z, y, x = (int(side + 0.5) for side in work.sides(chosen, "radius"))
        return (z, y, x) if method == "median" else (2 * z, 2 * y, 2 * x)
    name = "wide" if method == "difference_of_gaussians" else "sigma"
    z, y, x = (radius_of(side) for side in work.sides(chosen, name))
    return z, y, x


def _segment(work: Work) -> Features:
    """See `_objects` and `_network`."""
    model = work.params.get("model")
    return _objects(work, work.block5) if model is None else _network(work, model)


def _objects(work: Work, block5: Shape) -> Features:
    """``worked``: a block with its halo, then a part of the labels; ``kept``: chunks.

    ``whole`` is what dividing the largest region that there may be takes beyond ``worked``, as far
    as it is divided whole.
    """
    from parfocal.analysis.gaussian import radius_of
    from parfocal.analysis.windows import BOX_BYTES, PIXEL_BYTES

    params, threshold = work.params, work.params["threshold"]
    block = _thick(work, block5, planar=work.planar)
    reach = [work.sides(params, "smoothing")]
    if threshold["method"] == "local" and params.get("model") is None:
        reach.append(work.sides(threshold, "sigma"))
    z, y, x = (max(radius_of(side) for side in sides) for sides in zip(*reach, strict=True))
    part = _part(_SINGLE, work.size.shape, _output(work))
    written = _mib(work.count(part, channels=1), math.prod(part), _LABELS * _SINGLE)
    floats = work.floats or params.get("model") is not None
    item = work.item + (3 * _DOUBLE if floats or work.item >= _SINGLE else 2 * _SINGLE)
    outer = math.prod(_around(block, (z, y, x), work))
    smoothed = _mib(work.count(block, channels=1), outer, item)
    found = {"worked": max(smoothed, written), "kept": min(64.0, work.image_mib)}
    if params["seeds"]["method"] != "none" or params.get("edge_fraction") is not None:
        depth = 1 if work.planar else work.size.shape[2]
        most = _mib(depth, math.prod(work.size.shape[3:]), PIXEL_BYTES + BOX_BYTES)
        # Blocks are no longer there when regions are divided.
        found["whole"] = max(0.0, min(float(params["whole_mib"]), most) - found["worked"])
    return found


def _network(work: Work, model: Mapping[str, Any]) -> Features:
    """``tile``: what the network sees at once; the rest as for `_objects`.

    Without sizes in the parameters these are the defaults, not those that the file may state.
    """
    solid = model.get("dimensions") == 3 or model.get("volume") or model.get("tile_planes")
    depth = model.get("tile_planes") or (32 if solid else 1)
    side = model.get("tile_px") or (256 if solid else 512)
    tile = (depth, side, side)
    found = _objects(work, (1, 1, *tile))
    return found | {"tile": _mib(work.count(tile, channels=1), math.prod(tile), _SINGLE)}


def _measure(work: Work) -> Features:
    """``block``: two million pixels, as 64-bit numbers; ``kept``: chunks of labels."""
    from parfocal.analysis.exact import MAX_BLOCK_PIXELS
    from parfocal.analysis.measure import LEAST_PLANES
    from parfocal.analysis.scan import plan_block

    t, _, *sides = work.size.shape
    preferred = (1, 1, LEAST_PLANES, *work.block5[3:])
    block = plan_block(preferred, work.size.shape, pixels=MAX_BLOCK_PIXELS)[2:]
    count = work.count(block, channels=1, times=1)
    return {
        "block": _mib(count, math.prod(block), _DOUBLE),
        "kept": min(64.0, _mib(t, math.prod(sides), 2)),
    }


def _assess(work: Work) -> Features:
    """``part``, or of floats ``float part``: a million pixels, in the numbers that sums take."""
    *_, y, x = work.size.shape
    rows = max(1, min(y, _MIB // x))
    wide = _SINGLE if work.item <= 2 else _DOUBLE
    name = "float part" if work.floats else "part"
    return {name: _mib(work.count((1, rows, x), channels=1), rows * x, wide)}


def _project(work: Work) -> Features:
    """``tile``: planes that are read at once; by the method ``field``: what they come to."""
    t, c, _, y, x = work.size.shape
    method = work.params["method"]
    floats = work.floats or method == "std" or work.params.get("as_float", False)
    item = _DOUBLE if method == "sum" else max(_SINGLE, work.item) if floats else work.item
    depth, rows, columns = _stack_tile(work)
    part = _part(item, (t, c, 1, y, x), _output(work))
    count = min(work.threads, t * c * -(-y // part[1]) * -(-x // part[2]))
    return {
        "tile": _mib(count, depth * rows * columns, work.item),
        "float part" if floats else "part": _mib(count, math.prod(part), item),
        f"{_FIELDS.get(method, method)} field": _mib(count, rows * columns, _DOUBLE),
    }


def _correct(work: Work) -> Features:
    """``profile``: what it is made of, ``block``: of the image as float64; ``part``: as written.

    First planes are summed or sorted, then sums are taken of strips of the profile.
    """
    from parfocal.analysis.thick_blocks import plan_thick

    t, c, z, y, x = work.size.shape
    depth, rows, columns = _stack_tile(work)
    part = _part(work.item, work.size.shape, _output(work))
    _, high, wide = _thick(work, work.block5, planar=False)
    strip = plan_thick(work.size.shape, work.size.shape, planar=True)[3:]
    fields = min(work.threads, c * -(-y // rows) * -(-x // columns))
    planes = _mib(fields, depth * rows * columns, work.item * (_COPIES if work.floats else 1))
    if work.params["illumination"].get("percentile") is not None:
        sorted_px = min(t * z * rows * columns, 64 * _MIB // work.item)
        planes += _mib(fields, sorted_px, 2 * work.item)  # the planes, and their stack
    strips = _mib(work.count((z, *strip), 1, 1), math.prod(strip), _LIMBS * _DOUBLE)
    return {
        "profile": max(planes, strips),  # one after the other
        "block": _mib(work.count(part), part[0] * min(high, part[1]) * min(wide, part[2]), _DOUBLE),
        "part": _mib(work.count(part), math.prod(part), work.item),
    }


def _preview(work: Work) -> Features:
    """``read``: planes of a level; ``level``: one, ``picture``: what it becomes, as float64."""
    from parfocal.report.thumbnail import READ_BYTES, thumbnail_shape

    _, channels, z, y, x = work.size.shape
    edge = work.params["edge_px"]
    while max(y, x) >= 2 * edge:
        y, x = -(-y // 2), -(-x // 2)
    colours = min(channels, 3)
    return {
        "read": min(_mib(z, y * x, work.item), READ_BYTES / _MIB),
        "level": _mib(1, y * x, _DOUBLE),
        "picture": _mib(colours, math.prod(thumbnail_shape(y, x, edge)), _DOUBLE),
    }


def _score(work: Work) -> Features:
    """``block``: a million pixels, as 64-bit numbers."""
    from parfocal.analysis.scan import plan_block

    block = plan_block(work.block5, work.size.shape)[2:]
    return {"block": _mib(work.count(block, channels=1), math.prod(block), _DOUBLE)}


def _stack_tile(work: Work) -> Sides:
    """Return the tile of a stack along Z that is read at once."""
    from parfocal.analysis.stacks import plan_tile

    z, y, x = plan_tile(work.block5, work.size.shape, 2)[2:]
    return z, y, x


def _thick(work: Work, block5: Shape, *, planar: bool) -> Sides:
    """Return the block for work that looks around pixels."""
    from parfocal.analysis.thick_blocks import plan_thick

    z, y, x = plan_thick(block5, work.size.shape, planar=planar)[2:]
    return z, y, x


def _around(block: Sides, halo: Sides, work: Work) -> Sequence[int]:
    """Return the sides of a block with its halo, within the image."""
    return [
        min(size, side + 2 * reach)
        for side, reach, size in zip(block, halo, work.size.shape[2:], strict=True)
    ]


def _output(work: Work) -> dict[str, Any]:
    """Return how results are written: in chunks of their own, with levels as the image has."""
    return {"halve_z": work.halve_z}


def _part(item: int, shape: Shape, options: Mapping[str, Any], thick: int = 1) -> Sides:
    """Return the part of a shard that a thread writes, as `parfocal.images` does.

    It is as many planes as make one of the last level, or as a filter takes together.
    """
    from parfocal.images.writers.chain import LARGEST_PART_BYTES
    from parfocal.images.writers.layout import plan_levels
    from parfocal.models.zarr_options import ZarrOptions

    levels = plan_levels(shape, item, ZarrOptions(**options), rgb=False)
    planes = 1
    for larger, smaller in itertools.pairwise(levels):
        if not larger.feeds(smaller):
            break
        planes *= 2 if 2 in larger.halved(smaller) else 1
    *_, z, y, x = levels[0].shard
    planes *= max(1, min(thick, LARGEST_PART_BYTES // (y * x * item)) // planes)
    return min(planes, z), y, x


_HELD: dict[str, Callable[[Work], Features]] = {
    "convert-image": _convert,
    "filter-image": _filter,
    "segment-objects": _segment,
    "measure-objects": _measure,
    "assess-quality": _assess,
    "project-image": _project,
    "correct-illumination": _correct,
    "preview-image": _preview,
    "score-objects": _score,
}
