"""PNG and JPEG as Bio-Formats and Pillow read them."""

import numpy as np
import pytest
from PIL import Image as Pillow

from parfocal.core.blocks import whole
from parfocal.images import open_image

PIXELS = np.random.default_rng(2).integers(0, 255, (20, 30, 3)).astype(np.uint8)
PIXELS = PIXELS.repeat(8, 0).repeat(8, 1)


def test_a_png_agrees_with_bio_formats(tmp_path, assert_same_as_bio_formats):
    path = tmp_path / "a.png"
    Pillow.fromarray(PIXELS).save(path)
    with open_image(path) as image:
        expected = np.moveaxis(PIXELS, -1, 0)
        np.testing.assert_array_equal(image.read(whole(image.shape5))[0, :, 0], expected)
    assert_same_as_bio_formats(path)


@pytest.mark.parametrize("turned", [1, 6])
def test_a_jpeg_is_kept_as_it_is_stored(tmp_path, turned):
    path = tmp_path / "a.jpg"
    exif = Pillow.Exif()
    exif[274] = turned
    Pillow.fromarray(PIXELS).save(path, exif=exif)
    with open_image(path) as image:
        assert image.metadata.shape == (3, 160, 240)
        told = [warning for warning in image.warnings if "Orientation 6" in warning]
        assert len(told) == (turned == 6)


def test_damaged_exif_metadata_do_not_matter(tmp_path):
    path = tmp_path / "a.jpg"
    exif = Pillow.Exif()
    exif[274] = 6
    Pillow.fromarray(PIXELS).save(path, exif=exif)
    content = path.read_bytes()
    start = content.index(b"Exif\0\0") + 6
    for offset in range(start, start + 20):
        path.write_bytes(content[:offset] + b"\xff" + content[offset + 1 :])
        with open_image(path) as image:
            assert image.metadata.shape == (3, 160, 240)
