"""Blocks for work that looks at the neighbourhood of pixels."""

from __future__ import annotations

from parfocal.core.blocks import Shape

__all__ = ["plan_thick"]

BLOCK_PIXELS = 1 << 21
BLOCK_SIDE = 512


def plan_thick(block5: Shape, shape: Shape, *, planar: bool) -> Shape:
    """Choose blocks of one channel of one time point with about two million pixels.

    Parameters
    ----------
    block5 : (T, C, Z, Y, X)
        The block that is cheap to read.
    shape : (T, C, Z, Y, X)
        Size of the image.
    planar : bool
        Whether planes are worked on one by one. Otherwise blocks are as thick as they can be,
        since a margin of further planes is read with each.

    Returns
    -------
    (1, 1, Z, Y, X)
        Size of the blocks.
    """
    y, x = (
        min(size, preferred * -(-BLOCK_SIDE // preferred))
        for size, preferred in zip(shape[3:], block5[3:], strict=True)
    )
    while y * x > BLOCK_PIXELS:
        y, x = (-(-y // 2), x) if y > x else (y, -(-x // 2))
    z = 1 if planar else min(shape[2], max(1, BLOCK_PIXELS // (y * x)))
    return 1, 1, z, y, x
