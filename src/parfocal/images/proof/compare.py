"""Compare the pixels of two images, and the levels of a pyramid with its rule."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Readable, Region, Shape, iter_blocks, whole
from parfocal.images.proof.certificate import Difference, Plane
from parfocal.images.pyramid import halve

__all__ = ["Comparison", "compare_images", "plane_digests"]

_BLOCK_BYTES = 8 * 2**20
_WIDEST_BYTES = 32 * 2**20
_BAND = 512  # rows; a multiple of the usual height of chunks, and even
_MOST = 20  # differences of one kind that are told

Progress = Callable[[int, int], None]
Halve = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True)
class Comparison:
    """The planes of the result, of the source where they differ, and the differences."""

    planes: tuple[Plane, ...] = ()
    source_digests: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()


@dataclass
class _Findings:
    """What one block of planes gave."""

    found: dict[tuple[int, int, int], str] = field(default_factory=dict)
    expected: dict[tuple[int, int, int], str] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    pixels: int = 0


def compare_images(
    source: Readable | None,
    levels: Sequence[Readable],
    *,
    shrink: Halve = halve,
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
    shrink : callable
        The rule of the pyramid.
    threads : int
        How many blocks are compared at once.
    progress : callable, optional
        Called as ``progress(done, total)``, in pixels of all levels.

    Returns
    -------
    Comparison
    """
    total = sum(math.prod(level.shape5) for level in levels)
    done = 0
    findings = _Findings()
    for number, level in enumerate(levels):
        smaller = levels[number + 1] if number + 1 < len(levels) else None
        if number and smaller is None:
            break
        work = _Work(source if number == 0 else None, level, smaller, number, shrink)
        for part in _in_threads(work, _plane_blocks(level), threads):
            findings.found |= part.found
            findings.expected |= part.expected
            findings.differences += part.differences
            done += part.pixels
            if progress:
                progress(min(done, total), total)
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
    return Comparison(planes, expected, tuple(told))


