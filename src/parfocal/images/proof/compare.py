"""Compare the pixels of two images, and the levels of a pyramid with its rule."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Readable, Region, Shape, iter_blocks, whole
from parfocal.core.ordered import in_order
from parfocal.images.proof.certificate import Difference, Plane
from parfocal.images.pyramid import halve, halve_labels

__all__ = ["PIXELS_DIFFER", "Comparison", "compare_images", "plane_digests"]

PIXELS_DIFFER = "Pixels differ"

_BLOCK_BYTES = 32 * 2**20
_BAND = 512  # rows; a multiple of the usual height of chunks, and even
_MOST = 20  # differences of one kind that are told

Progress = Callable[[int, int], None]
Key = tuple[int, int, int]


@dataclass(frozen=True)
class Comparison:
    """The planes of the result, of the source where they differ, and the differences.

    Parameters
    ----------
    planes : tuple of Plane
        Those of the full resolution of the result.
    source_digests : tuple of str
        The digests that these planes have in the source.
    differences : tuple of Difference
        Of the full resolution with the source, and of levels with the rule.
    largest : float
        The largest difference of a pixel from the source.
    """

    planes: tuple[Plane, ...] = ()
    source_digests: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    largest: float = 0.0


@dataclass
class _Findings:
    """What one block of planes gave."""

    found: dict[Key, str] = field(default_factory=dict)
    expected: dict[Key, str] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    largest: float = 0.0
    pixels: int = 0

    def add(self, part: _Findings) -> None:
        """Take over what another block gave."""
        self.found |= part.found
        self.expected |= part.expected
        self.differences += part.differences
        self.largest = max(self.largest, part.largest)
        self.pixels += part.pixels


def compare_images(
    source: Readable | None,
    levels: Sequence[Readable],
    *,
    labels: bool = False,
    together: int = 1,
    threads: int = 1,
    progress: Progress | None = None,
) -> Comparison:
    """Compare an image bit by bit with its source, and each level with the one before.

    Memory is a few blocks of rows for each thread, whatever the size of the image.

    Parameters
    ----------
    source : Readable or None
        What the full resolution should be; None to take digests and check levels only.
    levels : sequence of Readable
        The image, the full resolution first.
    labels : bool
        Whether they are labels, which have another rule of the pyramid.
    together : int
        How many channels are stored side by side, such as those of a colour picture.
    threads : int
        How many blocks are compared at once.
    progress : callable, optional
        Called as ``progress(done, total)``, in pixels of all levels.

    Returns
    -------
    Comparison
    """
    total = sum(math.prod(level.shape5) for level in levels)
    findings = _Findings()
    shrink = halve_labels if labels else halve
    for first, last in _passes(levels):
        truth = None if first else source
        work = _Work(truth, levels[first : last + 1], first, shrink, together)
        blocks = _plane_blocks(levels[first], together, work.pairs)
        for part in in_order(work, blocks, threads):
            findings.add(part)
            if progress:
                progress(min(findings.pixels, total), total)
    if progress:
        progress(total, total)
    return _summary(findings)


def plane_digests(image: Readable, threads: int = 1) -> tuple[Plane, ...]:
    """Return the digest of each plane of an image, in the order T, C, Z."""
    return compare_images(None, [image], threads=threads).planes


def _summary(findings: _Findings) -> Comparison:
    order = sorted(findings.found)
    planes = tuple(Plane(t=t, c=c, z=z, digest=findings.found[t, c, z]) for t, c, z in order)
    expected = tuple(findings.expected.get(key, findings.found[key]) for key in order)
    told: list[Difference] = []
    for difference in findings.differences:
        if sum(1 for other in told if other.what == difference.what) < _MOST:
            told.append(difference)
    return Comparison(planes, expected, tuple(told), findings.largest)


def _passes(levels: Sequence[Readable]) -> Iterator[tuple[int, int]]:
    """Divide the levels into passes, each from one to another that follows from it.

    Small planes are taken through all levels at once, each of which is then read only once.
    """
    first = 0
    while True:
        _, _, z, y, x = levels[first].shape5
        small = y * x * levels[first].dtype.itemsize <= _BLOCK_BYTES
        flat = all(level.shape5[2] == z for level in levels[first:])
        last = len(levels) - 1 if small and flat else min(first + 1, len(levels) - 1)
        yield first, last
        if last == len(levels) - 1:
            return
        first = last


def _plane_blocks(level: Readable, together: int, pairs: bool) -> Iterator[Region]:
    """Divide an image into blocks of whole planes; with `pairs` of an even number along Z."""
    t, c, z, y, x = level.shape5
    room = max(1, _BLOCK_BYTES // (y * x * level.dtype.itemsize))
    planes = min(z, max(1, room // together))
    if pairs:
        planes = max(2, planes - planes % 2)
    channels = min(c, max(together, room // planes)) if planes >= z else together
    times = min(t, max(1, room // (planes * channels))) if channels == c and planes >= z else 1
    block: Shape = (times, channels, planes, y, x)
    yield from iter_blocks(whole(level.shape5), block)


@dataclass(frozen=True)
class _Work:
    """The comparison of a level with the source, and with the levels that follow from it."""

    source: Readable | None
    levels: Sequence[Readable]
    number: int
    shrink: Callable[..., NDArray[Any]]
    together: int

    @property
    def pairs(self) -> bool:
        """Whether the next level is halved along Z."""
        return len(self.levels) > 1 and self._along_z(0)

    def _along_z(self, place: int) -> bool:
        return self.levels[place + 1].shape5[2] != self.levels[place].shape5[2]

    def __call__(self, region: Region) -> _Findings:
        """Compare the planes of `region`, band of rows by band of rows."""
        planes = _Planes(region)
        findings = _Findings()
        wrong: Counter[tuple[int, Key]] = Counter()
        for rows in self._bands(region):
            band = (*region[:3], rows, region[4])
            pixels = self.levels[0].read(band)
            findings.pixels += pixels.size
            if not self.number:
                self._compare(band, pixels, planes)
            self._follow(band, pixels, findings, wrong)
        if not self.number:
            planes.conclude(findings)
        for (number, key), count in sorted(wrong.items()):
            findings.differences.append(
                Difference(
                    what="A level does not follow from the one before",
                    where=f"level {number}, plane {_place(key)}",
                    expected="0 pixels that differ",
                    found=f"{count} pixels",
                )
            )
        return findings

    def _compare(self, band: Region, pixels: NDArray[Any], planes: _Planes) -> None:
        """Compare with the source, of which only a plane at a time is in memory."""
        for part in iter_blocks(band, (1, self.together, 1, *pixels.shape[3:])):
            inside = tuple(
                slice(one.start - all_.start, one.stop - all_.start)
                for one, all_ in zip(part, band, strict=True)
            )
            truth = self.source.read(part) if self.source is not None else None
            planes.note(part, pixels[inside], truth)

    def _bands(self, region: Region) -> Iterator[slice]:
        """Divide rows evenly into bands, each of which starts at an even row."""
        t, c, z, y, x = region
        row = (t.stop - t.start) * (c.stop - c.start) * (z.stop - z.start) * x.stop
        row *= self.levels[0].dtype.itemsize
        rows = _BLOCK_BYTES // row
        if len(self.levels) > 2:
            rows = y.stop  # small planes
        elif rows < _BAND:  # whole chunks, unless the image is very wide
            rows = min(_BAND, max(2, _BLOCK_BYTES // row))
            rows -= rows % 2
        elif rows < y.stop:
            rows -= rows % _BAND
        for start in range(0, y.stop, rows):
            yield slice(start, min(y.stop, start + rows))

    def _follow(
        self,
        band: Region,
        pixels: NDArray[Any],
        findings: _Findings,
        wrong: Counter[tuple[int, Key]],
    ) -> None:
        """Compare each level with what follows from the one before; count in `wrong`."""
        for place, level in enumerate(self.levels[1:]):
            along_z = self._along_z(place)
            expected = self.shrink(pixels, along_z=True) if along_z else self.shrink(pixels)
            band = _halved(band, along_z=along_z)
            pixels = level.read(band)
            if place + 2 < len(self.levels):
                findings.pixels += pixels.size
            counts = _count_different(
                _bytes_of_planes(expected), _bytes_of_planes(pixels), pixels.dtype.itemsize
            )
            for key, count in zip(_keys(band), counts, strict=True):
                if count:
                    wrong[self.number + place + 1, key] += int(count)


class _Planes:
    """The digests of the planes of a block, which grow band by band, and what differs.

    Parameters
    ----------
    region : Region
        The block.
    """

    def __init__(self, region: Region) -> None:
        self._keys = _keys(region)
        self._found = {key: hashlib.sha256() for key in self._keys}
        # Of the source from the first band on in which it differs.
        self._expected: dict[Key, Any] = {}
        self._wrong: Counter[Key] = Counter()
        self._largest = 0.0

    def note(self, region: Region, pixels: NDArray[Any], truth: NDArray[Any] | None) -> None:
        """Take note of a part of the result, and of the source where it is given."""
        flat = _bytes_of_planes(pixels)
        if truth is not None:
            self._note_truth(region, pixels, flat, truth)
        for key, plane in zip(_keys(region), flat, strict=True):
            self._found[key].update(plane.data)

    def _note_truth(
        self,
        region: Region,
        pixels: NDArray[Any],
        flat: NDArray[np.uint8],
        truth: NDArray[Any],
    ) -> None:
        expected = _bytes_of_planes(truth)
        different = _count_different(expected, flat, pixels.dtype.itemsize)
        if different.any():
            self._largest = max(self._largest, _largest_difference(truth, pixels))
        for key, plane, count in zip(_keys(region), expected, different, strict=True):
            if count and key not in self._expected:
                self._expected[key] = self._found[key].copy()
            self._wrong[key] += int(count)
            if key in self._expected:
                self._expected[key].update(plane.data)

    def conclude(self, findings: _Findings) -> None:
        """Add the digests and differences to `findings`."""
        findings.largest = self._largest
        for key in self._keys:
            findings.found[key] = f"sha256:{self._found[key].hexdigest()}"
            if key not in self._expected:
                continue
            findings.expected[key] = f"sha256:{self._expected[key].hexdigest()}"
            findings.differences.append(
                Difference(
                    what=PIXELS_DIFFER,
                    where=f"plane {_place(key)} ({self._wrong[key]} pixels)",
                    expected=findings.expected[key],
                    found=findings.found[key],
                )
            )


def _keys(region: Region) -> list[Key]:
    t, c, z = (range(part.start, part.stop) for part in region[:3])
    return list(itertools.product(t, c, z))


def _place(key: Key) -> str:
    return "t={} c={} z={}".format(*key)


def _halved(region: Region, *, along_z: bool) -> Region:
    t, c, z, y, x = region
    y, x = (slice(part.start // 2, -(-part.stop // 2)) for part in (y, x))
    if along_z:
        z = slice(z.start // 2, -(-z.stop // 2))
    return t, c, z, y, x


def _largest_difference(expected: NDArray[Any], found: NDArray[Any]) -> float:
    """Return the largest difference of two pixels; infinite where one is no number."""
    apart = np.abs(expected.astype(np.float64) - found.astype(np.float64)).max()
    return float(apart) if np.isfinite(apart) else math.inf


def _bytes_of_planes(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the little-endian bytes of each plane: (planes, bytes)."""
    little = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    planes = math.prod(pixels.shape[:3])
    return little.reshape(planes, -1).view(np.uint8)


def _count_different(
    expected: NDArray[np.uint8], found: NDArray[np.uint8], itemsize: int
) -> NDArray[np.int64]:
    """Count for each plane the pixels whose bytes differ."""
    if np.array_equal(_wide(expected), _wide(found)):
        return np.zeros(len(expected), np.int64)
    unequal = (expected != found).reshape(len(expected), -1, itemsize).any(axis=2)
    return np.asarray(unequal.sum(axis=1), np.int64)


def _wide(planes: NDArray[np.uint8]) -> NDArray[Any]:
    """Return the bytes eight by eight, which are compared faster, where they divide so."""
    return planes.view(np.uint64) if planes.shape[1] % 8 == 0 else planes
