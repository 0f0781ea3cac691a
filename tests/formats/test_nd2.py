"""ND2 files that the test writes, and one from a microscope."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nd2_writer import write_nd2
from parfocal.core.blocks import whole
from parfocal.errors import InputError
from parfocal.images.opening import list_images, open_image, other_files

SHARED = Path(__file__).parents[3] / "shared/data"


def numbered(shape, dtype="uint16"):
    return (np.arange(np.prod(shape)).reshape(shape) % 251).astype(dtype)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.tuples(*[st.integers(1, 3)] * 4, *[st.integers(1, 9)] * 2),
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
    compressed=st.booleans(),
    data=st.data(),
)
def test_every_shape_and_type(tmp_path, shape, dtype, compressed, data):
    """Rows are padded to 4 bytes, which the widths and types here need in many ways."""
    pixels = numbered(shape, dtype)
    path = write_nd2(tmp_path / "a.nd2", pixels, compressed=compressed)
    number = data.draw(st.integers(0, shape[1] - 1))
    expected = pixels[:, number]
    if shape[2] == 3:  # three values a pixel in one channel are colours, here they are channels
        assert len(list_images(path)[number].metadata.channels) == 3
    region = []
    for size in expected.shape:
        start = data.draw(st.integers(0, size - 1))
        region.append(slice(start, data.draw(st.integers(start + 1, size))))
    with open_image(path, str(number)) as image:
        assert image.shape5 == expected.shape
        assert image.dtype == dtype
        assert not image.metadata.rgb
        found = image.read(tuple(region))
    np.testing.assert_array_equal(found, expected[tuple(region)])


def test_metadata(tmp_path):
    path = write_nd2(tmp_path / "a.nd2", numbered((3, 1, 2, 4, 5, 6)))
    with open_image(path) as image:
        found = image.metadata
        assert not image.warnings
        texts = image.original_metadata
    assert found.name == "a.nd2"
    assert (found.x_um, found.y_um, found.z_um) == (0.25, 0.25, 0.5)
    assert found.time_increment_s == 2
    assert (found.stage_x_um, found.stage_y_um, found.stage_z_um) == (1, 2, pytest.approx(3, abs=2))
    assert [c.name for c in found.channels] == ["dye 0", "dye 1"]
    assert [c.emission_nm for c in found.channels] == [525, 526]
    assert [c.color for c in found.channels] == ["0080FF", "80FF00"]
    content = json.loads(texts["nd2.json"])
    assert content["chunks"]["ImageAttributesLV"]["SLxImageAttributes"]["uiWidth"] == 6
    assert other_files(path) == []


def test_positions_are_images_of_their_own(tmp_path):
    points = (("left", 10.0, -20.0), ("", 30.0, -40.0))
    path = write_nd2(tmp_path / "a.nd2", numbered((1, 2, 1, 1, 5, 6)), points=points)
    first, second = list_images(path)
    assert (first.series, second.series) == ("0", "1")
    assert (first.metadata.name, second.metadata.name) == ("left", "a.nd2 position 1")
    assert (second.metadata.stage_x_um, second.metadata.stage_y_um) == (30, -40)
    with pytest.raises(InputError, match="'left'"):
        open_image(path)
    with pytest.raises(InputError, match="no such image"):
        open_image(path, "2")


def test_times_that_are_not_regular_are_told(tmp_path):
    times = np.array([0, 1000, 5000.0])
    path = write_nd2(tmp_path / "a.nd2", numbered((3, 1, 1, 1, 5, 6)), times=times)
    with open_image(path) as image:
        assert image.metadata.time_increment_s is None
        assert "not regular" in image.warnings[0]


def test_colors_are_red_green_and_blue(tmp_path):
    pixels = numbered((2, 1, 3, 2, 5, 6), "uint8")
    path = write_nd2(tmp_path / "a.nd2", pixels, rgb=True)
    with open_image(path) as image:
        assert image.metadata.rgb
        assert [c.color for c in image.metadata.channels] == ["FF0000", "00FF00", "0000FF"]
        np.testing.assert_array_equal(image.read(whole(image.shape5)), pixels[:, 0])
        one = image.read((slice(0, 1), slice(1, 2), slice(1, 2), slice(2, 4), slice(1, 5)))
    np.testing.assert_array_equal(one, pixels[:1, 0, 1:2, 1:2, 2:4, 1:5])


def test_an_acquisition_that_was_stopped_is_told(tmp_path):
    pixels = numbered((3, 1, 1, 2, 5, 6))
    path = write_nd2(tmp_path / "a.nd2", pixels, leave_out=(4, 5))
    with open_image(path) as image:
        assert "2 frames were not recorded" in image.warnings[0]
        found = image.read(whole(image.shape5))
    np.testing.assert_array_equal(found[:2], pixels[:2, 0])
    assert not found[2].any()


@pytest.mark.parametrize(
    "wrong",
    [
        {"leave_out": (2,)},
        {"leave_out": (5,), "uiSequenceCount": 6},
        {"uiHeight": 9},
        {"uiHeight": 0},
        {"uiWidth": 40},
        {"uiBpcInMemory": 12},
        {"uiComp": 4},
        {"eCompression": 1},
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path, wrong):
    path = write_nd2(tmp_path / "a.nd2", numbered((3, 1, 1, 2, 5, 6)), **wrong)
    with pytest.raises(InputError):
        open_image(path)


def test_every_truncation_is_refused(tmp_path):
    path = write_nd2(tmp_path / "a.nd2", numbered((1, 1, 1, 2, 5, 6)))
    content = path.read_bytes()
    for size in (1, 7, 39, 112, 5000, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(InputError):
            open_image(path)


def damages(content):
    """Yield copies with one bit changed, where something is written."""
    used = [n for n, byte in enumerate(content) if byte]
    for n in used[:: max(1, len(used) // 150)]:
        damaged = bytearray(content)
        damaged[n] ^= 1 << n % 8
        yield bytes(damaged)


def test_flipped_bits_are_refused_or_change_no_other_pixel(tmp_path):
    """Frames have no checksums unless they are compressed; the structure around them is checked."""
    pixels = numbered((2, 1, 2, 2, 5, 6))
    path = write_nd2(tmp_path / "a.nd2", pixels, compressed=True)
    refused = 0
    content = path.read_bytes()
    for damaged in damages(content):
        path.write_bytes(damaged)
        try:
            with open_image(path) as image:
                found = image.read(whole(image.shape5))
                told = bool(image.warnings)
        except InputError:
            refused += 1
            continue
        if found.shape == pixels[:, 0].shape and found.dtype == pixels.dtype and not told:
            np.testing.assert_array_equal(found, pixels[:, 0])
    assert refused > 20


def test_a_chunk_that_is_not_where_its_map_says_is_refused(tmp_path):
    path = write_nd2(tmp_path / "a.nd2", numbered((1, 1, 1, 2, 5, 6)))
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"ImageDataSeq|1!") + 15
    other = content.rindex(b"ImageDataSeq|0!") + 15
    content[entry : entry + 8] = content[other : other + 8]
    path.write_bytes(content)
    with pytest.raises(InputError, match="not where its map says"):
        open_image(path)
    content[entry : entry + 8] = struct.pack("<Q", 2**60)
    path.write_bytes(content)
    with pytest.raises(InputError, match="not where its map says"):
        open_image(path)


def test_old_files_are_left_to_bio_formats(tmp_path):
    path = tmp_path / "a.nd2"
    path.write_bytes(b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(1000))
    with pytest.raises(InputError, match="reader=bioformats"):
        open_image(path)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("compressed", [False, True])
def test_bio_formats_reads_the_same(tmp_path, assert_same_as_bio_formats, dtype, compressed):
    """Bio-Formats reads no times here, from which the increment comes."""
    pixels = numbered((3, 1, 2, 4, 8, 8), dtype)
    path = write_nd2(tmp_path / "a.nd2", pixels, compressed=compressed)
    assert_same_as_bio_formats(path, explained={"time_increment_s"})


def test_bio_formats_reads_the_same_positions(tmp_path, assert_same_as_bio_formats):
    """It finds the type of pixels from the sizes of chunks, so that these must not be tiny."""
    path = write_nd2(tmp_path / "a.nd2", numbered((1, 2, 1, 2, 64, 64)))
    assert_same_as_bio_formats(path)


def test_bio_formats_gives_blue_for_red(tmp_path, assert_same_as_bio_formats):
    """Colours are stored as blue, green, red; Bio-Formats issue 3761 tells that it swaps them."""
    pixels = numbered((1, 1, 3, 1, 8, 8), "uint8")
    path = write_nd2(tmp_path / "a.nd2", pixels, rgb=True)
    with open_image(path, reader="bioformats") as image:
        found = image.read(whole(image.shape5))
    np.testing.assert_array_equal(found, pixels[:, 0, ::-1])
    with open_image(path) as image:
        assert "bioformats" in image.misread_by


@pytest.mark.skipif(not SHARED.exists(), reason="the shared files are not here")
def test_a_file_of_a_microscope(assert_same_as_bio_formats):
    path = SHARED / "cluster.nd2"
    assert_same_as_bio_formats(path, explained={"time_increment_s"})
    with open_image(path) as image:
        assert image.shape5 == (3, 2, 10, 31, 38)
        assert not image.warnings


@pytest.mark.skipif(not SHARED.exists(), reason="the shared files are not here")
def test_damage_to_a_file_of_a_microscope(tmp_path):
    content = (SHARED / "cluster.nd2").read_bytes()
    path = tmp_path / "a.nd2"
    for size in (100, 4096, 300_000, len(content) - 50, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(InputError):
            open_image(path)
    refused = 0
    for damaged in damages(content):
        path.write_bytes(damaged)
        try:
            with open_image(path) as image:
                image.read(whole(image.shape5))
        except InputError:
            refused += 1
    assert refused > 0


@pytest.mark.parametrize("width", range(6, 14))
@pytest.mark.parametrize("channels", [1, 2])
def test_bio_formats_is_trusted_where_it_reads_padded_rows_right(tmp_path, width, channels):
    pixels = numbered((1, 1, channels, 1, 5, width), "uint8")
    path = write_nd2(tmp_path / "a.nd2", pixels)
    with open_image(path) as ours, open_image(path, reader="bioformats") as theirs:
        same = np.array_equal(theirs.read(whole(theirs.shape5)), pixels[:, 0])
        assert same or "bioformats" in ours.misread_by
