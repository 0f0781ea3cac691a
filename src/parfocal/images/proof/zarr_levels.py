"""Read OME-Zarr by zarr-python, which had no part in the conversion.

Chunks of results are decoded by zarrs, an implementation of Zarr of its own in Rust; those of
sources, which may use any codec, by zarr-python itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Readable, Region, Shape, region_shape
from parfocal.errors import InputError
from parfocal.models.image import AXES

__all__ = ["zarr_python_levels"]

_DAMAGE = (ValueError, RuntimeError, OSError, KeyError, TypeError, IndexError, OverflowError)
_PIPELINES = {
    True: "zarrs.ZarrsCodecPipeline",
    False: "zarr.core.codec_pipeline.BatchedCodecPipeline",
}


class _ZarrPythonLevel:
    """An array read by zarr-python, in the axes (T, C, Z, Y, X)."""

    def __init__(self, array: Any, axes: str, path: Path) -> None:
        self._array = array
        self._axes = axes
        self._path = path
        sizes = dict(zip(axes, array.shape, strict=True))
        t, c, z, y, x = (int(sizes.get(axis, 1)) for axis in AXES)
        self.shape5: Shape = (t, c, z, y, x)
        dtype = np.dtype(array.dtype).newbyteorder("=")
        self.dtype: np.dtype[Any] = np.dtype(np.uint8) if dtype == np.bool_ else dtype

    def read(self, region: Region) -> NDArray[Any]:
        """Return the pixels of `region` as an array (T, C, Z, Y, X).

        Raises
        ------
        InputError
            If a chunk is damaged.
        """
        kept = zip(AXES, region, strict=True)
        parts = tuple(part for axis, part in kept if axis in self._axes)
        try:
            pixels = self._array[parts]
        except _DAMAGE as error:
            what = "A chunk of the OME-Zarr cannot be read"
            found = f"{error}, in {dict(zip(AXES, region, strict=True))}"
            raise InputError(what, where=self._path, found=found) from error
        return np.asarray(pixels, self.dtype).reshape(region_shape(region))


def zarr_python_levels(
    path: Path, datasets: Sequence[str], axes: str, threads: int, *, fast: bool = False
) -> tuple[Readable, ...]:
    """Open the levels of an OME-Zarr by zarr-python.

    Parameters
    ----------
    path : Path
        The image.
    datasets : sequence of str
        The paths of its levels, the full resolution first.
    axes : str
        Its axes.
    threads : int
        How many chunks are decoded at once.
    fast : bool
        Whether zarrs decodes the chunks.

    Raises
    ------
    InputError
        If a level cannot be opened or has not these axes.
    """
    import zarr

    settings = {
        "async.concurrency": max(1, threads),
        "threading.max_workers": threads,
        "codec_pipeline.path": _PIPELINES[fast],
    }
    levels = []
    with zarr.config.set(settings):
        for name in datasets:
            try:
                array = zarr.open_array(path / name, mode="r")
            except _DAMAGE as error:
                what = "A level of the OME-Zarr cannot be opened"
                raise InputError(what, where=path / name, found=error) from error
            if len(array.shape) != len(axes):
                what = "A level of the OME-Zarr has not as many dimensions as axes"
                raise InputError(what, where=path / name, expected=axes, found=array.shape)
            levels.append(_ZarrPythonLevel(array, axes, path / name))
    return tuple(levels)
