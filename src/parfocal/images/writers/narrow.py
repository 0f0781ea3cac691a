"""Labels of 64 bits in 32 bits, where they fit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Readable, Region, Shape
from parfocal.errors import InputError

__all__ = ["NarrowedLabels"]

_WIDEST = np.iinfo(np.uint32).max


class NarrowedLabels:
    """Labels of 64 bits that are read as uint32; a label that does not fit is refused.

    Parameters
    ----------
    source : Readable
        Labels of int64 or uint64.
    where : object
        What to name in errors before the plane.
    """

    def __init__(self, source: Readable, where: object) -> None:
        self._source = source
        self._where = where
        self.shape5: Shape = source.shape5
        self.dtype: np.dtype[Any] = np.dtype(np.uint32)

    def read(self, region: Region) -> NDArray[Any]:
        """Return the labels of `region` as an array (T, C, Z, Y, X) of uint32.

        Raises
        ------
        InputError
            If one of them is negative or needs more than 32 bits.
        """
        labels = self._source.read(region)
        wrong = (labels < 0) | (labels > _WIDEST)
        if wrong.any():
            first = np.argwhere(wrong)[0]
            t, c, z = (one.start + int(n) for one, n in zip(region[:3], first[:3], strict=True))
            what = "A label does not fit into 32 bits, and OME-TIFF has no more"
            remedy = "Write an OME-Zarr, or number the labels anew."
            raise InputError(
                what,
                where=f"{self._where}, T {t}, C {c}, Z {z}",
                expected=f"labels from 0 to {_WIDEST}",
                found=int(labels[tuple(first)]),
                remedy=remedy,
            )
        return labels.astype(self.dtype)
