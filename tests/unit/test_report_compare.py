"""Which images are compared in what, and where their boxes lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from parfocal.models.image import ImageMetadata
from parfocal.report.compare import MOST_BOXES, compare_images
from parfocal.report.tables import Column, Table, read_table


def column(*values, whole=False):
    rising = np.sort(np.asarray(values, np.float64))
    median, mean = float(np.median(rising)), float(rising.mean())
    low, high = float(rising[0]), float(rising[-1])
    return Column(rising.size, low, median, mean, high, whole, rising)


def table(**columns):
    return Table(Path("unread"), 1, {name: column(*values) for name, values in columns.items()})


def metadata(dtype="uint16", **fields):
    return ImageMetadata(name="a", axes="YX", shape=(9, 9), dtype=dtype, **fields)


def kinds(tables, described):
    found = compare_images(tables, described)
    rows = {(one.column, one.kind): [row.image_id for row in one.boxes.rows] for one in found}
    assert all(one.images == len(rows[one.column, one.kind]) for one in found)
    return rows


def test_intensities_are_compared_within_a_data_type_and_a_channel_name():
    tables = {name: table(intensity_mean_DAPI=[1.0]) for name in "abcd"}
    tables["d"] = table(intensity_mean_GFP=[1.0])
    described = {
        n: metadata(t) for n, t in zip("abcd", ("uint8", "uint16", "uint8", "uint8"), strict=True)
    }
    assert kinds(tables, described) == {("intensity_mean_DAPI", "uint8 images"): ["a", "c"]}


def test_sizes_in_pixels_are_compared_among_images_without_a_pixel_size():
    known = table(area_um2=[1.0], area_px=[4.0])
    unknown = table(area_px=[4.0])
    tables = {"a": known, "b": unknown, "c": known, "d": unknown, "e": table(volume_px=[3.0])}
    assert kinds(tables, dict.fromkeys(tables, metadata())) == {
        ("area_um2", "images"): ["a", "c"],
        ("area_px", "images without a pixel size"): ["b", "d"],
    }


def test_shapes_of_planar_and_solid_objects_are_apart():
    planar, solid = table(area_px=[4.0], elongation=[0.1]), table(volume_px=[4.0], elongation=[0.1])
    tables = {"a": planar, "b": solid, "c": solid}
    assert kinds(tables, dict.fromkeys(tables, metadata())) == {
        ("volume_px", "images without a pixel size"): ["b", "c"],
        ("elongation", "images with solid objects"): ["b", "c"],
    }


def test_rgb_images_are_compared_among_themselves():
    tables = {n: table(area_px=[4.0], intensity_mean_Red=[1.0]) for n in "abc"}
    rgb = ImageMetadata(name="a", axes="CYX", shape=(3, 9, 9), dtype="uint8", rgb=True)
    described = {"a": metadata("uint8"), "b": rgb, "c": rgb}
    assert kinds(tables, described) == {
        ("area_px", "RGB images without a pixel size"): ["b", "c"],
        ("intensity_mean_Red", "RGB uint8 images"): ["b", "c"],
    }


def test_one_image_and_one_without_metadata_are_compared_with_none():
    tables = {"a": table(elongation=[0.1]), "b": table(elongation=[0.1])}
    assert compare_images(tables, {"a": metadata()}) == ()


def test_what_most_images_share_comes_first_and_then_sizes():
    tables = {n: table(elongation=[0.1], area_um2=[1.0]) for n in "ab"}
    tables |= {n: table(elongation=[0.1], intensity_mean_0=[1.0]) for n in "cd"}
    found = compare_images(tables, dict.fromkeys(tables, metadata()))
    assert [one.column for one in found] == ["elongation", "area_um2", "intensity_mean_0"]


def two(values, other, name="area_um2"):
    tables = {"a": table(**{name: values}), "b": table(**{name: other})}
    (found,) = compare_images(tables, dict.fromkeys(tables, metadata()))
    return found.boxes


def test_a_box_is_the_middle_half_and_few_objects_are_points():
    many, few = two(np.arange(101.0), [30.0, 10.0]).rows
    assert (many.low, many.first_quartile, many.median) == (5, 25, 50)
    assert (many.third_quartile, many.high, many.points) == (75, 95, ())
    assert (few.low, few.median, few.high, few.points) == (10, 20, 30, (10, 30))
    assert (many.objects, few.objects) == (101, 2)


def test_sizes_that_differ_by_far_have_a_logarithmic_axis():
    boxes = two([300.0, 500.0], [1213.0, 9791.0])
    assert boxes.logarithmic
    assert boxes.ticks == (200, 1000, 10_000)
    assert not two([300.0, 500.0], [900.0, 1213.0]).logarithmic
    assert not two([3.0, 5.0], [900.0, 9000.0], "intensity_mean_0").logarithmic


groups = st.lists(st.floats(1e-9, 1e9) | st.floats(-1e9, 1e9), min_size=1, max_size=40)


@given(groups, groups, st.sampled_from(["area_um2", "intensity_mean_0"]))
def test_all_boxes_lie_between_the_ends_of_the_axis(values, other, name):
    boxes = two(values, other, name)
    assert list(boxes.ticks) == sorted(set(boxes.ticks))
    assert len(boxes.ticks) >= 2
    for row in boxes.rows:
        places = [row.low, row.first_quartile, row.median, row.third_quartile, row.high]
        for value in (*places, *row.points):
            assert -1e-6 <= boxes.place(value) <= 1 + 1e-6


@pytest.mark.parametrize("images", [MOST_BOXES, MOST_BOXES + 1])
def test_many_images_are_one_histogram(tmp_path, images):
    tables = {}
    for number in range(images):
        path = tmp_path / f"{number}.parquet"
        columns = {"area_um2": [10.0 + number, 20.0], "elongation": [0.5, 0.25]}
        parquet.write_table(pa.table(columns), path)
        tables[str(number)] = read_table(path)
    area, elongation = compare_images(tables, dict.fromkeys(tables, metadata()))
    assert area.images == elongation.images == images
    assert (area.boxes is None) == (elongation.pooled is not None) == (images > MOST_BOXES)
    if area.pooled:
        assert (area.pooled.objects, area.pooled.maximum) == (2 * images, 9 + images)
