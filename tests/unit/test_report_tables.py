"""Distributions of measurements: axes, counts, sums over images."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from parfocal.errors import InputError
from parfocal.report.tables import (
    MOST_BINS,
    Joined,
    choose_axis,
    count_objects,
    read_table,
    select_columns,
)


def table(folder, name="t", **columns):
    path = folder / f"{name}.parquet"
    parquet.write_table(pa.table(columns), path)
    return read_table(path)


def axes_of(*tables):
    names = {name for one in tables for name in one.columns}
    return {n: choose_axis([t.columns[n] for t in tables if n in t.columns], n) for n in names}


def test_sizes_shapes_and_a_few_intensities_are_shown():
    names = ["image_id", "area_px", "elongation", "area_um2", "centroid_x_um"]
    names += [f"intensity_mean_{n}" for n in range(6)] + ["intensity_std_0"]
    assert select_columns(names) == [
        "area_um2",
        "area_px",
        "elongation",
        *(f"intensity_mean_{n}" for n in range(4)),
    ]


def test_key_numbers_are_of_the_values_that_there_are(tmp_path):
    one = table(tmp_path, area_um2=[4.0, None, 1.0, math.nan, 2.0, 9.0])
    column = one.columns["area_um2"]
    assert one.objects == 6
    assert (column.values, column.minimum, column.median) == (4, 1, 3)
    assert (column.mean, column.maximum, column.whole) == (4, 9, False)


def test_bins_are_at_round_numbers(tmp_path):
    one = table(tmp_path, area_um2=np.linspace(103, 497, 400))
    axis = choose_axis([one.columns["area_um2"]], "area_um2")
    assert (axis.low, axis.step, axis.bins) == (100, 20, 20)
    (counted,) = count_objects(one, {"area_um2": axis})
    assert (counted.low, counted.high) == (100, 500)
    assert counted.outside == 0
    assert counted.median == pytest.approx(300)


def test_whole_numbers_have_bins_of_whole_numbers(tmp_path):
    one = table(tmp_path, area_px=[3, 3, 4, 6])
    axis = choose_axis([one.columns["area_px"]], "area_px")
    assert (axis.low, axis.step, axis.bins) == (3, 1, 4)
    assert count_objects(one, {"area_px": axis})[0].counts == (2, 1, 0, 1)


def test_few_objects_get_few_bins(tmp_path):
    few = table(tmp_path, "few", area_um2=np.linspace(0, 99, 20))
    many = table(tmp_path, "many", area_um2=np.linspace(0, 99, 20_000))
    assert [axes_of(one)["area_um2"].bins for one in (few, many)] == [5, 40]


def test_outliers_do_not_set_the_axis_and_are_told(tmp_path):
    values = np.append(np.linspace(0, 99.9, 999), 1e6)
    one = table(tmp_path, area_um2=values)
    (counted,) = count_objects(one, axes_of(one))
    assert counted.high <= 110
    assert counted.outside >= 1
    assert counted.objects == 1000
    assert counted.maximum == 1e6


def test_pixels_are_left_out_where_micrometres_are_known(tmp_path):
    known = table(tmp_path, "a", area_um2=[1.0], area_px=[4])
    unknown = table(tmp_path, "b", area_um2=pa.array([None], pa.float64()), area_px=[4])
    axes = axes_of(known, unknown)
    assert [d.column for d in count_objects(known, axes)] == ["area_um2"]
    assert [d.column for d in count_objects(unknown, axes)] == ["area_px"]


def test_an_empty_table_has_no_distributions(tmp_path):
    one = table(tmp_path, area_um2=pa.array([], pa.float64()))
    assert one.objects == 0
    assert count_objects(one, {}) == []


def test_what_is_not_a_table_is_an_input_error(tmp_path):
    path = tmp_path / "t.parquet"
    path.write_bytes(b"no parquet at all")
    with pytest.raises(InputError, match="A table cannot be read") as caught:
        read_table(path)
    assert caught.value.where == path


values = st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=300)


@given(values)
def test_each_object_is_counted_once_on_any_axis(tmp_path_factory, numbers):
    one = table(tmp_path_factory.mktemp("t"), area_um2=numbers)
    axes = axes_of(one)
    (counted,) = count_objects(one, axes)
    assert counted.objects == len(numbers)
    assert len(counted.counts) <= MOST_BINS / 0.75 + 2
    assert counted.low < counted.high
    assert sum(counted.counts) >= 0.9 * len(numbers) - 2


@given(st.lists(st.lists(st.floats(0, 1e6), min_size=1, max_size=20), min_size=2, max_size=5))
def test_images_together_are_the_sum_of_images(tmp_path_factory, groups):
    folder = tmp_path_factory.mktemp("t")
    tables = [table(folder, f"t{n}", area_um2=group) for n, group in enumerate(groups)]
    axes = axes_of(*tables)
    together, parts = Joined(), []
    for one in tables:
        parts += count_objects(one, axes)
        together.add(parts[-1])
    joined = together.distribution
    every = [value for group in groups for value in group]
    assert joined.counts == tuple(np.sum([part.counts for part in parts], axis=0))
    assert joined.objects == len(every)
    assert joined.mean == pytest.approx(np.mean(every))
    assert (joined.minimum, joined.maximum) == (min(every), max(every))
    assert joined.median is None


def test_images_weigh_by_their_objects_in_the_choice_of_the_axis(tmp_path):
    many = table(tmp_path, "many", area_um2=np.linspace(0, 100, 100_000))
    few = table(tmp_path, "few", area_um2=[1e5])
    assert choose_axis([t.columns["area_um2"] for t in (many, few)], "area_um2").step == 2.5


@pytest.mark.parametrize("values", [[0.3, 0.7, 1.0], [1.0], [1.0, 1.0], [0.999, 1.0], [0.0, 1.0]])
def test_no_axis_ends_beyond_what_a_measurement_can_reach(tmp_path, values):
    one = table(tmp_path, elongation=values)
    (counted,) = count_objects(one, axes_of(one))
    assert counted.high == pytest.approx(1)
    assert (sum(counted.counts), counted.outside) == (len(values), 0)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=300))
def test_no_elongation_is_drawn_beyond_one(tmp_path_factory, numbers):
    one = table(tmp_path_factory.mktemp("t"), elongation=numbers)
    (counted,) = count_objects(one, axes_of(one))
    assert counted.low < counted.high <= 1 + 1e-9
    assert counted.objects == len(numbers)


def test_columns_without_an_axis_are_not_counted(tmp_path):
    one = table(tmp_path, area_um2=[1.0], elongation=[0.5])
    axes = {"elongation": axes_of(one)["elongation"]}
    assert [counted.column for counted in count_objects(one, axes)] == ["elongation"]
