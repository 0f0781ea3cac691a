"""Whether our reader of a source and Bio-Formats agree."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from parfocal.images import Image, list_images, open_image

__all__ = ["assert_same_as_bio_formats"]

_SIZES = ("z_um", "y_um", "x_um", "time_increment_s")


def assert_same_as_bio_formats(
    path: Path, series: str | None = None, *, explained: Collection[str] = ()
) -> None:
    """Compare all that our reader and Bio-Formats say about a source, and every pixel.

    Parameters
    ----------
    path : Path
        The source.
    series : str, optional
        Which image, as our reader calls it; all where None.
    explained : collection of str
        What is known to differ, and is explained where this is called: ``count``, ``shape``,
        ``dtype``, ``pixels``, ``channels``, or a field such as ``x_um``. An explained difference
        that is not there fails too. Where counts differ, those are compared that both have.

    Notes
    -----
    The images are matched by their places: the n-th of ours with the n-th of Bio-Formats.
    """
    ours = [entry.series for entry in list_images(path)]
    theirs = [entry.series for entry in list_images(path, reader="bioformats")]
    found: dict[str, object] = {}
    if len(ours) != len(theirs):
        found["count"] = (ours, theirs)
    for name, other in zip(ours, theirs, strict=False):
        if series in (None, name):
            with (
                open_image(path, name) as one,
                open_image(path, other, reader="bioformats") as two,
            ):
                found |= {key: (name, *values) for key, values in _differences(one, two).items()}
    assert series is None or series in ours, f"no image {series!r} among {ours}"
    unexplained = {key: value for key, value in found.items() if key not in explained}
    assert not unexplained, f"ours and Bio-Formats differ in {path.name}: {unexplained}"
    assert set(explained) == set(found), f"these do not differ: {set(explained) - set(found)}"


def _differences(ours: Image, theirs: Image) -> dict[str, tuple[object, object]]:
    """Return what differs: its name, our value and theirs."""
    found: dict[str, tuple[object, object]] = {}
    for key in _SIZES:
        pair = getattr(ours.metadata, key), getattr(theirs.metadata, key)
        if (pair[0] is None) != (pair[1] is None) or (
            pair[0] is not None and not np.isclose(pair[0], pair[1], rtol=1e-6, atol=0)
        ):
            found[key] = pair
    if ours.metadata.channel_names() != theirs.metadata.channel_names():
        found["channels"] = ours.metadata.channel_names(), theirs.metadata.channel_names()
    if ours.dtype != theirs.dtype:
        found["dtype"] = ours.dtype, theirs.dtype
    if ours.shape5 != theirs.shape5:
        found["shape"] = ours.shape5, theirs.shape5
    else:
        planes = _different_planes(ours, theirs)
        if planes:
            found["pixels"] = f"{len(planes)} planes (T, C, Z)", planes[:5]
    return found


def _different_planes(ours: Image, theirs: Image) -> list[tuple[int, ...]]:
    """Return which planes (T, C, Z) differ in any pixel; NaN equals NaN."""
    *planes, height, width = ours.shape5
    different = []
    for t, c, z in np.ndindex(*planes):
        region = (
            slice(t, t + 1),
            slice(c, c + 1),
            slice(z, z + 1),
            slice(0, height),
            slice(0, width),
        )
        one, two = ours.read(region), theirs.read(region)
        if not np.array_equal(one, two, equal_nan=one.dtype.kind == two.dtype.kind == "f"):
            different.append((t, c, z))
    return different
