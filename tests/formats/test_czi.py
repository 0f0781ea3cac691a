"""CZI files written with libCZI, read back, and compared with what was written."""

from __future__ import annotations

import re
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pylibCZIrw import czi

from czi_files import change, compress_jpeg_xr, entry, image_of, mosaic, noise, read, write_czi
from parfocal.core.blocks import iter_blocks, whole
from parfocal.errors import InputError
from parfocal.images.opening import list_images, open_image, other_files
from parfocal.images.readers.czi.tiles import Box, area

DTYPES = ("uint8", "uint16", "float32")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.tuples(*[st.integers(1, 3)] * 3, st.integers(1, 40), st.integers(1, 40)),
    dtype=st.sampled_from(DTYPES),
    compression=st.sampled_from([None, "zstd0:", "zstd1:ExplicitLevel=1"]),
    block=st.tuples(*[st.integers(1, 2)] * 3, st.integers(1, 40), st.integers(1, 40)),
)
def test_all_sizes_and_types_are_read_as_written(tmp_path, sizes, dtype, compression, block):
    pixels = noise(sizes, dtype)
    path = tmp_path / "all.czi"
    path.unlink(missing_ok=True)
    write_czi(path, image_of(pixels), compression=compression)
    with open_image(path) as image:
        assert (image.shape5, image.dtype) == (sizes, np.dtype(dtype))
        assert image.warnings == ()
        out = np.zeros(sizes, dtype)
        for region in iter_blocks(whole(sizes), block):
            out[region] = image.read(region)
    np.testing.assert_array_equal(out, pixels)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_colour_comes_as_red_green_blue(tmp_path, dtype):
    pixels = noise((12, 17, 3), dtype)
    path = write_czi(tmp_path / "rgb.czi", [(pixels, (0, 0), {}, 0)])
    with open_image(path) as image:
        assert image.metadata.rgb
        assert [one.name for one in image.metadata.channels] == ["Red", "Green", "Blue"]
        np.testing.assert_array_equal(
            image.read(whole(image.shape5))[0, :, 0], np.moveaxis(pixels, -1, 0)
        )
        np.testing.assert_array_equal(
            image.read((slice(0, 1), slice(2, 3), slice(0, 1), slice(3, 9), slice(1, 5)))[0, 0, 0],
            pixels[3:9, 1:5, 2],
        )


@pytest.mark.parametrize(("overlap", "hole"), [(0, False), (0, True), (4, False), (-3, False)])
def test_a_mosaic_is_one_image(tmp_path, overlap, hole):
    path = tmp_path / "mosaic.czi"
    expected = mosaic(path, overlap=overlap, hole=hole)
    (entry,) = list_images(path)
    assert (entry.metadata.axes, entry.metadata.shape) == ("CYX", expected.shape)
    np.testing.assert_array_equal(read(path)[0, :, 0], expected)
    with open_image(path) as image:
        said = " ".join(image.warnings)
        region = (slice(0, 1), slice(1, 2), slice(0, 1), slice(11, 27), slice(20, 70))
        np.testing.assert_array_equal(image.read(region)[0, 0, 0], expected[1, 11:27, 20:70])
    assert ("overlap" in said) == (overlap > 0)
    assert ("in 2 of 2 planes tiles do not cover" in said) == (hole or overlap < 0)


def test_scenes_of_different_sizes_and_numbers_that_skip_are_images_each(tmp_path):
    first, second = noise((20, 30), np.uint16, 1), noise((11, 9), np.uint16, 2)
    # The second lies within the rectangle of the first: its pixels must not show there.
    tiles = [(first, (-5, -5), {}, 2), (second, (0, 0), {}, 5)]
    path = write_czi(tmp_path / "scenes.czi", tiles)
    assert [(e.series, e.metadata.shape) for e in list_images(path)] == [
        ("0", (20, 30)),
        ("1", (11, 9)),
    ]
    np.testing.assert_array_equal(read(path, "0")[0, 0, 0], first)
    np.testing.assert_array_equal(read(path, "1")[0, 0, 0], second)
    with pytest.raises(InputError, match="several images"):
        open_image(path)
    with pytest.raises(InputError, match="no such image"):
        open_image(path, "2")


def test_planes_that_are_missing_are_zero_and_told(tmp_path):
    pixels = noise((2, 1, 2, 8, 9), np.uint8)
    path = write_czi(tmp_path / "stopped.czi", image_of(pixels)[:-1])
    pixels[1, 0, 1] = 0
    np.testing.assert_array_equal(read(path), pixels)
    with open_image(path) as image:
        assert "1 of 4 planes have no tile" in " ".join(image.warnings)


