"""The second reader of CZI: it says what libCZI says, and what was written."""

import re
import struct

import imagecodecs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pylibCZIrw import czi

from parfocal.core.blocks import Region, whole
from parfocal.errors import InputError
from parfocal.images.opening import list_images, open_image


def noise(shape, dtype="uint16", seed=0):
    return np.random.default_rng(seed).integers(1, 250, shape).astype(dtype)


def write_czi(path, tiles, compression=None):
    """Write tiles: a list of (pixels, location, plane, scene); return the path."""
    path.unlink(missing_ok=True)
    with czi.create_czi(str(path), compression_options=compression) as writer:
        for pixels, location, plane, scene in tiles:
            stored = pixels[..., np.newaxis] if pixels.ndim == 2 else pixels[..., ::-1]
            writer.write(stored, location=location, plane=plane, scene=scene)
    return path


def part_of(shape5) -> Region:
    """Return a region that touches no border where it can."""
    t, c, z, y, x = (slice(size // 3, max(size // 3 + 1, size - 1)) for size in shape5)
    return t, c, z, y, x


def assert_same(path):
    """Compare both readers; return what the second one read."""
    entries, others = list_images(path), list_images(path, reader="czi_segments")
    assert [e.series for e in entries] == [e.series for e in others]
    found = []
    for one in entries:
        with (
            open_image(path, one.series) as image,
            open_image(path, one.series, reader="czi_segments") as other,
        ):
            assert (image.shape5, image.dtype) == (other.shape5, other.dtype)
            assert image.reader.split()[0] != other.reader.split()[0]
            for region in (whole(image.shape5), part_of(image.shape5)):
                np.testing.assert_array_equal(image.read(region), other.read(region))
            found.append(other.read(whole(other.shape5)))
    return found


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tiles=st.lists(
        st.tuples(
            *[st.integers(-30, 30)] * 2,
            *[st.integers(1, 20)] * 2,
            st.fixed_dictionaries({axis: st.integers(0, 2) for axis in "TCZ"}),
            st.sampled_from([0, 1, 4]),
        ),
        min_size=1,
        max_size=12,
    ),
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
    compression=st.sampled_from([None, "zstd0:", "zstd1:", "zstd1:PreProcess=HiLoByteUnpack"]),
)
def test_any_tiles_are_read_as_libczi_reads_them(tmp_path, tiles, dtype, compression):
    written = [
        (noise((h, w), dtype, seed=n), (x, y), plane, scene)
        for n, (x, y, h, w, plane, scene) in enumerate(tiles)
    ]
    assert_same(write_czi(tmp_path / "tiles.czi", written, compression))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_colour_comes_as_red_green_blue(tmp_path, dtype):
    pixels = noise((12, 17, 3), dtype)
    (found,) = assert_same(write_czi(tmp_path / "rgb.czi", [(pixels, (0, 0), {}, 0)]))
    np.testing.assert_array_equal(found[0, :, 0], np.moveaxis(pixels, -1, 0))


def test_channels_of_several_types_are_widened(tmp_path):
    tiles = [
        (noise((8, 9), "uint8"), (0, 0), {"C": 0}, 0),
        (noise((8, 9), "uint16") * 200, (0, 0), {"C": 1}, 0),
    ]
    (found,) = assert_same(write_czi(tmp_path / "types.czi", tiles))
    np.testing.assert_array_equal(found[0, :, 0], [one[0] for one in tiles])


@pytest.mark.parametrize("shape", [(64, 64), (64, 64, 3)])
def test_jpeg_xr_is_decoded(tmp_path, shape):
    pixels = np.zeros(shape, np.uint8)
    pixels[:] = np.arange(64).reshape(-1, *[1] * (len(shape) - 1))
    pixels.T[:1] += 3
    path = write_czi(tmp_path / "jxr.czi", [(pixels, (0, 0), {}, 0)])
    raw = pixels[..., ::-1].tobytes() if pixels.ndim == 3 else pixels.tobytes()
    coded = imagecodecs.jpegxr_encode(pixels, level=1.0)
    # CZI holds blue, green, red: the last byte of the identifier of the format of pixels.
    rgb = bytes.fromhex("24c3dd6f034efe4bb1853d77768dc9")
    coded = coded.replace(rgb + b"\x0d", rgb + b"\x0c")
    content = path.read_bytes()
    assert content.count(raw) == 1
    content = bytearray(content.replace(raw, coded.ljust(len(raw), b"\0")))
    for found in list(re.finditer(b"DV.\0\0\0", content)):
        struct.pack_into("<i", content, found.start() + 18, 4)
    path.write_bytes(content)
    (found,) = assert_same(path)
    expected = np.moveaxis(pixels, -1, 0) if pixels.ndim == 3 else pixels[np.newaxis]
    np.testing.assert_array_equal(found[0, :, 0], expected)


@pytest.mark.parametrize("kept", [20, 300, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, kept):
    path = write_czi(tmp_path / "cut.czi", [(noise((64, 64)), (0, 0), {}, 0)])
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(len(content) * kept)])
    with pytest.raises(InputError):
        list_images(path, reader="czi_segments")


def test_flipped_bits_end_in_an_error_or_in_an_image(tmp_path):
    tiles = [(noise((9, 9)), (0, 0), {"C": c}, 0) for c in (0, 1)]
    path = write_czi(tmp_path / "whole.czi", tiles, "zstd1:")
    content = path.read_bytes()
    rng = np.random.default_rng(7)
    refused = 0
    for at in rng.integers(0, len(content), 300):
        broken = bytearray(content)
        broken[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        try:
            with open_image(path, "0", reader="czi_segments") as image:
                image.read(tuple(slice(0, min(n, 99)) for n in image.shape5))
        except InputError:
            refused += 1
    assert refused > 10


@pytest.mark.parametrize(("change", "refused"), [(1, True), (-1, False)])
def test_a_wrong_size_before_the_pixels_of_a_tile_is_found(tmp_path, change, refused):
    """It shifts pixels in the eyes of every reader, so that no comparison would show it."""
    path = tmp_path / "a.czi"
    write_czi(path, [(noise((8, 9)), (0, 0), {}, 0)])
    with open_image(path) as image:
        assert not [one for one in image.warnings if "add up" in one]
    content = bytearray(path.read_bytes())
    start = content.index(b"ZISRAWSUBBLOCK") + 32
    (size,) = struct.unpack_from("<i", content, start)
    struct.pack_into("<i", content, start, size + change)
    path.write_bytes(content)
    if refused or size == 0:
        with pytest.raises(InputError, match="cannot be read"):
            open_image(path)
        return
    with open_image(path) as image:
        assert [one for one in image.warnings if "in 1 tiles the sizes" in one]
