"""Indexes of plates with any damage: nothing but an InputError comes of it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plate_checks import assert_damage_is_told
from plate_files import write_cellvoyager, write_harmony, write_imagexpress

WRITERS = (write_imagexpress, write_harmony, write_cellvoyager)


@pytest.fixture(scope="module")
def plates(tmp_path_factory):
    indexes = [write(tmp_path_factory.mktemp("plate")) for write in WRITERS]
    return [(index, index.read_bytes()) for index in indexes]


@pytest.mark.parametrize("number", range(len(WRITERS)))
@settings(max_examples=25)
@given(data=st.data())
def test_flipped_and_cut(plates, number, data):
    index, good = plates[number]
    changed = bytearray(good)
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(good) - 1))
        changed[place] = data.draw(st.sampled_from([*range(0, 256, 7), *b'0123456789<>&"-e.']))
    assert_damage_is_told(index, bytes(changed[: data.draw(st.integers(1, len(good)))]))


@pytest.mark.parametrize("number", range(len(WRITERS)))
@settings(max_examples=25)
@given(data=st.data())
def test_numbers_of_any_kind(plates, number, data):
    index, good = plates[number]
    text = good.decode()
    digits = [n for n, letter in enumerate(text) if letter.isdigit()]
    place = data.draw(st.sampled_from(digits))
    value = data.draw(st.sampled_from(["", "-1", "0", "1e999", "nan", "9" * 9, "²", "x" * 300]))
    assert_damage_is_told(index, (text[:place] + value + text[place + 1 :]).encode())
