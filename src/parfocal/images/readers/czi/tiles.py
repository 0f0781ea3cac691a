"""The tiles of a CZI: which there are, in which scene and plane, and what they leave bare."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Box", "Scene", "Tile", "area", "list_tiles", "scenes_of"]

PLANE_DIMENSIONS = "TCZ"


class Box(NamedTuple):
    """A rectangle in pixels; `x` and `y` may be negative."""

    x: int
    y: int
    w: int
    h: int


@dataclass(frozen=True)
class Tile:
    """A tile at full resolution.

    Parameters
    ----------
    scene : int, optional
        Number of its scene; None where the file has no scenes.
    plane : tuple of int
        Its indices T, C, Z as the file counts them, 0 where it does not.
    beyond : frozenset of (str, int)
        Its indices along all other dimensions, such as the phase H.
    box : Box
        Where it lies.
    pixel_type, compression : str
        As libCZI calls them.
    """

    scene: int | None
    plane: tuple[int, int, int]
    beyond: frozenset[tuple[str, int]]
    box: Box
    pixel_type: str
    compression: str


@dataclass(frozen=True)
class Scene:
    """The tiles of one image.

    Parameters
    ----------
    number : int, optional
        As the file counts; None where it has no scenes.
    tiles : tuple of Tile
        At least one.
    """

    number: int | None
    tiles: tuple[Tile, ...]

    @property
    def box(self) -> Box:
        """The rectangle around all tiles."""
        x, y = (min(getattr(tile.box, axis) for tile in self.tiles) for axis in "xy")
        right = max(tile.box.x + tile.box.w for tile in self.tiles)
        bottom = max(tile.box.y + tile.box.h for tile in self.tiles)
        return Box(x, y, right - x, bottom - y)

    @property
    def first(self) -> tuple[int, int, int]:
        """The lowest indices T, C, Z."""
        t, c, z = (min(tile.plane[n] for tile in self.tiles) for n in range(3))
        return t, c, z

    @property
    def sizes(self) -> tuple[int, int, int]:
        """The sizes along T, C, Z."""
        t, c, z = (
            max(tile.plane[n] for tile in self.tiles) - low + 1 for n, low in enumerate(self.first)
        )
        return t, c, z

    def pixel_types(self) -> dict[int, set[str]]:
        """Return what types of pixels the tiles of each channel have, by its index."""
        found: dict[int, set[str]] = {}
        for tile in self.tiles:
            found.setdefault(tile.plane[1], set()).add(tile.pixel_type)
        return found

    def beyond(self) -> dict[str, set[int]]:
        """Return the indices along each dimension besides T, C, Z, M, Y and X."""
        found: dict[str, set[int]] = {}
        for tile in self.tiles:
            for dimension, index in tile.beyond:
                found.setdefault(dimension, set()).add(index)
        return found

    def coverage(self) -> tuple[int, int, int]:
        """Return how many planes have no tile, have bare pixels, and have overlapping tiles."""
        planes: dict[tuple[int, int, int], list[Box]] = {}
        for tile in self.tiles:
            planes.setdefault(tile.plane, []).append(tile.box)
        layouts = Counter(tuple(sorted(boxes)) for boxes in planes.values())
        bare = lapped = 0
        whole = self.box.w * self.box.h
        for boxes, count in layouts.items():
            covered = area(boxes)
            bare += count * (covered < whole)
            lapped += count * (covered < sum(box.w * box.h for box in boxes))
        return int(np.prod(self.sizes)) - len(planes), bare, lapped


def area(boxes: Iterable[Box]) -> int:
    """Return how many pixels the boxes cover together."""
    known = np.array(sorted(set(boxes)), np.int64).reshape(-1, 4)
    rows = np.unique(np.concatenate([known[:, 1], known[:, 1] + known[:, 3]]))
    total = 0
    for top, bottom in itertools.pairwise(rows):
        inside = known[(known[:, 1] <= top) & (known[:, 1] + known[:, 3] >= bottom)]
        end = np.iinfo(np.int64).min
        for x, _, w, _ in inside:  # sorted by x
            total += int(bottom - top) * max(0, int(x + w) - max(int(x), int(end)))
            end = max(end, x + w)
    return total


def list_tiles(reader: Any) -> Iterator[Tile]:
    """Yield the tiles at full resolution; those of its pyramid are left out.

    Parameters
    ----------
    reader : pylibCZIrw.czi.CziReader
        The open file.
    """
    found: list[Any] = []

    def take(_: int, info: Any) -> bool:
        rect, stored = info.logicalRect, info.physicalSize
        if (rect.w, rect.h) == (stored.w, stored.h):
            place: Mapping[str, int] = info.coordinate.to_dict()
            box = Box(rect.x, rect.y, rect.w, rect.h)
            mode = f"{info.get_compression_mode().name} {info.compressionModeRaw}"
            found.append((place, box, info.pixelType, mode))
        return True

    reader.enumerate_subblocks(take)
    for place, box, pixel_type, mode in found:
        t, c, z = (place.get(dimension, 0) for dimension in PLANE_DIMENSIONS)
        rest = place.keys() - set(PLANE_DIMENSIONS) - {"S", "M"}
        beyond = frozenset((dimension, place[dimension]) for dimension in rest)
        yield Tile(place.get("S"), (t, c, z), beyond, box, pixel_type.name, mode)


def scenes_of(tiles: Iterable[Tile]) -> list[Scene]:
    """Gather tiles into scenes, in the order of their numbers."""
    found: dict[int | None, list[Tile]] = {}
    for tile in tiles:
        found.setdefault(tile.scene, []).append(tile)
    order = sorted(found, key=lambda number: -1 if number is None else number)
    return [Scene(number, tuple(found[number])) for number in order]
