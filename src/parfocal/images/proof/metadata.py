"""Compare what a source says about an image with what the result says."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from parfocal.core.blocks import Readable, Shape
from parfocal.images.image import Image
from parfocal.images.proof.certificate import Difference
from parfocal.images.proof.result import LevelPlace, Result
from parfocal.models.image import ImageMetadata

__all__ = ["level_differences", "metadata_differences", "unequal", "whole_levels"]

_SIZES = {"T": "time_increment_s", "Z": "z_um", "Y": "y_um", "X": "x_um"}
_STAGE = ("stage_z_um", "stage_y_um", "stage_x_um")
_CHANNEL = {
    "names": "name",
    "colours": "color",
    "excitation wavelengths": "excitation_nm",
    "emission wavelengths": "emission_nm",
}


def metadata_differences(source: Image, result: Result, dtype: str) -> list[Difference]:
    """Return in what the result differs from its source besides pixels.

    What the source does not say is not compared, except for sizes of pixels, which must not
    be made up. An OME-TIFF has no axes of length 1.

    Parameters
    ----------
    source, result : Image, Result
        Both open.
    dtype : str
        The data type that the result should have.
    """
    stated = source.metadata
    axes = stated.axes
    if not result.is_zarr:
        axes = "".join(axis for axis in axes if axis in "YX" or stated.size(axis) > 1)
    differences = unequal("The axes differ", "image", axes, result.metadata.axes)
    differences += unequal("The shape differs", "image", stated.shape5, result.shape5)
    differences += unequal("The data type differs", "image", dtype, result.levels[0].dtype.name)
    differences += _sizes(stated, result.metadata)
    differences += _stage(stated, result.metadata)
    differences += _channels(stated, result)
    if result.is_zarr:
        if stated.rgb:
            what = "The channels are red, green and blue no more"
            differences += unequal(what, "image", True, result.metadata.rgb)
        differences += _places(result)
        kept = set(result.original_metadata.values())  # in a collection under other names
        for name, content in source.original_metadata.items():
            what = "A text of the source is not kept"
            differences += unequal(what, f"OME/{name}", True, content in kept)
    return differences + level_differences(result.levels)


def _sizes(stated: ImageMetadata, found: ImageMetadata) -> list[Difference]:
    differences = []
    for axis, name in _SIZES.items():
        one, other = getattr(stated, name), getattr(found, name)
        if axis in found.axes and not _close(one, other):
            what = "The size of pixels differs"
            differences += unequal(what, f"axis {axis}", one, other)
    return differences


def _places(result: Result) -> list[Difference]:
    """Return which levels do not lie over the full resolution, by what they say."""
    differences = []
    base = result.places[0]
    factors = dict.fromkeys(result.metadata.axes, 1)
    for number, place in enumerate(result.places[1:], start=1):
        along_z = result.levels[number].shape5[2] != result.levels[number - 1].shape5[2]
        for axis in "ZYX" if along_z else "YX":
            factors[axis] = 2 * factors.get(axis, 1)
        pairs = list(zip(base.scale, (factors[axis] for axis in result.metadata.axes), strict=True))
        # The upper left of 2 by 2 labels stays where it is; a mean lies in the middle.
        shifts = [0.0 if result.labels else size * (factor - 1) / 2 for size, factor in pairs]
        scale = tuple(size * factor for size, factor in pairs)
        translation = tuple(a + b for a, b in zip(base.translation, shifts, strict=True))
        found = (*place.scale, *place.translation)
        if not all(map(math.isclose, (*scale, *translation), found)):
            what, where = "A level does not lie where its pixels belong", f"level {number}"
            differences += unequal(what, where, LevelPlace(scale, translation), place)
    return differences


def _stage(stated: ImageMetadata, found: ImageMetadata) -> list[Difference]:
    differences = []
    for name in _STAGE:
        one, other = getattr(stated, name), getattr(found, name)
        if one is not None and not _close(one, other):
            differences += unequal("The place of the stage differs", name, one, other)
    return differences


def _channels(stated: ImageMetadata, result: Result) -> list[Difference]:
    """Compare channels in their order."""
    if not stated.channels:
        return []
    found = result.metadata.channels
    differences = unequal(
        "The number of described channels differs", "image", len(stated.channels), len(found)
    )
    if differences:
        return differences
    for what, name in _CHANNEL.items():
        pairs = [
            (getattr(one, name), getattr(other, name))
            for one, other in zip(stated.channels, found, strict=True)
        ]
        said = [pair for pair in pairs if pair[0] is not None]
        if any(not _alike(*pair) for pair in said):
            one, other = zip(*said, strict=True)
            differences += unequal(f"The {what} of channels differ", "image", one, other)
    if result.shown:
        names = tuple(stated.channel_names())
        shown = tuple(name for name, _ in result.shown)
        differences += unequal("The names of channels differ", "omero", names, shown)
        colors = [(c.color, row[1]) for c, row in zip(stated.channels, result.shown, strict=False)]
        for color, painted in colors:
            if color is not None:
                differences += unequal("The colours of channels differ", "omero", color, painted)
    return differences


def _alike(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return _close(one, other)
    return one == other


def level_differences(levels: Sequence[Readable]) -> list[Difference]:
    """Return where the size or data type of a level does not follow from the one before."""
    differences: list[Difference] = []
    for number, (level, smaller) in enumerate(itertools.pairwise(levels)):
        expected = _halved(level.shape5, along_z=smaller.shape5[2] != level.shape5[2])
        what = "The size of a level does not follow from the one before"
        differences += unequal(what, f"level {number + 1}", expected, smaller.shape5)
        differences += unequal(
            "The data type of a level differs", f"level {number + 1}", level.dtype, smaller.dtype
        )
    return differences


def whole_levels(levels: Sequence[Readable]) -> Sequence[Readable]:
    """Return the levels up to the first that cannot follow, which is told apart."""
    return levels[:1] if level_differences(levels) else levels


def _halved(shape: Shape, *, along_z: bool) -> Shape:
    t, c, z, y, x = shape
    return t, c, -(-z // 2) if along_z else z, -(-y // 2), -(-x // 2)


def _close(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=1e-9)


def unequal(what: str, where: str, expected: object, found: object) -> list[Difference]:
    """Return a difference if `expected` and `found` are not equal, else none."""
    if expected == found:
        return []
    return [Difference(what=what, where=where, expected=str(expected), found=str(found))]
