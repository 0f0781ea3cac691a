"""DeltaVision files that the test writes, and one from a microscope."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parfocal.errors import InputError
from parfocal.images.opening import list_images, open_image, other_files

SHARED = Path(__file__).parents[3] / "shared/data"
MODES = {"uint8": 0, "int16": 1, "float32": 2, "uint16": 6, "int32": 7}
SEQUENCES = {0: (1, 0, 2), 1: (0, 2, 1), 2: (0, 1, 2)}  # the order of T, C, Z, the slowest first


def write_dv(path, pixels, order="<", sequence=0, extended=None, **fields):
    """Write `pixels` (T, C, Z, Y, X), the top row first; `extended` is (sections, floats)."""
    t, c, z, y, x = pixels.shape
    stored = pixels.transpose(*SEQUENCES[sequence], 3, 4)[..., ::-1, :]
    head = bytearray(1024)

    def put(offset, form, *values):
        struct.pack_into(order + form, head, offset, *values)

    put(0, "4i", x, y, t * c * z, MODES[pixels.dtype.name])
    put(40, "3f", *fields.get("sizes", (0.1, 0.2, 0.3)))
    rows = b""
    if extended is not None:
        table = np.zeros((len(extended), 8 + extended.shape[1]), f"{order}f4")
        table[:, 8:] = extended
        rows = table.tobytes()
        put(128, "2h", 8, extended.shape[1])
    put(92, "i", len(rows))
    put(96, "H", 0xC0A0)
    put(180, "2h", fields.get("times", t), fields.get("number", sequence))
    put(196, "6h", c, *fields.get("waves", (525, 632, 0, 0, 0)))
    put(220, "i", 1)
    head[224:231] = b"A title"
    path.write_bytes(head + rows + stored.astype(stored.dtype.newbyteorder(order)).tobytes())
    return path


def numbered(shape, dtype="uint16"):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.tuples(*[st.integers(1, 4)] * 5),
    dtype=st.sampled_from(sorted(MODES)),
    order=st.sampled_from("<>"),
    sequence=st.sampled_from(sorted(SEQUENCES)),
    data=st.data(),
)
def test_every_sequence_type_and_byte_order(tmp_path, shape, dtype, order, sequence, data):
    pixels = numbered(shape, dtype)
    path = write_dv(tmp_path / "a.dv", pixels, order, sequence)
    region = []
    for size in shape:
        start = data.draw(st.integers(0, size - 1))
        region.append(slice(start, data.draw(st.integers(start + 1, size))))
    with open_image(path) as image:
        assert image.shape5 == shape
        assert image.dtype == pixels.dtype
        found = image.read(tuple(region))
    assert found.dtype == pixels.dtype
    np.testing.assert_array_equal(found, pixels[tuple(region)])


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("sequence", sorted(SEQUENCES))
def test_metadata(tmp_path, order, sequence):
    pixels = numbered((3, 2, 2, 4, 5))
    floats = np.zeros((3, 2, 2, 14), np.float32)
    floats[..., 1] = np.arange(3)[:, None, None] * 2.5
    floats[..., 2:5] = (100, -200, 50)
    floats[:, :, 1, 4] = 51
    floats[..., 10] = np.array([488, 561])[:, None]
    stored = floats.transpose(*SEQUENCES[sequence], 3).reshape(12, 14)
    path = write_dv(tmp_path / "a.dv", pixels, order, sequence, stored)
    (tmp_path / "a.dv.log").write_text("seen")
    with open_image(path) as image:
        found = image.metadata
        assert not image.warnings
        texts = image.original_metadata
        np.testing.assert_array_equal(
            image.read((slice(0, 3),) + (slice(0, 2),) * 2 + (slice(0, 4), slice(0, 5))), pixels
        )
    assert found.axes == "TCZYX"
    assert (found.x_um, found.y_um, found.z_um) == pytest.approx((0.1, 0.2, 0.3))
    assert found.time_increment_s == 2.5
    assert [c.emission_nm for c in found.channels] == [525, 632]
    assert [c.excitation_nm for c in found.channels] == [488, 561]
    assert (found.stage_x_um, found.stage_y_um, found.stage_z_um) == (100, -200, 50)
    assert json.loads(texts["deltavision.json"])["header"]["titles"] == ["A title"]
    assert texts["deltavision.log"] == b"seen"
    assert other_files(path) == [tmp_path / "a.dv.log"]
    assert [entry.series for entry in list_images(path)] == ["0"]


def test_times_and_places_that_differ_are_told(tmp_path):
    floats = np.zeros((3, 14), np.float32)
    floats[:, 1] = (0, 1, 5)
    floats[:, 2] = (0, 100, 200)
    path = write_dv(tmp_path / "a.dv", numbered((3, 1, 1, 4, 5)), extended=floats)
    with open_image(path) as image:
        assert image.metadata.time_increment_s is None
        assert any("not regular" in text for text in image.warnings)
        assert any("3 places" in text for text in image.warnings)
        assert "bioformats" in image.misread_by
    assert len(list_images(path, reader="bioformats")) == 3


def test_unknown_numbers_of_times_and_waves_stand_for_one(tmp_path):
    path = write_dv(
        tmp_path / "a.dv", numbered((1, 1, 3, 4, 5)), times=0, waves=(0,) * 5, sizes=(0, 0, 0)
    )
    with open_image(path) as image:
        assert image.metadata.axes == "ZYX"
        assert image.metadata.x_um is None
        assert image.metadata.channels == ()


def patched(path, offset, content):
    data = bytearray(path.read_bytes())
    data[offset : offset + len(content)] = content
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("offset", "content", "text"),
    [
        (12, struct.pack("<i", 4), "complex"),
        (12, struct.pack("<i", 99), "mode 99"),
        (182, struct.pack("<h", 7), "sequence"),
        (8, struct.pack("<i", 7), "do not fit together"),
        (0, struct.pack("<i", -5), "do not fit together"),
        (0, struct.pack("<i", 2**30), "ends before"),
        (0, struct.pack("<i", 4), "more planes"),
        (92, struct.pack("<i", -4), "extended header"),
        (180, struct.pack("<h", -3), "do not fit together"),
        (96, b"\0\0", "mark"),
    ],
)
def test_damaged_headers_are_refused(tmp_path, offset, content, text):
    path = patched(write_dv(tmp_path / "a.dv", numbered((1, 2, 3, 4, 5))), offset, content)
    with pytest.raises(InputError, match=text):
        open_image(path)


def test_every_truncation_is_refused(tmp_path):
    path = write_dv(tmp_path / "a.dv", numbered((1, 2, 3, 4, 5)))
    whole = path.read_bytes()
    for size in (1, 97, 500, 1023, 1024, 1025, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError):
            open_image(path)


def test_bytes_after_the_pixels_are_told(tmp_path):
    path = write_dv(tmp_path / "a.dv", numbered((1, 2, 3, 4, 5)))
    path.write_bytes(path.read_bytes() + b"abc")
    with open_image(path) as image:
        assert image.warnings == ("a.dv has 3 bytes after its pixels, left out",)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("sequence", sorted(SEQUENCES))
def test_bio_formats_reads_the_same(tmp_path, assert_same_as_bio_formats, order, sequence):
    path = write_dv(tmp_path / "a.dv", numbered((3, 2, 4, 5, 6)), order, sequence)
    assert_same_as_bio_formats(path)


@pytest.mark.skipif(not SHARED.exists(), reason="the shared files are not here")
def test_a_file_of_a_microscope(assert_same_as_bio_formats):
    path = SHARED / "toxo.dv"
    assert_same_as_bio_formats(path)
    with open_image(path) as image:
        assert image.shape5 == (1, 2, 17, 128, 128)
        assert [c.emission_nm for c in image.metadata.channels] == [525, 632]
