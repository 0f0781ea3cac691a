"""Zarr arrays by tensorstore: read those that exist, make new ones without chunks."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Region, Shape, region_shape
from parfocal.core.worker import WORKER
from parfocal.errors import InputError
from parfocal.images.rawfile import storage_error
from parfocal.images.writers.codecs import BLOSC, BLOSC_BLOCK_BYTES
from parfocal.images.writers.layout import LevelLayout
from parfocal.models.image import AXES
from parfocal.models.zarr_options import ZarrOptions

__all__ = ["ZarrLevel", "create_level", "open_level"]


@functools.lru_cache(maxsize=4)
def _context(threads: int) -> Any:
    """Return one pool of `threads` for all arrays, without a cache of chunks."""
    import tensorstore

    return tensorstore.Context(
        {
            "cache_pool": {"total_bytes_limit": 0},
            "data_copy_concurrency": {"limit": threads},
            "file_io_concurrency": {"limit": max(2, threads)},
            # Results are published whole by rename, so no file needs these of its own.
            "file_io_sync": False,
            "file_io_locking": {"mode": "none"},
        }
    )


class ZarrLevel:
    """One array of an OME-Zarr, read in the axes (T, C, Z, Y, X).

    When it is pickled, the other process opens it again.

    Parameters
    ----------
    path : Path
        The folder of the array.
    store : tensorstore.TensorStore
        The open array, whose axes are `axes`.
    axes : str
        Its axes, a part of TCZYX in that order.

    Notes
    -----
    `dtype` is that of the pixels as they are read: true and false are 1 and 0 of uint8.
    """

    def __init__(self, path: Path, store: Any, axes: str) -> None:
        self.path = path
        self.axes = axes
        self._store = store
        sizes = dict(zip(axes, store.shape, strict=True))
        t, c, z, y, x = (int(sizes.get(axis, 1)) for axis in AXES)
        self.shape5: Shape = (t, c, z, y, x)
        self.stored_dtype = np.dtype(store.dtype.numpy_dtype).newbyteorder("=")
        self.dtype = np.dtype(np.uint8) if self.stored_dtype == np.bool_ else self.stored_dtype

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle where it lies."""
        return _reopen, (self.path.absolute(), self.axes)

    @property
    def chunk5(self) -> Shape:
        """Sizes (T, C, Z, Y, X) of the blocks that are read whole."""
        sizes = dict(zip(self.axes, self._store.chunk_layout.read_chunk.shape, strict=True))
        t, c, z, y, x = (
            min(int(sizes.get(axis, 1)), size) for axis, size in zip(AXES, self.shape5, strict=True)
        )
        return t, c, z, y, x

    def _select(self, region: Region) -> Any:
        kept = zip(AXES, region, strict=True)
        return self._store[tuple(part for axis, part in kept if axis in self.axes)]

    def read(self, region: Region) -> NDArray[Any]:
        """Return the pixels of `region` as an array (T, C, Z, Y, X).

        Raises
        ------
        InputError
            If a chunk is damaged.
        """
        try:
            pixels = self._select(region).read().result()
        except ValueError as error:
            what = "A chunk of the OME-Zarr cannot be read"
            remedy = "It is damaged: copy or write the image again."
            raise InputError(what, where=self.path, found=_told(error), remedy=remedy) from error
        return np.asarray(pixels, self.dtype).reshape(region_shape(region))


def _os_error(error: ValueError) -> OSError:
    """Return what tensorstore tells of a failed write, with its number where it tells one."""
    import errno
    import os

    for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
        if os.strerror(number) in str(error):
            return OSError(number, os.strerror(number))
    return OSError(0, str(error))


def _told(error: ValueError) -> str:
    """Return what tensorstore says, without the status and the specification around it."""
    text = str(error).partition(" [tensorstore_spec=")[0].partition(" [source locations=")[0]
    return text.partition(": ")[2] or text


def open_level(path: Path, axes: str, threads: int = 1) -> ZarrLevel:
    """Open an array of Zarr 2 or 3 for reading, decoding in `threads` threads.

    Raises
    ------
    InputError
        If there is none, its metadata are not valid, or its data type is not supported.
    """
    import tensorstore

    driver = "zarr3" if (path / "zarr.json").is_file() else "zarr"
    # Resolved, since tensorstore takes no path with two dots.
    spec = {"driver": driver, "kvstore": {"driver": "file", "path": f"{path.resolve()}/"}}
    try:
        store = tensorstore.open(spec, open=True, read=True, context=_context(threads)).result()
    except ValueError as error:
        what = "A level of the OME-Zarr cannot be opened"
        raise InputError(what, where=path, expected="a Zarr array", found=_told(error)) from error
    if len(store.shape) != len(axes):
        what = "A level of the OME-Zarr has not as many dimensions as axes are named"
        raise InputError(what, where=path, expected=axes, found=f"shape {tuple(store.shape)}")
    return ZarrLevel(path, store, axes)