def test_metadata_are_taken_with_their_units(tmp_path):
    display = czi.ChannelDisplaySettingsDataClass(
        True, czi.TintingMode.Color, czi.Rgb8Color(np.uint8(1), np.uint8(2), np.uint8(255)), 0, 1
    )
    metadata = {
        "document_name": "sample",
        "channel_names": {0: "DAPI", 1: "GFP"},
        "scale_x": 1.03e-7,
        "scale_y": 2.07e-7,
        "scale_z": 5e-7,
        "display_settings": {1: display},
    }
    pixels = noise((1, 2, 1, 8, 9), np.uint8)
    path = write_czi(tmp_path / "named.czi", image_of(pixels), metadata=metadata)
    with open_image(path) as image:
        found = image.metadata
        assert (found.x_um, found.y_um, found.z_um) == (0.103, 0.207, 0.5)
        assert [(one.name, one.color) for one in found.channels] == [
            ("DAPI", None),
            ("GFP", "0102FF"),
        ]
        assert image.original_metadata["czi.xml"].startswith(b"<?xml")
        assert image.reader == "pylibCZIrw " + re.sub("[^0-9.]", "", image.reader)
    assert other_files(path) == []


ZEN = """<ImageDocument><Metadata><Information><Image>
<SizeX>9</SizeX><SizeY>8</SizeY><SizeT>7</SizeT>
<Dimensions><Channels><Channel Id="Channel:0" Name="AF488"><Color>#FF00FF00</Color>
<ExcitationWavelength>493</ExcitationWavelength><EmissionWavelength>517.5</EmissionWavelength>
</Channel></Channels>
<T><Positions><Interval><Increment>2.5</Increment></Interval></Positions></T>
<S><Scenes><Scene Index="0" Name="P1"><CenterPosition>-12.5,8.25</CenterPosition>
<Positions><Position X="1" Y="2" Z="3.5"/></Positions></Scene></Scenes></S>
</Dimensions></Image></Information></Metadata></ImageDocument>"""


def test_metadata_as_microscopes_write_them(tmp_path):
    pixels = noise((3, 1, 1, 8, 9), np.uint8)
    path = write_czi(tmp_path / "zen.czi", image_of(pixels))
    with czi.edit_czi(str(path)) as editor, editor.edit_session() as session:
        session.set_xml(ZEN)
    with open_image(path) as image:
        found = image.metadata
        assert "state sizes of 7 along T and there are 3" in " ".join(image.warnings)
    assert found.name == "zen.czi, P1"
    assert (found.stage_x_um, found.stage_y_um, found.stage_z_um) == (-12.5, 8.25, 3.5)
    assert found.time_increment_s == 2.5
    (channel,) = found.channels
    assert channel.model_dump() == {
        "name": "AF488",
        "color": "00FF00",
        "excitation_nm": 493,
        "emission_nm": 517.5,
    }


def test_channels_of_several_types_are_widened_without_loss(tmp_path):
    narrow, wide = noise((8, 9), np.uint8), noise((8, 9), np.uint16) * 200
    tiles = [(narrow, (0, 0), {"C": 0}, 0), (wide, (0, 0), {"C": 1}, 0)]
    path = write_czi(tmp_path / "types.czi", tiles)
    np.testing.assert_array_equal(read(path)[0, :, 0], [narrow, wide])
    with open_image(path) as image:
        assert image.dtype == np.uint16
        assert "uint16, uint8" in " ".join(image.warnings)


def test_colour_beside_grey_is_refused(tmp_path):
    tiles = [
        (noise((8, 9), np.uint8), (0, 0), {"C": 0}, 0),
        (noise((8, 9, 3), np.uint8), (0, 0), {"C": 1}, 0),
    ]
    path = write_czi(tmp_path / "both.czi", tiles)
    with pytest.raises(InputError, match="colour beside other channels"):
        list_images(path)


def test_tiles_of_a_pyramid_are_not_pixels_of_the_image(tmp_path):
    full, small = noise((20, 30), np.uint16, 1), noise((10, 40), np.uint16, 2)
    far = noise((20, 30), np.uint16, 3)
    tiles = [(full, (0, 0), {}, 0), (small, (7, 9), {}, 0), (far, (60, 0), {}, 0)]
    path = write_czi(tmp_path / "pyramid.czi", tiles)
    # The second becomes a tile at half the resolution that covers more, part of the hole too.
    for name, start, size in (("X", 7, 40), ("Y", 9, 10)):
        change(path, entry(name, start, size, size), entry(name, start, 2 * size, size))
    expected = np.zeros((20, 90), np.uint16)
    expected[:, :30], expected[:, 60:] = full, far
    np.testing.assert_array_equal(read(path)[0, 0, 0], expected)


