"""The order of very many numbers, found with bounded memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis import scratch_rows
from parfocal.analysis.scratch_rows import Column, Rows, parts

__all__ = ["rank", "reorder"]

Integers = NDArray[np.int64]

_BITS = 16
"""The range of numbers is divided in ``2**_BITS``."""

_SORTED = 8
"""So many times as many numbers are sorted at once as there are rows in memory else."""


def rank(values: Column, folder: Path | None, dtype: Any = np.int64) -> Rows:
    """Return the places of values in their order.

    Parameters
    ----------
    values : (N,) Column
        Distinct integers, and negative ones, which are left out.
    folder : Path or None
        Where the ranks lie; see `Rows`.
    dtype : dtype-like
        Their data type.

    Returns
    -------
    Rows
        The rank of each value; 0 for a negative one.
    """
    ranks = Rows(1, folder, dtype)
    spans = []
    for part in parts(len(values)):
        some = values[part]
        spans.append((int(some.min()), int(some.max())))
        ranks.append(np.zeros(len(some), ranks.dtype))
    done = 0
    for low, high in _ranges(values, max([0, *(most for _, most in spans)])):
        places, found = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for part, (least, most) in zip(parts(len(values)), spans, strict=True):
            if least < high and most >= low:
                some = values[part]
                inside = np.flatnonzero((some >= low) & (some < high))
                places.append(inside + part.start)
                found.append(some[inside])
        order = np.argsort(np.concatenate(found))
        numbers = np.arange(done + 1, done + 1 + len(order))
        ranks.put(np.concatenate(places)[order], numbers)
        done += len(order)
    return ranks


def _ranges(values: Column, most: int) -> list[tuple[int, int]]:
    """Divide the numbers from 0 to `most` in ranges, each with few enough values to be sorted."""
    shift = max(0, most.bit_length() - _BITS)
    counts = np.zeros((most >> shift) + 1, np.int64)
    for part in parts(len(values)):
        some = values[part]
        counts += np.bincount(some[some >= 0] >> shift, minlength=len(counts))
    before = np.cumsum(counts) - counts
    groups = before // (_SORTED * scratch_rows.AT_ONCE)
    edges = [0, *(np.flatnonzero(np.diff(groups)) + 1).tolist(), len(counts)]
    return [(low << shift, high << shift) for low, high in itertools.pairwise(edges)]


def reorder(pieces: Iterable[Integers], ranks: Column, ordered: Rows, count: int) -> None:
    """Write rows in the order of their ranks.

    Parameters
    ----------
    pieces : iterable of (M, columns) int64
        The rows in `parts`.
    ranks : (N,) Column
        The rank of each, from 1; 0 where it is left out.
    ordered : Rows
        Where they go: nothing so far.
    count : int
        How many are not left out.
    """
    for part in parts(count):
        ordered.append(np.zeros((part.stop - part.start, ordered.columns), np.int64))
    for part, some in zip(parts(len(ranks)), pieces, strict=True):
        places = ranks[part]
        ordered.put(places[places > 0] - 1, some[places > 0])
