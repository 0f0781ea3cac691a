"""Sums and extremes per label, joined from blocks in any order."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.exact import Integers

__all__ = ["Grouping", "Part", "Totals"]

_LOW = (1 << 32) - 1
_PENDING_ROWS = 1 << 15


class Grouping:
    """Which entries of a list share an id, for reductions over each id.

    Parameters
    ----------
    ids : (N,) int64
        The id of each entry, N > 0.
    """

    def __init__(self, ids: Integers) -> None:
        self._order = np.argsort(ids, kind="stable")
        ordered = ids[self._order]
        self._starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
        self.ids: Integers = ordered[self._starts]

    def reduce(self, operation: np.ufunc, values: NDArray[Any]) -> NDArray[Any]:
        """Return `operation` over the `values` of each id, in the order of `ids`."""
        result: NDArray[Any] = operation.reduceat(values[self._order], self._starts)
        return result


@dataclass(frozen=True)
class Part:
    """What one block says of the labels in it.

    Attributes
    ----------
    ids : (N,) int64
        Sorted labels.
    sums : dict of key to (N,) int64
        To be added; a key that is missing counts as 0.
    minima, maxima : dict of key to (N,) array
        Each part of the same totals has the same keys.
    """

    ids: Integers
    sums: Mapping[Hashable, Integers]
    minima: Mapping[Hashable, NDArray[Any]]
    maxima: Mapping[Hashable, NDArray[Any]]


@dataclass
class Totals:
    """Parts added up exactly: sums are kept in two words, as ``high * 2**32 + low``."""

    ids: Integers = field(default_factory=lambda: np.zeros(0, np.int64))
    minima: dict[Hashable, NDArray[Any]] = field(default_factory=dict)
    maxima: dict[Hashable, NDArray[Any]] = field(default_factory=dict)
    _words: dict[Hashable, tuple[Integers, Integers]] = field(default_factory=dict)
    _pending: list[Part] = field(default_factory=list)
    _pending_rows: int = 0

    def add(self, part: Part) -> None:
        """Add what a block says."""
        if part.ids.size == 0:
            return
        self._pending.append(part)
        self._pending_rows += part.ids.size
        if self._pending_rows > max(_PENDING_ROWS, self.ids.size):
            self.settle()

    def settle(self) -> None:
        """Join all parts added so far; call it before reading anything."""
        parts, self._pending, self._pending_rows = self._pending, [], 0
        if not parts:
            return
        grouping = Grouping(np.concatenate([self.ids, *(part.ids for part in parts)]))
        keys = dict.fromkeys([*self._words, *(key for part in parts for key in part.sums)])
        words = {key: _add_words(grouping, self._all_words(key, parts)) for key in keys}
        for name, operation in (("minima", np.minimum), ("maxima", np.maximum)):
            own = getattr(self, name)
            given = [getattr(part, name) for part in parts]
            extremes = {
                key: grouping.reduce(
                    operation,
                    np.concatenate([*([own[key]] if own else []), *(each[key] for each in given)]),
                )
                for key in given[0]
            }
            setattr(self, name, extremes)
        self.ids, self._words = grouping.ids, words

    def _all_words(self, key: Hashable, parts: Sequence[Part]) -> tuple[Integers, Integers]:
        zeros = np.zeros(self.ids.size, np.int64)
        high, low = self._words.get(key, (zeros, zeros))
        sums = [part.sums.get(key, np.zeros(part.ids.size, np.int64)) for part in parts]
        return (
            np.concatenate([high, *(each >> 32 for each in sums)]),
            np.concatenate([low, *(each & _LOW for each in sums)]),
        )

    def sum_keys(self) -> list[Hashable]:
        """Return the keys of all sums."""
        return list(self._words)

    def exact(self, key: Hashable) -> NDArray[np.object_]:
        """Return the sums of `key` as an array (N,) of Python integers; 0 for an unknown key."""
        if key not in self._words:
            return np.full(self.ids.size, 0, object)
        high, low = self._words[key]
        total: NDArray[np.object_] = high.astype(object) * (1 << 32) + low.astype(object)
        return total


def _add_words(grouping: Grouping, words: tuple[Integers, Integers]) -> tuple[Integers, Integers]:
    high, low = (grouping.reduce(np.add, each) for each in words)
    return high + (low >> 32), low & _LOW
