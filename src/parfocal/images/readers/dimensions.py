"""What readers have to work out about the axes of an image, whatever its format."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Readable, Region, Shape
from parfocal.errors import InputError
from parfocal.images.rawfile import RawFile
from parfocal.models.image import AXES

__all__ = [
    "FlippedRows",
    "check_extent",
    "kept_axes",
    "positive",
    "regular_interval",
    "rows_block",
    "to_json",
]

_EVEN = 0.01  # how far one interval may lie from the mean, as a part of it
_BLOCK_BYTES = 8 * 2**20


class FlippedRows:
    """Pixels whose rows are stored from the bottom of the picture to its top.

    Parameters
    ----------
    stored : Readable
        The pixels as they are stored.
    """

    def __init__(self, stored: Readable) -> None:
        self._stored = stored
        self.shape5: Shape = stored.shape5
        self.dtype = stored.dtype

    def read(self, region: Region) -> NDArray[Any]:
        """Return the pixels of `region` as an array (T, C, Z, Y, X), the top row first.

        Raises
        ------
        InputError
            If the file is damaged there.
        """
        t, c, z, y, x = region
        height = self.shape5[3]
        turned = slice(height - y.stop, height - y.start)
        return np.ascontiguousarray(self._stored.read((t, c, z, turned, x))[..., ::-1, :])


def kept_axes(shape5: Shape) -> dict[str, Any]:
    """Return `axes` and `shape` of an image: Y, X, and what else is longer than 1."""
    kept = [(a, s) for a, s in zip(AXES, shape5, strict=True) if s > 1 or a in "YX"]
    return {"axes": "".join(a for a, _ in kept), "shape": tuple(s for _, s in kept)}


def rows_block(shape5: Shape, itemsize: int) -> Shape:
    """Return a block (T, C, Z, Y, X) of whole rows of one plane, of some megabytes."""
    _, _, _, y, x = shape5
    return 1, 1, 1, max(1, min(y, _BLOCK_BYTES // (x * itemsize))), x


def check_extent(file: RawFile, needed: int, plane_bytes: int, warn: list[str]) -> None:
    """Refuse a file that is too short for its pixels, or longer by a plane or more.

    Parameters
    ----------
    file : RawFile
        The file, in which the pixels come last.
    needed : int
        Where the pixels end, by what its header states.
    plane_bytes : int
        Size of a plane.
    warn : list of str
        Where a few bytes after the pixels are told.

    Raises
    ------
    InputError
        If it is.
    """
    size = file.size()
    if needed > size:
        what = "The file ends before its pixels do"
        expected, found = f"at least {needed} bytes", f"{size} bytes"
        remedy = "The file is truncated or damaged: copy or download it again."
        raise InputError(what, where=file.path, expected=expected, found=found, remedy=remedy)
    if size - needed >= plane_bytes:
        what = "The file holds more planes than its header states"
        expected, found = f"{needed} bytes", f"{size} bytes"
        remedy = "Its header is damaged, or was written too early: save or download it again."
        raise InputError(what, where=file.path, expected=expected, found=found, remedy=remedy)
    if size > needed:
        warn.append(f"{file.path.name} has {size - needed} bytes after its pixels, left out")


def positive(value: float | None) -> float | None:
    """Return a size or wavelength, or None for what formats write where they do not know it."""
    return float(value) if value is not None and 0 < value < math.inf else None


def regular_interval(times: Sequence[float]) -> float | None:
    """Return the mean interval of points in time; None where one differs by more than 1 %.

    Parameters
    ----------
    times : sequence of float
        In any unit, which is that of the result.
    """
    steps = np.diff(np.asarray(times, np.float64))
    if not steps.size or not np.isfinite(steps).all():
        return None
    mean = float(steps.mean())
    even = mean > 0 and float(np.abs(steps - mean).max()) <= _EVEN * mean
    return mean if even else None


def to_json(content: Any) -> bytes:
    """Return metadata as JSON, always in the same bytes; what JSON cannot hold as text."""
    text = json.dumps(_plain(content), ensure_ascii=False, indent=1, sort_keys=True)
    return text.encode(errors="replace") + b"\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, str | int | float | bool | None) else str(value)
