"""Outlines of objects: masks are their pixels, polygons keep to their tolerance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage

from parfocal.analysis import outline_masks, outlines
from parfocal.analysis.outline_masks import MaskPlane
from parfocal.analysis.outline_polygons import PolygonPlane
from parfocal.analysis.outlines import Outline, iter_outlines
from parfocal.core.blocks import Region, Shape
from parfocal.errors import InputError
from parfocal.models.annotation_entries import Mask, Polygon

MASKS = Mask()
EXACT = Polygon(tolerance_px=0)
SMALL = arrays(
    np.uint16,
    st.tuples(*(st.integers(1, size) for size in (2, 1, 3, 9, 9))),
    elements=st.integers(0, 3),
)


@dataclass
class Labels:
    """A label image in memory."""

    pixels: NDArray[Any]

    @property
    def shape5(self) -> Shape:
        t, c, z, y, x = self.pixels.shape
        return t, c, z, y, x

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.pixels.dtype

    def read(self, region: Region) -> NDArray[Any]:
        return self.pixels[region]


def plane(rows: list[str]) -> NDArray[np.uint8]:
    pixels = [[0 if mark == "." else int(mark) for mark in row] for row in rows]
    return np.array(pixels, np.uint8)[None, None, None]


def draw(pixels: NDArray[Any], shape: Mask | Polygon, rows: int = 4) -> list[Outline]:
    return list(iter_outlines(Labels(pixels), (1, 1, 1, rows, 8), shape))


def bits_of(mask: MaskPlane) -> NDArray[np.bool_]:
    bits = np.unpackbits(np.frombuffer(mask.bits, np.uint8))
    assert not bits[mask.height * mask.width :].any()
    return bits[: mask.height * mask.width].reshape(mask.height, mask.width).astype(bool)


def painted(found: list[Outline], shape: Shape) -> NDArray[np.int64]:
    result = np.zeros(shape, np.int64)
    for outline in found:
        for mask in outline.shapes:
            assert isinstance(mask, MaskPlane)
            own = bits_of(mask)
            assert np.asarray(own.any(axis=0))[[0, -1]].all()
            assert np.asarray(own.any(axis=1))[[0, -1]].all()
            area = result[outline.t, 0, mask.z, mask.y :, mask.x :][: mask.height, : mask.width]
            assert not area[own].any()
            area[own] = outline.label
    return result


def inside(points: NDArray[np.int64], height: int, width: int) -> NDArray[np.bool_]:
    """Return the pixels whose centres a polygon holds, by the even-odd rule."""
    y, x = np.mgrid[:height, :width] + 0.5
    result = np.zeros((height, width), bool)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if y0 != y1:
            crosses = (np.minimum(y0, y1) < y) & (y < np.maximum(y0, y1))
            result ^= crosses & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return result


def distance(points: NDArray[Any], corners: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return how far each of some points is from the sides of a polygon."""
    start, stop = corners.astype(float), np.roll(corners, -1, axis=0).astype(float)
    side = stop - start
    offset = points[:, None] - start[None]
    square = np.maximum((side**2).sum(axis=1), 1e-12)
    share = np.clip((offset * side).sum(axis=2) / square, 0, 1)
    nearest = np.linalg.norm(offset - share[..., None] * side, axis=2).min(axis=1)
    return np.asarray(nearest)


@settings(max_examples=60)
@given(SMALL, st.integers(1, 9))
def test_painted_masks_are_the_labels(pixels: NDArray[np.uint16], rows: int) -> None:
    found = draw(pixels, MASKS, rows)
    t, c, z, y, x = pixels.shape
    assert (painted(found, (t, c, z, y, x)) == pixels).all()
    objects = {(o.t, o.label) for o in found}
    assert len(objects) == len(found)
    for outline in found:
        planes = [mask.z for mask in outline.shapes]
        assert planes == sorted(set(planes))


@settings(max_examples=60)
@given(SMALL)
def test_polygons_without_tolerance_fill_the_objects_but_for_their_holes(
    pixels: NDArray[np.uint16],
) -> None:
    joined = np.ones((3, 3), bool)
    for outline in draw(pixels, EXACT):
        parts, holes = 0, 0
        for z in range(pixels.shape[2]):
            own = pixels[outline.t, 0, z] == outline.label
            polygons = [p for p in outline.shapes if p.z == z]
            filled = [inside(p.points, *own.shape) for p in polygons]  # type: ignore[union-attr]
            expected = ndimage.binary_fill_holes(own)
            # A part within the hole of another is drawn too.
            assert (np.any([np.zeros_like(own), *filled], axis=0) == expected).all()
            parts += int(ndimage.label(own, joined)[1])
            holes += int(ndimage.label(np.pad(~own, 1, constant_values=True))[1]) - 1
            assert len(polygons) == int(ndimage.label(own, joined)[1])
        assert len(outline.shapes) == parts
        assert outline.holes == holes


