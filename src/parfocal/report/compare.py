"""Which images can be compared in which measurement, and how they are drawn together."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from parfocal.models.image import ImageMetadata
from parfocal.report.content import Box, Boxes, Comparison
from parfocal.report.tables import (
    INTENSITY,
    SHAPES,
    SIZES,
    Column,
    Joined,
    Table,
    choose_axis,
    count_objects,
    known_in_um,
    round_step,
)

__all__ = ["MOST_BOXES", "compare_images"]

MOST_BOXES = 12
"""Up to so many images are drawn one by one, more as one histogram."""
MOST_POINTS = 10
"""Up to so many objects are drawn one by one, more as a box."""
LOGARITHMIC_RATIO = 20
"""From this ratio of largest to smallest on, sizes have a logarithmic axis."""
TICKS = 5

Kind = tuple[str, str]
"""A column, and in words the images that can be compared in it."""


def compare_images(
    tables: Mapping[str, Table], metadata: Mapping[str, ImageMetadata]
) -> tuple[Comparison, ...]:
    """Return what at least two images have in common, the kinds with most images first.

    Intensities are compared within one data type and channel name, sizes in pixels among
    images without a pixel size, shapes among planar or among solid objects, and RGB images
    among themselves.

    Parameters
    ----------
    tables : mapping of str to Table
        Tables of objects by image.
    metadata : mapping of str to ImageMetadata
        Of the same images; one that is missing is compared with none.
    """
    kinds: dict[Kind, list[str]] = {}
    for image_id, table in tables.items():
        if image_id in metadata:
            for kind in _kinds(table, metadata[image_id]):
                kinds.setdefault(kind, []).append(image_id)
    shared = {kind: images for kind, images in kinds.items() if len(images) > 1}
    pooled = _pool({k: images for k, images in shared.items() if len(images) > MOST_BOXES}, tables)
    ordered = sorted(shared, key=lambda kind: (-len(shared[kind]), _rank(kind[0]), kind[1]))
    return tuple(
        pooled.get(kind) or _draw_boxes(kind, {i: tables[i] for i in shared[kind]})
        for kind in ordered
    )


def _kinds(table: Table, metadata: ImageMetadata) -> list[Kind]:
    """Return in which columns an image can be compared, and with images of what kind."""
    rgb = "RGB " if metadata.rgb else ""
    solid = any(name.startswith("volume") for name in table.columns)
    kinds = []
    for name in table.columns:
        if name.startswith(INTENSITY):
            kinds.append((name, f"{rgb}{metadata.dtype} images"))
        elif name in SHAPES:
            kinds.append((name, f"{rgb}images with {'solid' if solid else 'planar'} objects"))
        elif not known_in_um(name, table):
            unknown = " without a pixel size" if name.endswith("_px") else ""
            kinds.append((name, f"{rgb}images{unknown}"))
    return kinds


def _rank(column: str) -> tuple[int, str]:
    known = (*SIZES, *SHAPES)
    return (known.index(column), "") if column in known else (len(known), column)


def _pool(kinds: Mapping[Kind, list[str]], tables: Mapping[str, Table]) -> dict[Kind, Comparison]:
    """Count the objects of many images in one histogram for each kind."""
    axes = {
        kind: choose_axis([tables[image].columns[kind[0]] for image in images], kind[0])
        for kind, images in kinds.items()
    }
    sums = {kind: Joined() for kind in kinds}
    own: dict[str, dict[str, Kind]] = {}
    for kind, images in kinds.items():
        for image_id in images:
            own.setdefault(image_id, {})[kind[0]] = kind
    for image_id, by_column in own.items():
        wanted = {column: axes[kind] for column, kind in by_column.items()}
        for distribution in count_objects(tables[image_id], wanted):
            sums[by_column[distribution.column]].add(distribution)
    return {
        kind: Comparison(kind[0], kind[1], len(images), pooled=sums[kind].distribution)
        for kind, images in kinds.items()
    }


def _draw_boxes(kind: Kind, tables: Mapping[str, Table]) -> Comparison:
    column, words = kind
    boxes = tuple(_box(image_id, table.columns[column]) for image_id, table in tables.items())
    low, high = min(box.low for box in boxes), max(box.high for box in boxes)
    logarithmic = column in SIZES and 0 < low * LOGARITHMIC_RATIO <= high
    ticks = _decades(low, high) if logarithmic else _even_ticks(low, high)
    return Comparison(column, words, len(boxes), boxes=Boxes(boxes, ticks, logarithmic))


def _box(image_id: str, column: Column) -> Box:
    few = column.values <= MOST_POINTS
    shares = (0.0, 0.25, 0.75, 1.0) if few else (0.05, 0.25, 0.75, 0.95)
    low, first, third, high = (float(value) for value in np.quantile(column.sample, shares))
    return Box(
        image_id=image_id,
        objects=column.values,
        low=low,
        first_quartile=first,
        median=column.median,
        third_quartile=third,
        high=high,
        points=tuple(column.sample.tolist()) if few else (),
    )


def _even_ticks(low: float, high: float) -> tuple[float, ...]:
    """Return round numbers at even distances, the first and last around all values."""
    step = round_step((high - low) / TICKS or abs(low) / 10, whole=False)
    first, last = math.floor(low / step), math.ceil(high / step)
    return tuple(step * place for place in range(first, max(last, first + 1) + 1))


def _decades(low: float, high: float) -> tuple[float, ...]:
    """Return powers of ten around all values, the ends at 1, 2 or 5 times such a power."""
    power = 10.0 ** math.floor(math.log10(low))
    start = max(factor * power for factor in (1, 2, 5) if factor * power <= low or factor == 1)
    power = 10.0 ** math.floor(math.log10(high))
    end = min(factor * power for factor in (1, 2, 5, 10) if factor * power >= high or factor == 10)
    between = range(math.floor(math.log10(low)) + 1, math.ceil(math.log10(high)) + 1)
    return (start, *(10.0**n for n in between if start < 10.0**n < end), end)
