"""Tables in files: they hold what was put in, elsewhere too, are ranked, and go in the end."""

from __future__ import annotations

import gc
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parfocal.analysis import ranking, scratch_rows
from parfocal.analysis.joining import Joined, join_pairs
from parfocal.analysis.ranking import rank, reorder
from parfocal.analysis.scratch_rows import Rows, parts
from parfocal.errors import StorageError


def rows_of(values, *, folder=None, dtype=np.int64):
    rows = Rows(1, folder, dtype)
    rows.append(np.array(values, np.int64))
    return rows


@given(pieces=st.lists(st.integers(0, 9), max_size=9), at_once=st.integers(1, 20))
@settings(max_examples=40)
def test_rows_are_those_that_were_appended(pieces, at_once):
    expected = np.arange(3 * sum(pieces)).reshape(-1, 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scratch_rows, "AT_ONCE", at_once)
        rows = Rows(3)
        for some in np.split(expected, np.cumsum(pieces)):
            rows.append(some)
        assert [part.stop - part.start for part in parts(len(rows))][:-1] == [at_once] * (
            (len(rows) - 1) // at_once
        )
    assert len(rows) == len(rows.column(0)) == len(expected)
    np.testing.assert_array_equal(rows.read(slice(0, len(rows))), expected)
    np.testing.assert_array_equal(rows.column(slice(1, 3), slice(2, 5)), expected[2:5, 1:])
    assert rows.column(1).tolist() == expected[:, 1].tolist()
    assert [int(one) for one in rows.column(2)] == expected[:, 2].tolist()


def test_what_is_overwritten_is_so_for_all_and_grows_on():
    rows = rows_of([1, 2, 3])
    column = rows.column(0)
    rows.put(np.array([1]), np.array([9]))
    rows.append(np.array([4]))
    assert column.tolist() == [1, 9, 3]
    assert rows.column(0).tolist() == [1, 9, 3, 4]


@given(
    places=st.lists(st.integers(0, 99), unique=True, max_size=30),
    near=st.integers(0, 200),
    at_once=st.integers(1, 20),
)
@settings(max_examples=60)
def test_rows_at_any_places_are_read_and_overwritten(places, near, at_once):
    expected = np.arange(300).reshape(-1, 3)
    rows, wanted = Rows(3), np.array(places, np.int64)
    rows.append(expected)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scratch_rows, "AT_ONCE", at_once)
        patch.setattr(scratch_rows, "_NEAR_BYTES", near)
        np.testing.assert_array_equal(rows.take(wanted), expected[wanted])
        np.testing.assert_array_equal(rows.column(1)[wanted - 100], expected[wanted, 1])
        rows.put(wanted, -expected[wanted])
    expected[wanted] *= -1
    np.testing.assert_array_equal(rows.column(slice(None)), expected)


def test_a_place_beyond_the_rows_is_an_error():
    column = rows_of([1, 2, 3]).column(0)
    assert column[-1] == 3
    for place in (3, -4):
        with pytest.raises(IndexError, match="3 rows"):
            column[place]


def test_a_copy_for_another_process_reads_the_same_file_and_leaves_it(tmp_path):
    rows = rows_of(range(70_000), folder=tmp_path)
    packed = pickle.dumps(rows.column(0))
    assert len(packed) < 1000
    copy = pickle.loads(packed)
    assert copy[69_990:].tolist() == list(range(69_990, 70_000))
    del copy
    gc.collect()
    assert rows.column(0)[69_999] == 69_999
    assert len(list(tmp_path.iterdir())) == 1
    del rows
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_full_or_missing_is_told(tmp_path, monkeypatch):
    with pytest.raises(StorageError, match=r"gone.*No such file"):
        Rows(1, tmp_path / "gone")
    rows = Rows(1, tmp_path)
    monkeypatch.setattr(rows, "_path", Path("/dev/full"))
    with pytest.raises(StorageError, match="No space left"):
        rows.append(np.arange(1 << 17))


def test_a_file_that_goes_or_is_cut_is_told(tmp_path):
    rows = rows_of(range(100), folder=tmp_path)
    rows.flush()
    (file,) = tmp_path.iterdir()
    os.truncate(file, 400)
    with pytest.raises(StorageError, match="ends at byte 400"):
        rows.read(slice(0, 100))
    file.unlink()
    for work in (lambda: rows.column(0)[3], lambda: rows.put(np.array([3]), np.array([3]))):
        with pytest.raises(StorageError, match="No such file"):
            work()


@given(
    values=st.lists(st.integers(-2, 1 << 40), unique_by=lambda one: one if one >= 0 else object()),
    at_once=st.integers(1, 9),
    bits=st.integers(1, 16),
)
@settings(max_examples=80)
def test_ranks_are_places_in_the_order_of_values(values, at_once, bits):
    expected = np.zeros(len(values), np.uint32)
    kept = [place for place, value in enumerate(values) if value >= 0]
    expected[sorted(kept, key=values.__getitem__)] = np.arange(1, len(kept) + 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scratch_rows, "AT_ONCE", at_once)
        patch.setattr(ranking, "_BITS", bits)
        patch.setattr(ranking, "_SORTED", 2)
        ranks = rank(rows_of(values).column(0), None, np.uint32).column(0)
        ordered = Rows(2)
        pairs = np.stack([values, np.arange(len(values))], axis=1).astype(np.int64)
        reorder((pairs[part] for part in parts(len(pairs))), ranks, ordered, len(kept))
    assert ranks[:].dtype == np.uint32
    assert ranks.tolist() == expected.tolist()
    assert ordered.column(0).tolist() == sorted(value for value in values if value >= 0)
    assert [values[place] for place in ordered.column(1).tolist()] == ordered.column(0).tolist()


@given(
    pairs=st.lists(st.tuples(*[st.integers(1, 30)] * 2).filter(lambda p: p[0] != p[1])),
    start=st.integers(0, 30),
    stop=st.integers(0, 31),
)
@settings(max_examples=80)
def test_groups_are_numbered_by_their_least_labels(pairs, start, stop):
    group = list(range(31))
    for one, other in pairs:
        least, most = sorted((group[one], group[other]))
        group = [least if each == most else each for each in group]
    leads = sorted(set(group))
    labels, least = join_pairs(np.array(pairs, np.int64).reshape(-1, 2))
    assert dict(zip(labels.tolist(), least.tolist(), strict=True)) == {
        label: lead for label, lead in enumerate(group) if lead < label
    }
    numbers = Joined.of(labels, least).numbers(start, max(start, stop))
    assert numbers.tolist() == [leads.index(lead) for lead in group[start : max(start, stop)]]
