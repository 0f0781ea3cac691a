"""Errors say in the user's words what is wrong, and where."""

import logging

import numpy as np
import pytest
import tifffile

from parfocal.core.blocks import whole
from parfocal.errors import InputError
from parfocal.images import open_image
from parfocal.images.readers.listening import listening
from parfocal.images.writers.narrow import NarrowedLabels
from parfocal.images.writers.ome_zarr import write_ome_zarr
from parfocal.models.image import ImageMetadata


class Labels:
    """Pixels in memory."""

    def __init__(self, pixels):
        self.pixels, self.shape5, self.dtype = pixels, pixels.shape, pixels.dtype

    def read(self, region):
        return self.pixels[region]


def test_a_label_that_does_not_fit_is_told_with_its_plane():
    pixels = np.zeros((2, 1, 3, 4, 4), "uint64")
    pixels[1, 0, 2, 3, 3] = 2**32
    narrowed = NarrowedLabels(Labels(pixels), "cells.tif")
    region = (slice(1, 2), slice(0, 1), slice(1, 3), slice(0, 4), slice(0, 4))
    with pytest.raises(InputError, match=r"cells\.tif, T 1, C 0, Z 2; .*found 4294967296\."):
        narrowed.read(region)
    assert narrowed.read((slice(0, 1), *region[1:])).dtype == np.uint32


@pytest.mark.parametrize("name", ["text.png", "text.jpg"])
def test_text_in_a_picture_is_not_called_a_jpeg(tmp_path, name):
    path = tmp_path / name
    path.write_text("not a picture")
    kind = name[-3:].upper()
    with pytest.raises(InputError, match=f"no {kind} image, whatever.*b'not a pi'"):
        open_image(path)


def test_stated_axes_that_do_not_fit_come_with_some_that_do(tmp_path):
    path = tmp_path / "a.tif"
    pages = np.zeros((3, 8, 9), np.uint8)
    tifffile.imwrite(path, pages, photometric="minisblack", metadata=None)
    with pytest.raises(InputError, match=r"State 3 letters of TCZYX, such as --set axes=ZYX\."):
        open_image(path, axes="CZYX")


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ('"datasets"', '"else"', "found no 'datasets'"),
        ('"datasets": [', '"datasets": [], "more": [', "found an empty list"),
    ],
)
def test_an_invalid_ome_zarr_is_told_without_the_words_of_python(tmp_path, old, new, found):
    pixels = Labels(np.zeros((1, 1, 1, 4, 5), np.uint8))
    metadata = ImageMetadata(name="a", axes="YX", shape=(4, 5), dtype="uint8")
    path = tmp_path / "a.zarr"
    write_ome_zarr(path, metadata, pixels)
    text = (path / "zarr.json").read_text()
    assert old in text
    (path / "zarr.json").write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=found) as caught, open_image(path) as image:
        image.read(whole(image.shape5))
    assert "Error(" not in str(caught.value)


def test_what_a_library_logs_is_heard_and_not_shown(caplog):
    log = logging.getLogger("some_library")
    with listening("some_library") as heard:
        log.warning("odd")
        logging.getLogger("some_library.part").error("bad")
    log.warning("later")
    assert (heard.warnings, heard.errors) == (["odd"], ["bad"])
    assert caplog.messages == ["later"]
