"""Which files of an OME-Zarr were changed, as far as the OME-Zarr itself tells."""

from __future__ import annotations

import itertools
import lzma
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from parfocal.core.digest import zarr_keys

__all__ = ["DAMAGE", "signs_of_change"]

DAMAGE = (
    *(ValueError, KeyError, TypeError, AttributeError, IndexError, ArithmeticError),
    *(OSError, RuntimeError, MemoryError, EOFError, zlib.error, lzma.LZMAError),
)
"""What libraries raise of metadata and chunks in which any byte may have been changed."""
_MOST = 20
_SLACK_S = 2.0  # clocks of file servers, and times that are kept in whole seconds


def signs_of_change(path: Path, made: datetime | None) -> tuple[str, ...]:
    """Name the files of an OME-Zarr that cannot be read, or were written after it was made.

    A flipped bit that still decodes and leaves the time of the file alone is not among them.

    Parameters
    ----------
    path : Path
        The folder of the OME-Zarr, whose digest is not the expected one.
    made : datetime or None
        When the attempt ended that made it.
    """
    told = [*itertools.islice(_broken(path), _MOST + 1)]
    if len(told) > _MOST:
        told[_MOST] = "and more that cannot be read"
    late = _late(path, made) if made else []
    told += [f"{name} was written later, at {time}" for name, time in late[:_MOST]]
    if len(late) > _MOST:
        told.append(f"and {len(late) - _MOST} more files were written later")
    return tuple(told)


def _late(path: Path, made: datetime) -> list[tuple[str, str]]:
    """Return the files that were written after `made`; none where all were, as by copying."""
    times = {name: (path / name).stat().st_mtime for name in zarr_keys(path)}
    late = {name: t for name, t in times.items() if t > made.timestamp() + _SLACK_S}
    if len(late) == len(times):
        return []
    return [(n, f"{datetime.fromtimestamp(t, UTC):%Y-%m-%d %H:%M:%S} UTC") for n, t in late.items()]


def _broken(path: Path) -> Iterator[str]:
    """Yield what cannot be read: documents of metadata, and chunks or shards."""
    import zarr

    for name in zarr_keys(path):
        document = name.rpartition("/")[2]
        if document not in ("zarr.json", ".zarray"):
            continue
        try:
            node: Any = zarr.open((path / name).parent, mode="r")
        except DAMAGE as error:
            yield f"{name} cannot be read: {_line(error)}"
            continue
        if isinstance(node, zarr.Array):
            yield from _broken_chunks(node, name.removesuffix(document))


def _broken_chunks(array: Any, prefix: str) -> Iterator[str]:
    sizes = array.shards or array.chunks
    counts = [-(-length // size) for length, size in zip(array.shape, sizes, strict=True)]
    for place in itertools.product(*map(range, counts)):
        start = [at * size for at, size in zip(place, sizes, strict=True)]
        try:
            array[tuple(slice(s, s + size) for s, size in zip(start, sizes, strict=True))]
        except DAMAGE as error:
            yield f"{prefix}{array.metadata.encode_chunk_key(place)} cannot be read: {_line(error)}"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