def _plane_blocks(level: Readable) -> Iterator[Region]:
    """Divide an image into blocks of whole planes."""
    t, c, z, y, x = level.shape5
    room = max(1, _BLOCK_BYTES // (y * x * level.dtype.itemsize))
    planes = min(z, room)
    channels = min(c, max(1, room // planes)) if planes == z else 1
    times = min(t, max(1, room // (planes * channels))) if channels == c and planes == z else 1
    block: Shape = (times, channels, planes, y, x)
    yield from iter_blocks(whole(level.shape5), block)


def _in_threads(work: _Work, regions: Iterator[Region], threads: int) -> Iterator[_Findings]:
    if threads <= 1:
        yield from map(work, regions)
        return
    with ThreadPoolExecutor(threads) as pool:
        while batch := list(itertools.islice(regions, 8 * threads)):
            yield from pool.map(work, batch)


@dataclass(frozen=True)
class _Work:
    """The comparison of one level: with the source, and with the level after it."""

    source: Readable | None
    level: Readable
    smaller: Readable | None
    number: int
    shrink: Halve

    def __call__(self, region: Region) -> _Findings:
        """Compare the planes of `region`, band of rows by band of rows."""
        t, c, z, _y, x = region
        keys = list(
            itertools.product(
                range(t.start, t.stop), range(c.start, c.stop), range(z.start, z.stop)
            )
        )
        found = [hashlib.sha256() for _ in keys]
        expected: list[Any] = [None] * len(keys)  # only for planes that differ
        wrong = np.zeros(len(keys), np.int64)
        wrong_below = np.zeros(len(keys), np.int64)
        findings = _Findings()
        for rows in self._bands(region):
            band = (t, c, z, rows, x)
            pixels = self.level.read(band)
            findings.pixels += pixels.size
            flat = _bytes_of_planes(pixels)
            if self.source is not None:
                truth = _bytes_of_planes(self.source.read(band))
                different = _count_different(truth, flat, pixels.dtype.itemsize)
                _update_expected(expected, found, truth, different)
                wrong += different
            if self.number == 0:
                _update(found, flat)
            if self.smaller is not None:
                wrong_below += self._below(band, pixels)
        self._conclude(findings, keys, (found, expected), (wrong, wrong_below))
        return findings

    def _bands(self, region: Region) -> Iterator[slice]:
        """Divide rows evenly into bands, each of which starts at an even row."""
        t, c, z, y, x = region
        row = (t.stop - t.start) * (c.stop - c.start) * (z.stop - z.start) * x.stop
        row *= self.level.dtype.itemsize
        rows = _BLOCK_BYTES // row
        if rows < _BAND:  # whole chunks, unless the image is very wide
            rows = min(_BAND, max(2, _WIDEST_BYTES // row))
        rows -= rows % (_BAND if rows >= _BAND else 2)
        for start in range(0, y.stop, rows):
            yield slice(start, min(y.stop, start + rows))

    def _below(self, band: Region, pixels: NDArray[Any]) -> NDArray[np.int64]:
        """Count pixels of the next level that do not follow from `pixels` by the rule."""
        assert self.smaller is not None
        t, c, z, y, x = band
        half = (slice(y.start // 2, -(-y.stop // 2)), slice(0, -(-x.stop // 2)))
        found = self.smaller.read((t, c, z, *half))
        expected = self.shrink(pixels)
        return _count_different(
            _bytes_of_planes(expected), _bytes_of_planes(found), found.dtype.itemsize
        )

    def _conclude(
        self,
        findings: _Findings,
        keys: list[tuple[int, int, int]],
        hashes: tuple[list[Any], list[Any]],
        wrong: tuple[NDArray[np.int64], NDArray[np.int64]],
    ) -> None:
        for n, key in enumerate(keys):
            place = "t={} c={} z={}".format(*key)
            if self.number == 0:
                findings.found[key] = f"sha256:{hashes[0][n].hexdigest()}"
            if hashes[1][n] is not None:
                findings.expected[key] = f"sha256:{hashes[1][n].hexdigest()}"
                findings.differences.append(
                    Difference(
                        what="Pixels differ",
                        where=f"plane {place} ({wrong[0][n]} pixels)",
                        expected=findings.expected[key],
                        found=findings.found[key],
                    )
                )
            if wrong[1][n]:
                findings.differences.append(
                    Difference(
                        what="A level does not follow from the one before",
                        where=f"level {self.number + 1}, plane {place}",
                        expected="0 pixels that differ",
                        found=f"{wrong[1][n]} pixels",
                    )
                )


def _bytes_of_planes(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the little-endian bytes of each plane: (planes, bytes)."""
    little = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    planes = math.prod(pixels.shape[:3])
    return little.reshape(planes, -1).view(np.uint8)


def _update(hashes: list[Any], planes: NDArray[np.uint8]) -> None:
    for one, plane in zip(hashes, planes, strict=True):
        one.update(plane.data)


def _update_expected(
    expected: list[Any],
    found: list[Any],
    truth: NDArray[np.uint8],
    different: NDArray[np.int64],
) -> None:
    """Hash the source apart from the result from the first band on in which they differ."""
    for n, plane in enumerate(truth):
        if expected[n] is None and different[n]:
            expected[n] = found[n].copy()
        if expected[n] is not None:
            expected[n].update(plane.data)


def _count_different(
    expected: NDArray[np.uint8], found: NDArray[np.uint8], itemsize: int
) -> NDArray[np.int64]:
    """Count for each plane the pixels whose bytes differ."""
    if np.array_equal(expected, found):
        return np.zeros(len(expected), np.int64)
    unequal = (expected != found).reshape(len(expected), -1, itemsize).any(axis=2)
    return np.asarray(unequal.sum(axis=1), np.int64)
