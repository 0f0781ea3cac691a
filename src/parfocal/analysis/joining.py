"""Which labels of blocks, or of tiles, belong together: memory goes with those that are joined."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Joined", "join_pairs"]

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Joined:
    """Labels that are counted through all blocks from 1, and numbers of what they belong to.

    The least label of each group, and every label that is joined to none, has a number of its own,
    in their order and without gaps; 0 has 0.

    Attributes
    ----------
    labels : (N,) int64
        The sorted labels that are joined to lesser ones.
    groups : (N,) int64
        The number of the group of each.
    """

    labels: Integers
    groups: Integers

    @classmethod
    def of(cls, labels: Integers, least: Integers) -> Joined:
        """Give the groups that `join_pairs` found numbers."""
        return cls(labels, least - np.searchsorted(labels, least))

    def numbers(self, start: int, stop: int) -> Integers:
        """Return the numbers (stop - start,) of the labels from `start` on."""
        first, last = np.searchsorted(self.labels, (start, stop))
        places = self.labels[first:last] - start
        joined = np.zeros(stop - start, np.int64)
        joined[places] = 1
        numbers: Integers = np.arange(start - first, stop - first) - np.cumsum(joined)
        numbers[places] = self.groups[first:last]
        return numbers


def join_pairs(pairs: Integers) -> tuple[Integers, Integers]:
    """Return which labels are joined to a lesser one, and the least that each is joined to.

    Only labels that are joined to others are nodes of the graph, of which SciPy takes no more than
    31 bits can number.

    Parameters
    ----------
    pairs : (N, 2) int64
        Labels that belong together.

    Returns
    -------
    labels, least : (M,) int64
        The labels in their order.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names, places = np.unique(pairs, return_inverse=True)
    one, other = places.reshape(-1, 2).T
    shape = (len(names), len(names))
    graph = coo_array((np.ones(len(one), bool), (one, other)), shape=shape)
    groups, of_name = connected_components(graph, directed=False)
    lowest = np.full(groups, np.iinfo(np.int64).max)
    np.minimum.at(lowest, of_name, names)
    least = lowest[of_name]
    lesser = least < names
    return names[lesser], least[lesser]
