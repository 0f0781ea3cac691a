"""Thumbnails: projection, resizing, contrast, outlines."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parfocal.models.image import Channel, ImageMetadata
from parfocal.report import thumbnail
from parfocal.report.drawing import composite, outline, resize_area, resize_nearest, stretch
from parfocal.report.thumbnail import (
    EDGE_PX,
    draw_picture,
    fullest_plane,
    project,
    thumbnail_shape,
)
from report_results import Pixels

sizes = st.integers(1, 60)


def described(shape, dtype="uint16", axes="TCZYX", **fields):
    return ImageMetadata(name="a", axes=axes, shape=shape, dtype=dtype, **fields)


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_thumbnail_is_never_larger_than_the_edge_and_never_empty(height, width):
    shape = thumbnail_shape(height, width)
    assert min(shape) >= 1
    assert max(shape) <= EDGE_PX
    assert max(shape) > EDGE_PX // 2


def test_small_images_are_enlarged_by_a_whole_factor():
    assert thumbnail_shape(64, 32) == (384, 192)
    assert thumbnail_shape(1, 1) == (EDGE_PX, EDGE_PX)


@given(sizes, sizes, sizes, sizes)
def test_resizing_by_area_keeps_the_mean(height, width, new_height, new_width):
    plane = np.random.default_rng(height * 61 + width).uniform(0, 1, (height, width))
    small = resize_area(plane, (new_height, new_width))
    assert small.shape == (new_height, new_width)
    assert small.mean() == pytest.approx(plane.mean(), rel=1e-9)


def test_resizing_by_area_averages_whole_and_partial_pixels():
    plane = np.array([[0, 3, 6]])
    np.testing.assert_allclose(resize_area(plane, (1, 2)), [[1, 5]])
    np.testing.assert_allclose(
        resize_area(np.arange(16).reshape(4, 4), (2, 2)), [[2.5, 4.5], [10.5, 12.5]]
    )
    np.testing.assert_allclose(resize_area(np.array([[1, 2]]), (2, 4)), [[1, 1, 2, 2]] * 2)


@given(sizes, sizes, sizes, sizes)
def test_resizing_to_the_nearest_invents_no_label(height, width, new_height, new_width):
    labels = np.arange(height * width).reshape(height, width)
    small = resize_nearest(labels, (new_height, new_width))
    assert small.shape == (new_height, new_width)
    assert set(small.ravel()) <= set(labels.ravel())


def test_resizing_to_the_nearest_takes_the_centre():
    assert resize_nearest(np.arange(9)[None], (1, 3)).tolist() == [[1, 4, 7]]
    assert resize_nearest(np.array([[5, 6]]), (2, 4)).tolist() == [[5, 5, 6, 6]] * 2


@pytest.mark.parametrize("read_bytes", [1, 100, 2**20])
def test_the_projection_does_not_depend_on_how_it_is_read(read_bytes, monkeypatch):
    monkeypatch.setattr(thumbnail, "READ_BYTES", read_bytes)
    pixels = np.random.default_rng(1).integers(0, 99, (2, 2, 7, 5, 6)).astype(np.int16)
    np.testing.assert_array_equal(project(Pixels(pixels), 1), pixels[0, 1].max(axis=0))


def test_the_projection_ignores_nan_where_there_is_a_number():
    pixels = np.full((1, 1, 2, 1, 2), np.nan, np.float32)
    pixels[0, 0, 1, 0, 1] = 3
    np.testing.assert_array_equal(project(Pixels(pixels), 0), [[np.nan, 3]])


def test_contrast_runs_from_low_to_high_percentile():
    shown = stretch(np.arange(1001.0)[None])
    assert shown.min() == 0
    assert shown.max() == 1
    assert shown[0, 5] == 0
    assert 0 < shown[0, 6] < 0.01
    assert shown[0, 500] == pytest.approx(0.5, abs=0.01)


def test_contrast_of_odd_pixels_is_finite():
    plane = np.array([[np.nan, np.inf, -np.inf, 1.0, 3.0]])
    assert stretch(plane).tolist() == [[0, 1, 0, 0, 1]]
    assert not stretch(np.full((2, 2), np.nan)).any()
    assert not stretch(np.full((2, 2), 7)).any()
    few = np.zeros((100, 100))
    few[0, 0] = 9
    assert stretch(few)[0, 0] == 1
    largest = np.array([[-1e300, 1e300]])
    assert stretch(largest).tolist() == [[0, 1]]


def test_channels_add_up_in_their_colours():
    one, two = np.array([[1.0, 0.0, 1.0]]), np.array([[0.0, 1.0, 1.0]])
    shown = composite([one, two], ["FF0000", "FF8000"])
    assert shown.tolist() == [[[255, 0, 0], [255, 128, 0], [255, 128, 0]]]


def test_outlines_are_the_edges_of_objects_only():
    labels = np.zeros((5, 6), np.uint32)
    labels[1:4, 0:3] = 1
    labels[1:4, 3:6] = 2
    expected = np.zeros((5, 6), bool)
    expected[1:4] = True
    expected[2, 0:2] = expected[2, 4:6] = False
    np.testing.assert_array_equal(outline(labels), expected)
    assert not outline(np.ones((3, 3), np.uint8)).any()


def test_a_grey_picture_has_outlines_of_its_size():
    pixels = np.random.default_rng(2).integers(0, 65536, (1, 1, 3, 400, 800)).astype(np.uint16)
    labels = np.zeros((1, 1, 3, 400, 800), np.uint32)
    labels[..., 100:200, 100:200] = 5
    picture = draw_picture(
        described((1, 1, 3, 400, 800), z_um=2, y_um=0.5), Pixels(pixels), Pixels(labels)
    )
    assert imagecodecs.png_decode(picture.png).shape == (192, 384)
    overlay = imagecodecs.png_decode(picture.outlines)
    assert overlay.shape == (192, 384, 4)
    assert 0 < (overlay[..., 3] > 0).sum() < 48 * 48
    assert (picture.width, picture.height) == (384, 192)
    assert picture.note == "plane 2 of 3, where objects cover most"
    assert picture.size == "3 \u00d7 400 \u00d7 800 px, uint16, pixel 2 \u00d7 0.5 \u00d7 ? µm"


def stack_with_objects(*areas):
    """Return a stack of noise, and labels that cover so many pixels of each plane."""
    pixels = np.random.default_rng(5).integers(0, 999, (1, 1, len(areas), 384, 384))
    labels = np.zeros(pixels.shape, np.uint32)
    for z, area in enumerate(areas):
        labels[0, 0, z, : area * 8, :80] = z + 1
    return pixels.astype(np.uint16), labels


def test_of_a_stack_with_labels_one_plane_is_drawn_and_outlined():
    pixels, labels = stack_with_objects(2, 9, 4, 0)
    picture = draw_picture(described((4, 384, 384), axes="ZYX"), Pixels(pixels), Pixels(labels))
    alone = draw_picture(
        described((384, 384), axes="YX"), Pixels(pixels[:, :, 1:2]), Pixels(labels[:, :, 1:2])
    )
    assert (picture.png, picture.outlines) == (alone.png, alone.outlines)
    assert picture.note == "plane 2 of 4, where objects cover most"


def test_labels_with_fewer_planes_lie_on_the_same_place_of_the_stack():
    pixels, labels = stack_with_objects(1, 1, 5, 5)
    picture = draw_picture(
        described((4, 384, 384), axes="ZYX"), Pixels(pixels), Pixels(labels[:, :, ::2])
    )
    alone = draw_picture(described((384, 384), axes="YX"), Pixels(pixels[:, :, 3:]), None)
    assert picture.png == alone.png
    assert picture.note.startswith("plane 4 of 4")


def test_of_a_stack_without_labels_the_maximum_is_drawn():
    pixels, _ = stack_with_objects(0, 0, 0)
    picture = draw_picture(described((3, 384, 384), axes="ZYX"), Pixels(pixels), None)
    highest = pixels.max(axis=2, keepdims=True)
    alone = draw_picture(described((384, 384), axes="YX"), Pixels(highest), None)
    assert picture.png == alone.png
    assert picture.note == "maximum over 3 planes"


@pytest.mark.parametrize("read_bytes", [1, 2**20])
@pytest.mark.parametrize(
    ("areas", "plane"), [((1, 3, 2), 1), ((0, 0, 0, 0, 0), 2), ((4, 0, 0, 4, 4), 3), ((1,), 0)]
)
def test_the_fullest_plane_nearest_to_the_middle(areas, plane, read_bytes, monkeypatch):
    monkeypatch.setattr(thumbnail, "READ_BYTES", read_bytes)
    assert fullest_plane(Pixels(stack_with_objects(*areas)[1])) == plane


def test_rgb_is_shown_as_it_is():
    pixels = np.zeros((1, 3, 1, 384, 384), np.uint8)
    pixels[0, :, 0] = np.array([200, 100, 50])[:, None, None]
    metadata = described((3, 384, 384), "uint8", "CYX", rgb=True)
    picture = draw_picture(metadata, Pixels(pixels), None)
    assert set(map(tuple, imagecodecs.png_decode(picture.png).reshape(-1, 3))) == {(200, 100, 50)}
    assert picture.channels == ()
    assert picture.outlines is None
    assert picture.size == "384 \u00d7 384 px, RGB, uint8, pixel size unknown"


def test_what_is_left_out_is_said():
    shape = (4, 8, 1, 5, 5)
    picture = draw_picture(described(shape), Pixels(np.zeros(shape, np.uint16)), None)
    assert picture.note == "first of 4 time points, first 6 of 8 channels"
    assert len(picture.channels) == 6


def colors_of(*stated):
    channels = tuple(Channel(name=f"c{i}", color=c) for i, c in enumerate(stated))
    shape = (1, len(stated), 1, 2, 2)
    metadata = described(shape, channels=channels)
    picture = draw_picture(metadata, Pixels(np.zeros(shape, np.uint16)), None)
    return [channel.color for channel in picture.channels]


def test_colours_are_those_stated_if_they_tell_the_channels_apart():
    assert colors_of("0000FF", "FF0000") == ["0000FF", "FF0000"]
    assert colors_of("FFFFFF", "FFFFFF") == ["00FFFF", "FF00FF"]
    assert colors_of("0000FF", None) == ["00FFFF", "FF00FF"]
    assert colors_of("0000FF") == ["FFFFFF"]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint64", "float32", "bool"])
def test_one_pixel_of_any_type_can_be_drawn(dtype):
    pixels = np.ones((1, 1, 1, 1, 1), dtype)
    picture = draw_picture(
        described((1, 1), dtype, "YX"), Pixels(pixels), Pixels(pixels.astype(np.uint8))
    )
    assert imagecodecs.png_decode(picture.png).shape == (EDGE_PX, EDGE_PX)
