"""PNG files whose bytes depend on their pixels alone."""

from __future__ import annotations

import hashlib
import io

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from parfocal.report.png import write_png

sides = st.integers(1, 9)
shapes = st.one_of(st.tuples(sides, sides), st.tuples(sides, sides, st.sampled_from([3, 4])))


@given(arrays(np.uint8, shapes))
def test_others_read_what_was_written(image):
    png = write_png(image)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), image)
    np.testing.assert_array_equal(imagecodecs.png_decode(png), image)


def test_pictures_become_small():
    y, x = np.mgrid[:256, :256]
    smooth = np.stack([y, x, (x + y) // 2], axis=-1).astype(np.uint8)
    assert len(write_png(smooth)) < smooth.size / 50
    assert len(write_png(np.zeros((500, 500), np.uint8))) < 1000


@pytest.mark.parametrize(
    ("image", "digest"),
    [
        (
            np.arange(64, dtype=np.uint8).reshape(8, 8) ** 2,
            "14ad07728d8cc9d7680a1f4a5185dd0f1a486632188e73c4f8faf3893b8dbf0c",
        ),
        (
            np.arange(192, dtype=np.uint8).reshape(8, 8, 3) * 7,
            "1dd6243753d8d7bed35bc08f0b68986f98a0edf0b86767be5ee7f9f7e61c4c53",
        ),
        (
            np.arange(256, dtype=np.uint8).reshape(8, 8, 4) * 7,
            "8f0b9a6880781486010ed55e0645beff64f8591bb593c21b4eca7fdb2353adaa",
        ),
    ],
    ids=["grey", "RGB", "RGBA"],
)
def test_bytes_stay_as_they_are(image, digest):
    assert hashlib.sha256(write_png(image)).hexdigest() == digest
