"""The reader of all other formats, on images that Bio-Formats makes up and on real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from parfocal.core.blocks import whole
from parfocal.images import open_image

SHARED = Path(__file__).parents[3] / "shared/data"
REAL = ["4D-series.ome.tiff"]


def test_agrees_with_our_reader_of_tiff(tmp_path: Path, assert_same_as_bio_formats) -> None:
    path = tmp_path / "a.ome.tiff"
    pixels = np.arange(2 * 3 * 4 * 20 * 30, dtype="uint16").reshape(2, 3, 4, 20, 30)
    tifffile.imwrite(
        path,
        pixels,
        metadata={
            "axes": "TCZYX",
            "PhysicalSizeX": 0.25,
            "PhysicalSizeXUnit": "µm",
            "PhysicalSizeZ": 2.0,
            "Channel": {"Name": ["one", "two", "three"]},
        },
    )
    assert_same_as_bio_formats(path)
    with open_image(path, reader="bioformats") as image:
        np.testing.assert_array_equal(image.read(whole(image.shape5)), pixels)


@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared/data")
@pytest.mark.parametrize("name", REAL)
def test_agrees_on_real_files(name: str, assert_same_as_bio_formats) -> None:
    assert_same_as_bio_formats(SHARED / name)