@pytest.mark.parametrize("dimension", ["H", "R", "V", "I", "B"])
def test_dimensions_that_cannot_be_kept_are_refused(tmp_path, dimension):
    pixels = noise((1, 1, 3, 8, 9), np.uint8)
    path = write_czi(tmp_path / "phases.czi", image_of(pixels))
    content = path.read_bytes().replace(b"Z\0\0\0", dimension.encode() + b"\0\0\0")
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"3 .*\({dimension}\)"):
        list_images(path)


def test_threads_read_what_one_reads(tmp_path):
    path = tmp_path / "mosaic.czi"
    expected = mosaic(path)
    out, failed = np.zeros((8, *expected.shape), np.uint16), []
    with open_image(path) as image:

        def work(number):
            for _ in range(20):
                for region in iter_blocks(whole(image.shape5), (1, 1, 1, 7, 11)):
                    out[number][region[1], region[3], region[4]] = image.read(region)[0, :, 0]
                if not np.array_equal(out[number], expected):
                    failed.append(number)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    assert not failed
    np.testing.assert_array_equal(out, np.broadcast_to(expected, out.shape))


def test_jpeg_xr_is_decoded_and_told_to_be_possibly_lossy(tmp_path):
    pixels = np.tile(np.arange(64, dtype=np.uint8), (64, 1))
    path = write_czi(tmp_path / "jxr.czi", [(pixels, (0, 0), {}, 0)])
    compress_jpeg_xr(path, pixels)
    with open_image(path) as image:
        assert "does not say which it was" in " ".join(image.warnings)
        assert image.lossy
        np.testing.assert_array_equal(image.read(whole(image.shape5))[0, 0, 0], pixels)


@pytest.mark.parametrize("kept", [0.05, 0.3, 0.9, 0.99])
def test_a_truncated_file_is_refused(tmp_path, kept):
    path = write_czi(tmp_path / "cut.czi", image_of(noise((1, 1, 3, 64, 64), np.uint16)))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    for use in (list_images, other_files, lambda path: read(path, "0")):
        with pytest.raises(InputError, match="truncated or damaged"):
            use(path)


def test_flipped_bits_end_in_an_error_or_in_the_same_shape(tmp_path):
    path = write_czi(tmp_path / "whole.czi", image_of(noise((1, 2, 2, 16, 16), np.uint8)))
    content = path.read_bytes()
    rng = np.random.default_rng(7)
    refused = 0
    for at in rng.integers(0, len(content), 150):
        broken = bytearray(content)
        broken[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        try:
            with open_image(path, "0") as image:
                image.read(tuple(slice(0, min(n, 99)) for n in image.shape5))
        except InputError:
            refused += 1
    assert refused > 10


def test_compressed_pixels_that_are_damaged_are_refused(tmp_path):
    pixels = np.zeros((1, 1, 1, 64, 64), np.uint16)
    pixels[..., ::3] = 7
    path = write_czi(tmp_path / "z.czi", image_of(pixels), compression="zstd0:")
    change(path, b"\x28\xb5\x2f\xfd", b"\0\0\0\0")
    with pytest.raises(InputError, match="cannot be decoded"):
        read(path)


def test_a_size_that_the_file_cannot_hold_is_refused(tmp_path):
    path = write_czi(tmp_path / "huge.czi", image_of(noise((1, 1, 1, 64, 64), np.uint16)))
    huge = 1 << 24
    change(path, entry("X", 0, 64, 64), entry("X", 0, huge, huge))
    with pytest.raises(InputError, match="too small for the tiles"):
        list_images(path)


def test_text_that_is_called_czi_is_refused(tmp_path):
    path = tmp_path / "text.czi"
    path.write_text("no image at all " * 100)
    with pytest.raises(InputError, match="CZI cannot be read"):
        list_images(path)


@given(st.lists(st.builds(Box, *[st.integers(-9, 9)] * 2, *[st.integers(1, 9)] * 2), min_size=1))
def test_the_area_of_boxes_counts_each_pixel_once(boxes):
    drawn = np.zeros((40, 40), bool)
    for x, y, w, h in boxes:
        drawn[y + 10 : y + 10 + h, x + 10 : x + 10 + w] = True
    assert area(boxes) == drawn.sum()
