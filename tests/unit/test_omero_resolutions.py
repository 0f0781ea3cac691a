"""By how much the planes of a pyramid on an OMERO server were made smaller."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parfocal.omero.resolutions import factor_of

Side = st.integers(1, 200_000)


@given(Side, Side, st.integers(0, 12), st.booleans())
def test_powers_of_two_are_found_however_sizes_were_rounded(
    height: int, width: int, power: int, up: bool
) -> None:
    factor = 2**power
    full = (height * 64, width * 64)  # so that a plane of the coarsest level is not one pixel
    sizes = [max(1, -(-size // factor) if up else size // factor) for size in full]
    found = factor_of(full, (sizes[0], sizes[1]))
    if min(sizes) >= 64:
        assert found == (factor, factor)


@pytest.mark.parametrize(
    ("full", "reduced", "factor"),
    [
        ((3300, 3201), (3300, 3201), (1.0, 1.0)),
        ((3300, 3201), (104, 101), (32.0, 32.0)),
        ((3300, 3201), (4, 4), (1024.0, 1024.0)),
        ((90_000, 60_000), (30_000, 20_000), (3.0, 3.0)),
        ((1000, 4000), (1, 4), (1024.0, 1024.0)),
        ((1000, 1000), (400, 500), (2.5, 2.0)),
    ],
)
def test_whole_numbers_are_found_and_other_ratios_kept(
    full: tuple[int, int], reduced: tuple[int, int], factor: tuple[float, float]
) -> None:
    assert factor_of(full, reduced) == factor