@settings(max_examples=60)
@given(
    arrays(np.bool_, (40, 40), elements=st.booleans(), fill=st.just(False)),
    st.floats(0.1, 6),
    st.integers(1, 5),
)
def test_polygons_keep_to_their_tolerance(
    seeds: NDArray[np.bool_], tolerance: float, radius: int
) -> None:
    pixels = ndimage.binary_dilation(seeds, iterations=radius).astype(np.uint8)[None, None, None]
    exact = draw(pixels, EXACT)
    simple = draw(pixels, Polygon(tolerance_px=tolerance))
    for full, few in zip(exact, simple, strict=True):
        assert few.holes == full.holes
        for outline, polygon in zip(full.shapes, few.shapes, strict=True):
            assert isinstance(outline, PolygonPlane)
            assert isinstance(polygon, PolygonPlane)
            assert 3 <= len(polygon.points) <= len(outline.points)
            assert {tuple(p) for p in polygon.points} <= {tuple(p) for p in outline.points}
            assert distance(outline.points, polygon.points).max() <= tolerance + 1e-9
            steps = np.linspace(0, 1, 9)[:, None, None]
            along = polygon.points * (1 - steps) + np.roll(polygon.points, -1, axis=0) * steps
            assert distance(along.reshape(-1, 2), outline.points).max() <= tolerance + 1e-9


def test_the_size_of_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(5)
    pixels = random.integers(0, 40, (2, 1, 3, 30, 20), np.uint32)
    pixels[:, :, :, 10:20] = 0  # some objects go on after rows without them
    for shape in (MASKS, Polygon(tolerance_px=1)):
        whole = draw(pixels, shape, 64)
        for band, batch in ((20, 1), (60, 7), (200, 10**6)):
            monkeypatch.setattr(outlines, "_BAND_PIXELS", band)
            monkeypatch.setattr(outlines, "_MOST_PIXELS", band)
            monkeypatch.setattr(outlines, "_BATCH_RUNS", batch)
            monkeypatch.setattr(outline_masks, "_BATCH_PIXELS", band)
            parts = draw(pixels, shape, 1)
            assert [(o.t, o.label, o.holes) for o in parts] == [
                (o.t, o.label, o.holes) for o in whole
            ]
            assert repr(parts) == repr(whole)
        monkeypatch.undo()


def test_the_objects_come_in_the_order_of_their_last_rows() -> None:
    found = draw(plane(["33..", "3.11", "2222", "2..2"]), MASKS)
    assert [outline.label for outline in found] == [1, 3, 2]


def test_the_bits_of_a_mask_are_those_that_omero_rois_makes() -> None:
    (found,) = draw(plane([".....", ".1.1.", ".111.", ".1..."]), MASKS)
    (mask,) = found.shapes
    assert isinstance(mask, MaskPlane)
    assert (mask.z, mask.y, mask.x, mask.height, mask.width) == (0, 1, 1, 3, 3)
    # 101 111 100: nine bits without padding between rows.
    assert mask.bits == bytes([0b10111110, 0b00000000])


def test_a_pixel_is_a_square_and_pixels_that_touch_at_a_corner_are_one_polygon() -> None:
    (one,) = draw(plane(["...", "..1"]), EXACT)
    (polygon,) = one.shapes
    assert isinstance(polygon, PolygonPlane)
    assert polygon.points.tolist() == [[2, 1], [3, 1], [3, 2], [2, 2]]
    for rows in (["1.", ".1"], [".1", "1."]):
        (both,) = draw(plane(rows), EXACT)
        (polygon,) = both.shapes
        assert isinstance(polygon, PolygonPlane)
        assert len(polygon.points) == 8
    (ring,) = draw(plane(["111", "1.1", "111"]), EXACT)
    assert ring.holes == 1
    (parts,) = draw(plane(["1.1", "...", "1.."]), EXACT)
    assert len(parts.shapes) == 3


def test_an_object_thinner_than_the_tolerance_is_still_a_polygon() -> None:
    (found,) = draw(plane(["11111111"]), Polygon(tolerance_px=50))
    (polygon,) = found.shapes
    assert isinstance(polygon, PolygonPlane)
    assert len(polygon.points) == 3


def test_labels_of_63_bits_are_kept_and_larger_ones_are_refused() -> None:
    pixels = np.zeros((1, 1, 1, 2, 2), np.uint64)
    pixels[0, 0, 0, 0, 0] = 2**63 - 1
    assert draw(pixels, MASKS)[0].label == 2**63 - 1
    pixels[0, 0, 0, 0, 0] = 2**63
    with pytest.raises(InputError, match="out of range"):
        draw(pixels, MASKS)
    with pytest.raises(InputError, match="does not hold labels"):
        draw(pixels.astype(np.float32), MASKS)


def test_nothing_is_drawn_of_an_image_without_objects() -> None:
    assert draw(np.zeros((2, 1, 3, 9, 9), np.uint8), MASKS, 2) == []
    assert draw(np.zeros((2, 1, 3, 9, 9), np.uint8), EXACT, 9) == []


def test_a_mask_that_omero_could_not_take_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outline_masks, "_MOST_PIXELS", 15)
    assert len(draw(plane(["777", "7.."]), MASKS)) == 1
    with pytest.raises(InputError, match="label 7"):
        draw(plane(["7...", "...."] * 2 + ["...7"]), MASKS)


def test_progress_ends_at_its_total() -> None:
    seen: list[tuple[int, int]] = []
    labels = Labels(np.ones((2, 1, 3, 9, 9), np.uint8))
    list(iter_outlines(labels, (1, 1, 1, 4, 8), MASKS, lambda *told: seen.append(told)))
    assert seen == [(n, 6) for n in range(1, 7)]
