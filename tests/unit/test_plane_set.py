"""Names of wells, even steps, gaps, and which names should hold images."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parfocal.errors import InputError
from parfocal.images.candidates import is_image_name, leads
from parfocal.images.readers.planes.plane_set import consecutive, even_step, well_name


@pytest.mark.parametrize(
    ("row", "column", "name"),
    [(1, 1, "A01"), (8, 12, "H12"), (26, 9, "Z09"), (27, 1, "AA01"), (32, 48, "AF48")],
)
def test_wells(row, column, name):
    assert well_name(row, column) == name


@given(st.integers(1, 700), st.integers(1, 999), st.integers(1, 700), st.integers(1, 999))
def test_two_wells_have_two_names(row, column, other_row, other_column):
    same = (row, column) == (other_row, other_column)
    assert (well_name(row, column) == well_name(other_row, other_column)) is same


@pytest.mark.parametrize("place", [(0, 1), (1, 0), (-1, 1), (703, 1), (1, 1000)])
def test_no_well(place):
    with pytest.raises(ValueError, match=f"row {place[0]}"):
        well_name(*place)


@pytest.mark.parametrize(
    ("values", "step"),
    [
        ([1, 2, 3], 1),
        ([3, 1, -1], 2),
        ([0, 1, 2.009], 1.0045),
        ([0, 1, 2.1], None),
        ([0, 1, 0], None),
        ([1, 1, 1], None),
        ([1], None),
        ([], None),
    ],
)
def test_even_steps(values, step):
    assert even_step(values) == step


def test_gaps():
    assert consecutive(Path("p"), "planes", {3, 1, 2}) == [1, 2, 3]
    with pytest.raises(InputError, match="no file of 3, and some of 900000000000"):
        consecutive(Path("p"), "planes", {1, 2, 900_000_000_000})


@pytest.mark.parametrize("name", ["a.TIF", "a.nd2", "Index.idx.xml", "index.XML", "p.HTD", "a.vsi"])
def test_names_of_images(name):
    assert is_image_name(name)


@pytest.mark.parametrize("name", ["a.txt", "my-index.xml", "tif", "a.tif.txt", "s.mes"])
def test_names_of_other_files(name):
    assert not is_image_name(name)


def test_what_leads():
    names = ["p.HTD", "Index.xml", "a.mlf", "x.fileset.yaml", "a.companion.ome", "a.tif", "a.nd2"]
    assert [leads(Path(name)) for name in names] == [True] * 5 + [False] * 2
