"""Readers that lose something, whose metadata look right: the second reader finds it."""

import dataclasses

import numpy as np
import pytest
from pylibCZIrw import czi

from conversions import convert
from parfocal.core.blocks import region_shape
from parfocal.errors import VerificationError
from parfocal.images.readers.czi import CziSource

DATA = np.random.default_rng(1).integers(1, 4000, (2, 2, 2, 1, 60, 80)).astype(np.uint16)


@pytest.fixture(scope="module")
def mosaic(tmp_path_factory):
    """Return a CZI of two scenes of four tiles each, T 2, C 2."""
    path = tmp_path_factory.mktemp("czi") / "mosaic.czi"
    with czi.create_czi(str(path)) as writer:
        for scene, t, c, z in np.ndindex(*DATA.shape[:4]):
            plane = DATA[scene, t, c, z]
            for y in (0, 30):
                for x in (0, 40):
                    writer.write(
                        plane[y : y + 30, x : x + 40, np.newaxis],
                        location=(x + 200 * scene, y),
                        plane={"T": t, "C": c, "Z": z},
                        scene=scene,
                    )
    return path


class Changed:
    """Pixels that go through `change(pixels, region)`, in a shape of their own."""

    def __init__(self, image, shape=None, change=lambda pixels, _: pixels, dtype=None):
        self.image, self.change = image, change
        self.shape5 = shape or image.shape5
        self.dtype = np.dtype(dtype or image.dtype)

    def read(self, region):
        pixels = self.change(self.image.read(region), region).astype(self.dtype)
        assert pixels.shape == region_shape(region)
        return pixels


def with_pixels(image, pixels):
    """Return the image as a reader would give it that sees `pixels` and nothing else."""
    found = zip("TCZYX", pixels.shape5, strict=True)
    shape = tuple(size for axis, size in found if axis in image.metadata.axes)
    update = {"shape": shape, "dtype": pixels.dtype.name}
    if pixels.shape5[1] != image.shape5[1]:
        update["channels"] = ()
    metadata = image.metadata.model_copy(update=update)
    return dataclasses.replace(image, metadata=metadata, pyramid=(pixels,))


def one_tile(image, _other):
    return with_pixels(image, Changed(image, (*image.shape5[:3], 30, 40)))


def drop_t(image, _other):
    return with_pixels(image, Changed(image, (1, *image.shape5[1:])))


def drop_c(image, _other):
    return with_pixels(image, Changed(image, (image.shape5[0], 1, *image.shape5[2:])))


def wrong_scene(_image, other):
    return other


def swap_channels(image, _other):
    def read(_pixels, region):
        t, c, z, y, x = region
        parts = [image.read((t, slice(1 - n, 2 - n), z, y, x)) for n in range(c.start, c.stop)]
        return np.concatenate(parts, axis=1)

    return with_pixels(image, Changed(image, change=read))


def wrong_endianness(image, _other):
    return with_pixels(image, Changed(image, change=lambda pixels, _: pixels.byteswap()))


def crop_by_one(image, _other):
    return with_pixels(image, Changed(image, (*image.shape5[:4], image.shape5[4] - 1)))


def clip_to_8_bits(image, _other):
    clip = Changed(image, change=lambda pixels, _: pixels.clip(0, 255), dtype="uint8")
    return with_pixels(image, clip)


FAULTS = [
    one_tile,
    drop_t,
    drop_c,
    wrong_scene,
    swap_channels,
    wrong_endianness,
    crop_by_one,
    clip_to_8_bits,
]


@pytest.mark.parametrize("second", ["czi_segments", "bioformats"])
def test_an_honest_reader_is_proven(tmp_path, mosaic, second):
    assert convert(tmp_path, mosaic, second_reader=second) is None
    assert '"verdict": "verified"' in (tmp_path / "c.json").read_text()


@pytest.mark.parametrize("second", ["czi_segments", "bioformats"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_reader_that_loses_something_is_refused(tmp_path, mosaic, monkeypatch, fault, second):
    honest = CziSource.image
    monkeypatch.setattr(
        CziSource,
        "image",
        lambda self, number: fault(honest(self, number), honest(self, 1 - number)),
    )
    error = convert(tmp_path, mosaic, second_reader=second)
    assert isinstance(error, VerificationError), error
    assert error.exit_code == 4
    assert error.found.startswith("Two readers of the source disagree")
    assert not [path for path in tmp_path.iterdir() if "lease" not in path.name]
    # Read by itself again, it looks right.
    assert convert(tmp_path, mosaic, second_reader="none") is None
    assert '"verdict": "self-consistent"' in (tmp_path / "c.json").read_text()
