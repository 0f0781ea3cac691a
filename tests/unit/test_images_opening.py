"""What each bad input gets, and which formats are told apart."""

import os
import struct

import imagecodecs
import numpy as np
import pytest
from PIL import Image as PillowImage

from parfocal.core.blocks import whole
from parfocal.errors import InputError
from parfocal.images import list_images, open_image
from parfocal.models.manifest import Manifest, primary_path


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.tif", b"", "empty"),
        ("text.tif", b"these are no pixels", "TIFF cannot be read"),
        ("short.tif", b"II*\0", "cannot be read"),
        ("noise.tif", b"II*\0\x08\0\0\0" + bytes(range(256)), "TIFF"),
        ("broken.png", b"\x89PNG\r\n\x1a\n1234", "decoded"),
        ("broken.jpg", b"\xff\xd8\xff\xe0 nothing", "decoded"),
    ],
)
def test_files_that_are_no_images(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        open_image(path)
    assert caught.value.exit_code == 2
    assert str(path) in str(caught.value.where)
    assert caught.value.remedy


def test_an_image_of_no_size(tmp_path):
    tags = [(256, 0), (257, 4), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 4)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in [*tags, (279, 0)])
    path = tmp_path / "a.tif"
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, 9) + entries + bytes(4))
    with pytest.raises(InputError, match="no pixels"):
        open_image(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        open_image(tmp_path / "nothing.tif")


def test_a_folder_that_is_no_zarr(tmp_path):
    with pytest.raises(InputError, match="not an OME-Zarr"):
        list_images(tmp_path)


def test_a_zarr_without_images(tmp_path):
    (tmp_path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
    with pytest.raises(InputError, match="no image"):
        open_image(tmp_path)


def test_a_file_without_permission(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    path.write_bytes(b"II*\0")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may read everything
    with pytest.raises(InputError, match="cannot be read") as caught:
        open_image(path)
    assert "permissions" in caught.value.remedy


@pytest.mark.parametrize("shape", [(9, 11), (9, 11, 3), (9, 11, 4)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_png(tmp_path, shape, dtype):
    pixels = np.random.default_rng(0).integers(0, 250, shape).astype(dtype)
    path = tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(pixels))
    with open_image(path) as image:
        assert image.dtype == dtype
        found = image.read(whole(image.shape5))[0, :, 0]
        np.testing.assert_array_equal(found, np.moveaxis(np.atleast_3d(pixels), -1, 0))
        assert image.metadata.rgb == (shape[2:] == (3,))
        assert image.warnings == ()


def ones(mode, high):
    """Return a small picture of Pillow with values from 0 to `high`."""
    values = np.random.default_rng(0).integers(0, high + 1, (9, 11)).astype(np.uint8)
    values[0, :2] = 0, high
    return PillowImage.fromarray(values * (255 if mode == "1" else 1)).convert(mode)


def test_a_png_with_few_bits_is_read_with_a_warning(tmp_path):
    path = tmp_path / "a.png"
    ones("1", 1).save(path)
    with open_image(path) as image:
        assert "1-bit PNG" in image.warnings[0]
        assert "by 255" in image.warnings[0]
        assert np.unique(image.read(whole(image.shape5))).tolist() == [0, 255]


def test_a_png_with_a_palette_is_read_with_a_warning(tmp_path):
    path = tmp_path / "a.png"
    picture = ones("L", 3).convert("P")
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    picture.save(path)
    with open_image(path) as image:
        assert len(image.warnings) == 1
        assert "palette" in image.warnings[0]
        expected = np.moveaxis(np.asarray(picture.convert("RGB")), -1, 0)
        np.testing.assert_array_equal(image.read(whole(image.shape5))[0, :, 0], expected)


def test_an_animated_png_is_read_with_a_warning(tmp_path):
    path = tmp_path / "a.png"
    ones("L", 200).save(path, save_all=True, append_images=[ones("L", 100), ones("L", 50)])
    with open_image(path) as image:
        assert "first of 3 pictures" in image.warnings[0]


def test_the_inks_of_a_jpeg_are_not_called_colours(tmp_path):
    path = tmp_path / "a.jpg"
    PillowImage.new("CMYK", (16, 16), (10, 20, 30, 40)).save(path)
    with open_image(path) as image:
        assert any("CMYK" in warning for warning in image.warnings)
        assert "Red" not in image.metadata.channel_names()


def test_jpeg_is_read_with_a_warning(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(imagecodecs.jpeg8_encode(np.full((16, 16), 77, np.uint8)))
    with open_image(path) as image:
        assert "lossy" in image.warnings[0]
        assert image.metadata.axes == "YX"
        assert abs(int(image.read(whole(image.shape5)).mean()) - 77) <= 1


def test_a_manifest_leads_to_the_primary_file(tmp_path):
    file = tmp_path / "a.tif"
    assert primary_path(file) == file
    manifest = tmp_path / "manifest.json"
    manifest.write_text(Manifest(source="x", files=(), primary="files/a.tif").model_dump_json())
    assert primary_path(tmp_path) == tmp_path / "files/a.tif"
    manifest.write_text(
        Manifest(source="x", files=(), primary="/elsewhere/a.tif").model_dump_json()
    )
    assert str(primary_path(tmp_path)) == "/elsewhere/a.tif"


@pytest.mark.parametrize(
    "text", ["", "[]", '{"format": "other-1", "primary": "a"}', '{"format": "parfocal-manifest-1"}']
)
def test_a_bad_manifest(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputError, match="manifest"):
        primary_path(tmp_path)
