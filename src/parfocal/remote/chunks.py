"""Which keys the chunks or shards of a Zarr array have, from its metadata alone.

Source: Zarr specification versions 2 and 3.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from parfocal.errors import InputError
from parfocal.remote.shards import ShardLayout, layout_of

__all__ = ["ChunkGrid", "grid_of_v2", "grid_of_v3"]


Inside = list[tuple[int, int]]


@dataclass(frozen=True)
class ChunkGrid:
    """The stored objects of one array.

    Attributes
    ----------
    path : str
        Of the array below the root.
    counts : tuple of int
        How many objects along each axis; shards where the array is sharded.
    prefix : str
        What stands before the indices: ``c`` in Zarr 3, nothing in Zarr 2.
    separator : str
        What stands between indices.
    chunk : tuple of int
        Size of an object along each axis, in pixels.
    shape : tuple of int
        Size of the array.
    shards : ShardLayout, optional
        How chunks lie in the objects, where they are shards whose index is understood.
    """

    path: str
    counts: tuple[int, ...]
    prefix: str
    separator: str
    chunk: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()
    shards: ShardLayout | None = None

    def __len__(self) -> int:
        """Return the number of keys."""
        return math.prod(self.counts)

    def __iter__(self) -> Iterator[str]:
        """Yield the keys below the root, in C order."""
        for index in itertools.product(*(range(count) for count in self.counts)):
            yield self._key(index)

    def _key(self, index: tuple[int, ...]) -> str:
        parts = [str(number) for number in index]
        if self.prefix:
            name = self.separator.join([self.prefix, *parts])
        else:
            name = self.separator.join(parts) or "0"
        return f"{self.path}/{name}" if self.path else name

    def touched(self, region: Sequence[tuple[int, int]]) -> Iterator[tuple[str, Inside]]:
        """Yield the keys of objects that a region of the array touches, in C order.

        Parameters
        ----------
        region : sequence of (start, stop)
            In pixels, one an axis.

        Yields
        ------
        key : str
            Below the root.
        inside : list of (start, stop)
            The part of the object that lies in the region, from its own first pixel on.
        """
        spans = [
            range(start // size, -(-stop // size))
            for (start, stop), size in zip(region, self.chunk, strict=True)
        ]
        for index in itertools.product(*spans):
            inside = [
                (max(start - number * size, 0), min(stop - number * size, size))
                for number, size, (start, stop) in zip(index, self.chunk, region, strict=True)
            ]
            yield self._key(index), inside


def grid_of_v3(path: str, document: Mapping[str, Any], where: str) -> ChunkGrid:
    """Return the grid that a ``zarr.json`` of an array describes.

    Parameters
    ----------
    path : str
        Of the array below the root.
    document : mapping
        The parsed ``zarr.json``.
    where : str
        The URL of the document, for errors.

    Raises
    ------
    InputError
        If the document describes no array, or a grid or keys that are not supported.
    """
    try:
        grid, encoding = document["chunk_grid"], document["chunk_key_encoding"]
        names = (document["node_type"], grid["name"], encoding["name"])
        separators = {"default": "/", "v2": "."}
        configuration = encoding.get("configuration", {})
        separator = configuration.get("separator", separators.get(encoding["name"]))
        shape = tuple(int(size) for size in document["shape"])
        chunk = tuple(int(size) for size in grid["configuration"]["chunk_shape"])
        counts = _counts(shape, chunk)
        shards = layout_of(document)
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        raise _unusable(where, f"{type(error).__name__} {error}") from error
    if names not in (("array", "regular", "default"), ("array", "regular", "v2")):
        raise _unusable(where, names)
    if separator not in ("/", "."):
        raise _unusable(where, f"separator {separator!r}")
    prefix = "c" if names[2] == "default" else ""
    return ChunkGrid(path, counts, prefix, separator, chunk, shape, shards)


def grid_of_v2(path: str, document: Mapping[str, Any], where: str) -> ChunkGrid:
    """Return the grid that a ``.zarray`` describes; see `grid_of_v3`."""
    try:
        shape = tuple(int(size) for size in document["shape"])
        chunk = tuple(int(size) for size in document["chunks"])
        counts = _counts(shape, chunk)
        separator = document.get("dimension_separator", ".")
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        raise _unusable(where, f"{type(error).__name__} {error}") from error
    if separator not in ("/", "."):
        raise _unusable(where, f"separator {separator!r}")
    return ChunkGrid(path, counts, "", separator, chunk, shape)


def _counts(shape: Sequence[int], chunk: Sequence[int]) -> tuple[int, ...]:
    return tuple(-(-size // step) for size, step in zip(shape, chunk, strict=True))


def _unusable(where: str, found: object) -> InputError:
    return InputError(
        "The metadata of an array cannot be used",
        where=where,
        expected="a Zarr array with a regular grid of chunks",
        found=found,
        remedy="Check that the URL is that of a valid OME-Zarr.",
    )
