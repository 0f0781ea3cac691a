"""Which keys the chunks or shards of a Zarr array have, from its metadata alone.

Source: Zarr specification versions 2 and 3.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from parfocal.errors import InputError

__all__ = ["ChunkGrid", "grid_of_v2", "grid_of_v3"]


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
    """

    path: str
    counts: tuple[int, ...]
    prefix: str
    separator: str

    def __len__(self) -> int:
        """Return the number of keys."""
        return math.prod(self.counts)

    def __iter__(self) -> Iterator[str]:
        """Yield the keys below the root, in C order."""
        for index in itertools.product(*(range(count) for count in self.counts)):
            parts = [str(number) for number in index]
            if self.prefix:
                name = self.separator.join([self.prefix, *parts])
            else:
                name = self.separator.join(parts) or "0"
            yield f"{self.path}/{name}" if self.path else name


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
        counts = _counts(document["shape"], grid["configuration"]["chunk_shape"])
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        raise _unusable(where, f"{type(error).__name__} {error}") from error
    if names not in (("array", "regular", "default"), ("array", "regular", "v2")):
        raise _unusable(where, names)
    if separator not in ("/", "."):
        raise _unusable(where, f"separator {separator!r}")
    return ChunkGrid(path, counts, "c" if names[2] == "default" else "", separator)


def grid_of_v2(path: str, document: Mapping[str, Any], where: str) -> ChunkGrid:
    """Return the grid that a ``.zarray`` describes; see `grid_of_v3`."""
    try:
        counts = _counts(document["shape"], document["chunks"])
        separator = document.get("dimension_separator", ".")
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        raise _unusable(where, f"{type(error).__name__} {error}") from error
    if separator not in ("/", "."):
        raise _unusable(where, f"separator {separator!r}")
    return ChunkGrid(path, counts, "", separator)


def _counts(shape: list[int], chunk: list[int]) -> tuple[int, ...]:
    return tuple(-(-int(size) // int(step)) for size, step in zip(shape, chunk, strict=True))


def _unusable(where: str, found: object) -> InputError:
    return InputError(
        "The metadata of an array cannot be used",
        where=where,
        expected="a Zarr array with a regular grid of chunks",
        found=found,
        remedy="Check that the URL is that of a valid OME-Zarr.",
    )
