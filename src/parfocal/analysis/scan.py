"""Blocks of an image that are small enough to work on, and how far work on them has come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from parfocal.core.blocks import Shape

__all__ = ["Telling", "plan_block"]

Item = TypeVar("Item")

TARGET_PIXELS = 1 << 20


class Telling:
    """Progress of work that goes over the same blocks several times.

    Parameters
    ----------
    progress : callable
        Called as ``progress(done, total)``.
    total : int
        How many blocks there are in all passes.
    """

    def __init__(self, progress: Callable[[int, int], None], total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0.0

    def over(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield `items`, and tell when the next one is asked for."""
        for item in items:
            yield item
            self.advance(1)

    def advance(self, blocks: float) -> None:
        """Tell that so many blocks more are done."""
        self._done += blocks
        self._progress(min(self._total, round(self._done)), self._total)


def plan_block(preferred: Shape, shape: Shape, *, pixels: int = TARGET_PIXELS) -> Shape:
    """Choose blocks of one channel of one time point.

    Parameters
    ----------
    preferred : (T, C, Z, Y, X)
        The block that is cheap to read.
    shape : (T, C, Z, Y, X)
        Size of the image.
    pixels : int
        At most so many in a block; by default about a million.

    Returns
    -------
    (1, 1, Z, Y, X)
        `preferred`, doubled along X, Y, Z or halved along Z, Y, X as often as needed.
    """
    z, y, x = (min(size, whole) for size, whole in zip(preferred[2:], shape[2:], strict=True))
    while x < shape[4] and 2 * z * y * x <= pixels:
        x = min(2 * x, shape[4])
    while y < shape[3] and 2 * z * y * x <= pixels:
        y = min(2 * y, shape[3])
    while z < shape[2] and 2 * z * y * x <= pixels:
        z = min(2 * z, shape[2])
    while z > 1 and z * y * x > pixels:
        z = (z + 1) // 2
    while y > 1 and z * y * x > pixels:
        y = (y + 1) // 2
    while x > 1 and z * y * x > pixels:
        x = (x + 1) // 2
    return 1, 1, z, y, x