def _reopen(path: Path, axes: str) -> ZarrLevel:
    """Open an array, once a process as long as it is not made anew."""
    found = (path / ("zarr.json" if (path / "zarr.json").is_file() else ".zarray")).stat()
    return _open_once(path, axes, (found.st_ino, found.st_mtime_ns))


@functools.lru_cache(maxsize=64)
def _open_once(path: Path, axes: str, _state: tuple[int, int]) -> ZarrLevel:
    return open_level(path, axes, WORKER.threads)


def create_level(
    path: Path,
    layout: LevelLayout,
    dtype: np.dtype[Any],
    axes: str,
    options: ZarrOptions,
    threads: int = 1,
) -> ZarrLevel:
    """Make an array, of which no chunk is written yet; decoding takes `threads` threads.

    Raises
    ------
    StorageError
        If the disk does not take it.
    """
    import tensorstore

    keep = [AXES.index(axis) for axis in axes]
    shape, chunk, shard = (
        [sizes[i] for i in keep] for sizes in (layout.shape, layout.chunk, layout.shard)
    )
    metadata: dict[str, Any]
    if options.ngff == "0.4":
        metadata = _metadata_2(shape, chunk, dtype, options)
    else:
        metadata = _metadata_3(shape, chunk, shard, dtype, options)
        metadata["dimension_names"] = list(axes.lower())
    spec = {
        "driver": "zarr" if options.ngff == "0.4" else "zarr3",
        "kvstore": {"driver": "file", "path": f"{path.resolve()}/"},
        "metadata": metadata,
    }
    if options.ngff == "0.4":
        spec["dtype"] = dtype.name
    try:
        store = tensorstore.open(spec, create=True, context=_context(threads)).result()
    except ValueError as error:
        raise storage_error(_os_error(error), path) from error
    return ZarrLevel(path, store, axes)


def _metadata_3(
    shape: list[int],
    chunk: list[int],
    shard: list[int],
    dtype: np.dtype[Any],
    options: ZarrOptions,
) -> dict[str, Any]:
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    if dtype.itemsize == 1:
        little = {"name": "bytes"}
    codecs = [little, *_codec_3(dtype, options)]
    grid = chunk
    if options.shard_mib:
        grid = shard
        index = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
        inner = {"chunk_shape": chunk, "codecs": codecs, "index_codecs": index}
        codecs = [{"name": "sharding_indexed", "configuration": inner}]
    return {
        "shape": shape,
        "data_type": dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": grid}},
        "codecs": codecs,
        "fill_value": 0,
    }


def _codec_3(dtype: np.dtype[Any], options: ZarrOptions) -> list[dict[str, Any]]:
    if options.codec in BLOSC:
        shuffle = "shuffle" if dtype.itemsize > 1 else "noshuffle"
        blosc: dict[str, Any] = {
            "cname": BLOSC[options.codec],
            "clevel": options.level,
            "shuffle": shuffle,
            "typesize": dtype.itemsize,
            "blocksize": BLOSC_BLOCK_BYTES,
        }
        return [{"name": "blosc", "configuration": blosc}]
    if options.codec == "zstd":
        return [{"name": "zstd", "configuration": {"level": options.level, "checksum": True}}]
    if options.codec == "gzip":
        return [{"name": "gzip", "configuration": {"level": options.level}}]
    return []


def _metadata_2(
    shape: list[int], chunk: list[int], dtype: np.dtype[Any], options: ZarrOptions
) -> dict[str, Any]:
    compressor: dict[str, Any] | None = None
    if options.codec in BLOSC:
        compressor = {
            "id": "blosc",
            "cname": BLOSC[options.codec],
            "clevel": options.level,
            "shuffle": 1 if dtype.itemsize > 1 else 0,
            "blocksize": BLOSC_BLOCK_BYTES,
        }
    elif options.codec == "zstd":
        compressor = {"id": "zstd", "level": options.level}
    elif options.codec == "gzip":
        compressor = {"id": "gzip", "level": options.level}
    return {
        "shape": shape,
        "chunks": chunk,
        "dtype": dtype.newbyteorder("<").str,
        "compressor": compressor,
        "fill_value": 0,
        "dimension_separator": "/",
        "order": "C",
        "filters": None,
    }
