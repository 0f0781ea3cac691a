"""CZI files as Bio-Formats and others read and write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from czi_files import change, compress_jpeg_xr, image_of, mosaic, noise, read, write_czi

SHARED = Path(__file__).parents[3] / "shared/data"
DTYPES = ("uint8", "uint16", "float32")


@pytest.mark.parametrize("dtype", DTYPES)
def test_bio_formats_agrees_on_all_axes(tmp_path, assert_same_as_bio_formats, dtype):
    scale = {"scale_x": 1e-7, "scale_y": 2e-7, "scale_z": 3e-7, "channel_names": {0: "a", 1: "b"}}
    pixels = noise((2, 3, 2, 20, 30), dtype)
    path = write_czi(tmp_path / "a.czi", image_of(pixels), metadata=scale, compression="zstd1:")
    assert_same_as_bio_formats(path)


@pytest.mark.parametrize(("overlap", "hole"), [(0, True), (4, False), (-3, False)])
def test_bio_formats_agrees_on_mosaics(tmp_path, assert_same_as_bio_formats, overlap, hole):
    mosaic(tmp_path / "mosaic.czi", overlap=overlap, hole=hole)
    assert_same_as_bio_formats(tmp_path / "mosaic.czi")


def test_bio_formats_agrees_on_colour_scenes_and_missing_planes(
    tmp_path, assert_same_as_bio_formats
):
    colour = noise((12, 17, 3), np.uint16)
    scenes = [(noise((20, 30), np.uint16, n), (n * 40, -n), {}, n) for n in (0, 1)]
    stopped = image_of(noise((2, 1, 2, 8, 9), np.uint8))[:-1]
    for name, tiles in (("rgb", [(colour, (0, 0), {}, 0)]), ("scenes", scenes), ("stop", stopped)):
        assert_same_as_bio_formats(write_czi(tmp_path / f"{name}.czi", tiles))


def test_bio_formats_decodes_the_same_jpeg_xr(tmp_path, assert_same_as_bio_formats):
    pixels = np.tile(np.arange(64, dtype=np.uint8), (64, 1))
    path = write_czi(tmp_path / "jxr.czi", [(pixels, (0, 0), {}, 0)])
    compress_jpeg_xr(path, pixels)
    assert_same_as_bio_formats(path)


def test_where_bio_formats_differs_and_why(tmp_path, assert_same_as_bio_formats):
    # It gives all scenes the size of the last tile; here they are of different sizes.
    scenes = [(noise((20, 30), np.uint16), (0, 0), {}, 0), (noise((11, 9)), (40, 0), {}, 1)]
    path = write_czi(tmp_path / "scenes.czi", scenes)
    assert_same_as_bio_formats(path, explained={"shape"})
    # It makes channels of different types images of their own.
    tiles = [(noise((8, 9), np.uint8), (0, 0), {"C": 0}, 0), (noise((8, 9)), (0, 0), {"C": 1}, 0)]
    path = write_czi(tmp_path / "types.czi", tiles)
    assert_same_as_bio_formats(path, explained={"count", "shape", "dtype", "channels"})


@pytest.mark.skipif(not SHARED.exists(), reason="../shared/data is not here")
def test_a_file_that_others_wrote(assert_same_as_bio_formats):
    assert_same_as_bio_formats(SHARED / "written.czi")


def test_a_file_without_scenes_is_one_image(tmp_path, assert_same_as_bio_formats):
    expected = mosaic(tmp_path / "mosaic.czi")
    change(tmp_path / "mosaic.czi", b"S\0\0\0", b"B\0\0\0")
    np.testing.assert_array_equal(read(tmp_path / "mosaic.czi")[0, :, 0], expected)
    assert_same_as_bio_formats(tmp_path / "mosaic.czi")
