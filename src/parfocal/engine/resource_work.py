"""A step that is done to an image, and what is known of it before."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from parfocal.models.resources import ImageSize

if TYPE_CHECKING:
    from parfocal.core.blocks import Shape

__all__ = ["Work", "variants"]

_MIB = 2**20
_SINGLE, _DOUBLE = 4, 8
"""Bytes of float32 and float64, in which most steps calculate."""


@dataclass(frozen=True)
class Work:
    """A step that is done to an image.

    Attributes
    ----------
    step : str
        Name of the step.
    size : ImageSize
        The image; lengths in micrometres need its pixel size along X.
    threads : int
        How many threads a process has.
    params : mapping
        The parameters of the step, as a record tells them.
    chunk_px : int
        Height and width of the chunks of the converted image.
    halve_z : bool
        Whether its levels are halved along Z.
    """

    step: str
    size: ImageSize
    threads: int = 1
    params: Mapping[str, Any] = field(default_factory=dict)
    chunk_px: int = 512
    halve_z: bool = False

    @property
    def item(self) -> int:
        """Bytes of a pixel."""
        bits = re.search(r"\d+$", self.size.dtype)
        return int(bits[0]) // 8 if bits else 1  # bool

    @property
    def working(self) -> int:
        """Bytes of a pixel in the floats that hold it."""
        single = self.item < _SINGLE or self.size.dtype == "float32"
        return _SINGLE if single else _DOUBLE

    @property
    def floats(self) -> bool:
        """Whether pixels are floats."""
        return self.size.dtype.startswith("float")

    @property
    def image_mib(self) -> float:
        """Size of the image."""
        return math.prod(self.size.shape) * self.item / _MIB

    @property
    def block5(self) -> Shape:
        """The block that is cheap to read: a chunk."""
        y, x = (min(self.chunk_px, side) for side in self.size.shape[3:])
        return 1, 1, 1, y, x

    @property
    def planar(self) -> bool:
        """Whether planes are worked on by themselves."""
        mode = self.params.get("mode", "auto")
        return mode == "plane" or (mode == "auto" and self.size.shape[2] == 1)

    def count(
        self, unit: Sequence[int], channels: int | None = None, times: int | None = None
    ) -> int:
        """Return how many units of work, boxes along Z, Y, X, threads have at a time."""
        shape = self.size.shape
        boxes = math.prod(-(-size // side) for size, side in zip(shape[2:], unit, strict=True))
        number = (times or shape[0]) * (channels or shape[1]) * boxes
        return min(self.threads, number)

    def sides(self, values: Mapping[str, Any], name: str) -> tuple[float, float, float]:
        """Return a length along Z, Y, X in pixels; none along Z where planes are by themselves."""
        z, y, x = (step or 0.0 for step in self.size.pixel_um)
        length = values.get(f"{name}_um")
        length = values.get(f"{name}_px") or 0.0 if length is None else length / (x or 1.0)
        along_z, along_y = (x / step if x and step else 1.0 for step in (z, y))
        return 0.0 if self.planar else length * along_z, length * along_y, length


def variants(params: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the methods that parameters choose, such as ``filter.method=median``.

    That of the step itself is called ``method``.

    Parameters
    ----------
    params : mapping
        As a record tells them.
    """
    nested = {f"{key}.": value for key, value in params.items() if isinstance(value, Mapping)}
    return tuple(
        f"{prefix}method={within['method']}"
        for prefix, within in sorted(({"": params} | nested).items())
        if "method" in within
    )
