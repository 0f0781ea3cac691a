"""Scratch volumes against an array in memory."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parfocal.core.blocks import region_shape, whole
from parfocal.errors import StorageError
from parfocal.images import ScratchVolume

SIZES = st.tuples(*[st.integers(1, 5)] * 5)


@st.composite
def regions(draw, shape):
    parts = []
    for size in shape:
        start = draw(st.integers(0, size - 1))
        parts.append(slice(start, draw(st.integers(start + 1, size))))
    return tuple(parts)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(data=st.data(), shape=SIZES, block=SIZES)
def test_any_regions_read_back_as_in_memory(tmp_path, data, shape, block):
    truth = np.zeros(shape, np.uint16)
    with ScratchVolume(tmp_path, shape, np.uint16, block) as volume:
        for value in range(1, 4):
            region = data.draw(regions(shape))
            pixels = np.arange(np.prod(region_shape(region)), dtype=np.uint16) + 100 * value
            pixels = pixels.reshape(region_shape(region))
            volume.write(region, pixels)
            truth[region] = pixels
        np.testing.assert_array_equal(volume.read(whole(shape)), truth)
        region = data.draw(regions(shape))
        np.testing.assert_array_equal(volume.read(region), truth[region])


def test_the_file_is_gone_when_closed(tmp_path):
    with ScratchVolume(tmp_path, (1, 1, 1, 4, 4), np.float32, (1, 1, 1, 2, 2)):
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_block_of_another_type_or_shape_is_refused(tmp_path):
    with ScratchVolume(tmp_path, (1, 1, 1, 4, 4), np.uint8, (1, 1, 1, 4, 4)) as volume:
        for wrong in (np.zeros((1, 1, 1, 4, 4), np.uint16), np.zeros((1, 1, 1, 4, 3), np.uint8)):
            with pytest.raises(ValueError, match="does not fit"):
                volume.write(whole(volume.shape5), wrong)


def test_a_folder_that_cannot_take_it_is_an_error_of_storage(tmp_path):
    with pytest.raises(StorageError):
        ScratchVolume(tmp_path / "missing", (1, 1, 1, 4, 4), np.uint8, (1, 1, 1, 4, 4))
