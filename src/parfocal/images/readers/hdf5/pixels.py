"""Read regions of images that lie in one or several datasets of an HDF5 file."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Region, Shape, region_shape
from parfocal.errors import InputError

__all__ = ["DatasetPixels", "check_dataset", "native_dtype", "open_hdf5", "reading"]

_DAMAGE = (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError, IndexError)
_CACHE_BYTES = 32 * 2**20
_DAMAGED = "The file is truncated or damaged: copy or download it again."


def open_hdf5(path: Path) -> Any:
    """Open an HDF5 file for reading, as h5py does.

    Raises
    ------
    InputError
        If it is damaged, or no HDF5 file.
    """
    import h5py

    if find_spec("hdf5plugin") is not None:
        import hdf5plugin  # noqa: F401 - makes more kinds of compression known to h5py

    try:
        return h5py.File(path, "r", rdcc_nbytes=_CACHE_BYTES, locking=False)
    except _DAMAGE as error:
        what = "The HDF5 file cannot be opened"
        raise InputError(what, where=path, found=_short(error), remedy=_DAMAGED) from error


@contextmanager
def reading(where: object) -> Iterator[None]:
    """Turn what h5py raises for damaged files into an error about `where`.

    Raises
    ------
    InputError
        Instead of what h5py raises.
    """
    try:
        yield
    except _DAMAGE as error:
        what = "The HDF5 file cannot be read"
        raise InputError(what, where=where, found=_short(error), remedy=_DAMAGED) from error


def _short(error: Exception) -> str:
    return " ".join(str(error).split())


def native_dtype(dtype: np.dtype[Any], where: object) -> np.dtype[Any]:
    """Return the data type in native byte order; uint8 for bool.

    Raises
    ------
    InputError
        If it is none of numbers of up to 64 bits.
    """
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        what = "The data type of the dataset is not supported"
        expected = "integers or floats of up to 64 bits"
        remedy = "Save real and imaginary part, or magnitude and phase, as separate datasets."
        raise InputError(what, where=where, expected=expected, found=dtype, remedy=remedy)
    return dtype.newbyteorder("=")


def check_dataset(dataset: Any, where: str, warn: list[str]) -> None:
    """Refuse a dataset that h5py cannot read whole; tell of chunks that are not stored.

    Raises
    ------
    InputError
        If it is compressed by a filter that is not installed, or lies in other files.
    """
    import h5py

    if dataset.is_virtual or dataset.external:
        what = "The dataset lies in other files"
        remedy = "Copy it into one file, such as with h5repack."
        raise InputError(what, where=where, remedy=remedy)
    properties = dataset.id.get_create_plist()
    filters = [properties.get_filter(n) for n in range(properties.get_nfilters())]
    unknown = [f"{code} ({name.decode()})" for code, _, _, name in filters if not _known(code)]
    if unknown:
        what = "The dataset is compressed in a way that is not installed"
        found = f"HDF5 filter {', '.join(unknown)}"
        remedy = "Install it: pip install hdf5plugin."
        raise InputError(what, where=where, found=found, remedy=remedy)
    if dataset.chunks is None:
        if properties.get_layout() == h5py.h5d.CONTIGUOUS and dataset.id.get_offset() is None:
            warn.append(f"{where}: no value is stored; all are read as {dataset.fillvalue}")
        return
    grid = [-(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks, strict=True)]
    missing = int(np.prod(grid, dtype=object)) - dataset.id.get_num_chunks()
    if missing > 0:
        warn.append(f"{where}: {missing} chunks are not stored, read as {dataset.fillvalue}")


def _known(code: int) -> bool:
    import h5py

    return bool(h5py.h5z.filter_avail(code))


class DatasetPixels:
    """Pixels in datasets, one for each time point and channel or one for all.

    Parameters
    ----------
    file : h5py.File
        The file.
    path : Path
        Its path, for errors.
    names : (T, C) sequence of str
        The paths of the datasets; ``[[name]]`` where there is one for all.
    axes : str
        The axes of each dataset, in its order, of TCZYX.
    shape5 : tuple of int
        Sizes of the image, which may be smaller than the datasets.
    dtype : numpy.dtype
        Data type of the image; of as many bytes as that of the datasets.
    """

    def __init__(
        self,
        file: Any,
        path: Path,
        names: Sequence[Sequence[str]],
        axes: str,
        shape5: Shape,
        dtype: np.dtype[Any],
    ) -> None:
        self._file = file
        self._path = path
        self._names = names
        self._axes = axes
        self.shape5 = shape5
        self.dtype = dtype
        self._lock = threading.Lock()
        self._latest: tuple[str, Any] = ("", None)

    def read(self, region: Region) -> NDArray[Any]:
        """Return the pixels of `region` as an array (T, C, Z, Y, X).

        Raises
        ------
        InputError
            If the file is damaged there.
        """
        if "T" in self._axes or "C" in self._axes or len(self._names) * len(self._names[0]) == 1:
            return self._read_one(self._names[0][0], region)
        out = np.empty(region_shape(region), self.dtype)
        t, c, *inner = region
        z, y, x = inner
        one = slice(0, 1)
        for i in range(t.start, t.stop):
            for j in range(c.start, c.stop):
                block = self._read_one(self._names[i][j], (one, one, z, y, x))
                out[i - t.start, j - c.start] = block[0, 0]
        return out

    def _read_one(self, name: str, region: Region) -> NDArray[Any]:
        parts = dict(zip("TCZYX", region, strict=True))
        index = tuple(parts[axis] for axis in self._axes)
        with self._lock, reading(f"{self._path}, dataset {name}"):
            if self._latest[0] != name:  # only one is open, as each has a cache of its own
                self._latest = (name, self._file[name])
            stored = self._latest[1][index]
        order = [self._axes.index(axis) for axis in "TCZYX" if axis in self._axes]
        block = np.transpose(stored, order).reshape(region_shape(region))
        if block.dtype.kind in "iu" and block.dtype.kind != self.dtype.kind:
            block = block.astype(block.dtype.newbyteorder("=")).view(self.dtype)
        return np.ascontiguousarray(block, self.dtype)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._latest = ("", None)
            self._file.close()
