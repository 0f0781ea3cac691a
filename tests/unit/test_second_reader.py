"""Which library proves a conversion, and what comes of it where libraries disagree."""

import dataclasses
import json
from types import SimpleNamespace

import imagecodecs
import numpy as np
import pytest
import tifffile

import parfocal.images.proof.second_reader as second_reader
from parfocal.core.blocks import whole
from parfocal.core.step import Context
from parfocal.errors import ConfigurationError, InputError, VerificationError
from parfocal.images import ImageEntry, list_images, open_image
from parfocal.images.image import Image
from parfocal.images.readers.source import Source
from parfocal.models.image import ImageMetadata
from parfocal.steps.convert_image import STEP, ConvertImageParams

STACK = np.random.default_rng(5).integers(0, 4000, (3, 70, 90)).astype(np.uint16)
COLOR = np.random.default_rng(5).integers(0, 255, (40, 50, 3)).astype(np.uint8)


@pytest.fixture
def convert(tmp_path):
    """Return a function that converts a source and gives the certificate."""

    def run(source, **params):
        outputs = {"image": tmp_path / "i.ome.zarr", "certificate": tmp_path / "c.json"}
        context = Context(scratch=tmp_path, threads=2)
        STEP.run({"source": source}, outputs, ConvertImageParams(**params), context)
        return json.loads(outputs["certificate"].read_text())

    return run


@pytest.fixture
def other(monkeypatch):
    """Return a function that puts a reader of the given pixels in the place of Bio-Formats."""

    def put(pixels, count=1, name="Other 1.0"):
        class Other(Source):
            def names(self):
                return [str(number) for number in range(count)]

            def entries(self):
                return [ImageEntry(number, None) for number in self.names()]

            def image(self, place):
                stub = Stub(pixels)
                sizes = {"axes": "TCZYX", "shape": stub.shape5}
                metadata = ImageMetadata(name=name, dtype=stub.dtype.name, **sizes)
                return Image(metadata, (stub,), stub.shape5, name)

        reader = SimpleNamespace(open_source=Other)
        honest = second_reader.find_reader
        monkeypatch.setattr(
            second_reader,
            "find_reader",
            lambda path, name: reader if name == "bioformats" else honest(path, name),
        )

    return put


class Stub:
    """Pixels (T, C, Z, Y, X) of a reader that is not there."""

    def __init__(self, pixels):
        self.pixels = pixels
        self.shape5, self.dtype = pixels.shape, pixels.dtype

    def read(self, region):
        return self.pixels[region]


class Torn(Stub):
    """Pixels of which the last plane cannot be read."""

    def read(self, region):
        if region[2].stop == self.shape5[2]:
            what = "torn"
            raise InputError(what)
        return self.pixels[region]


def write(path, data=STACK, **options):
    tifffile.imwrite(path, data, photometric="minisblack", **options)
    return path


def test_the_other_reader_proves_where_it_agrees(tmp_path, convert, other):
    other(STACK[None, None])
    source = write(tmp_path / "a.ome.tif", metadata={"axes": "ZYX"})
    certificate = convert(source, second_reader="bioformats")
    assert certificate["verdict"] == "verified"
    assert certificate["reason"] is None
    side = {key: certificate["source"][key] for key in ("reader", "version", "independent")}
    assert side == {"reader": "Other", "version": "1.0", "independent": True}


@pytest.mark.parametrize(
    ("pixels", "count", "told"),
    [
        (STACK[None, None], 2, "the number of images: 2 by bioformats expected, 1 by tifffile"),
        (STACK[None, None, :, :, 1:], 1, "size (T, C, Z, Y, X) and data type"),
        (STACK[None, :, None], 1, "size (T, C, Z, Y, X) and data type"),
        (STACK[None, None].astype(np.int32), 1, "size (T, C, Z, Y, X) and data type"),
        (STACK[None, None] ^ 1, 1, "pixels of a.ome.tif: those of Other 1.0 expected"),
    ],
)
def test_readers_that_disagree_are_told(tmp_path, convert, other, pixels, count, told):
    other(pixels, count)
    source = write(tmp_path / "a.ome.tif", metadata={"axes": "ZYX"})
    with pytest.raises(VerificationError) as caught:
        convert(source, second_reader="bioformats")
    assert caught.value.found.startswith(f"Two readers of the source disagree at {told}")
    assert "reader=bioformats" in caught.value.remedy
    assert "second_reader=none" in caught.value.remedy


def test_a_wrong_result_is_not_blamed_on_the_readers(tmp_path, convert, other, monkeypatch):
    import parfocal.images

    honest = parfocal.images.write_ome_zarr
    wrong = Stub(STACK[None, None] ^ 1)
    monkeypatch.setattr(
        parfocal.images, "write_ome_zarr", lambda p, m, _, *a, **k: honest(p, m, wrong, *a, **k)
    )
    other(STACK[None, None])
    with pytest.raises(VerificationError) as caught:
        convert(write(tmp_path / "a.ome.tif", metadata={"axes": "ZYX"}), second_reader="bioformats")
    assert caught.value.found.startswith("Pixels differ")
    assert "reader=" not in caught.value.remedy


def test_pages_of_a_plain_tiff_may_be_another_axis_elsewhere(tmp_path, convert, other):
    other(STACK[:, None, None])  # ours takes them as Z
    source = write(tmp_path / "a.tif", metadata=None)
    assert convert(source, second_reader="bioformats")["verdict"] == "verified"


def test_pages_in_another_order_are_found(tmp_path, convert, other):
    other(STACK[::-1, None, None])
    with pytest.raises(VerificationError, match="disagree"):
        convert(write(tmp_path / "a.tif", metadata=None), second_reader="bioformats")


@pytest.mark.parametrize("pixels", [STACK[None, None], None])
def test_a_reader_that_cannot_prove_is_an_error_only_where_it_is_asked_for(
    tmp_path, convert, other, monkeypatch, pixels
):
    other(STACK[None, None], count=1 if pixels is not None else 2)
    monkeypatch.setattr(f"{__name__}.Stub", Torn)
    source = write(tmp_path / "a.tif", STACK, compression="lerc", metadata=None)
    certificate = convert(source)
    assert certificate["verdict"] == "self-consistent"
    assert ("torn" if pixels is not None else "finds 2 images") in certificate["reason"]
    assert certificate["source"]["reader"] == "tifffile"
    assert not certificate["source"]["independent"]
    (tmp_path / "i.ome.zarr").rename(tmp_path / "first.ome.zarr")
    with pytest.raises(InputError, match="second reader bioformats cannot prove"):
        convert(source, second_reader="bioformats")


def test_no_second_reader(tmp_path, convert):
    certificate = convert(write(tmp_path / "a.tif", metadata=None), second_reader="none")
    assert certificate["verdict"] == "self-consistent"
    assert certificate["reason"] == "second_reader is none"
    assert certificate["source"]["reader"] == "tifffile"


def test_a_second_reader_that_does_not_exist(tmp_path, convert):
    with pytest.raises(ConfigurationError, match=r"no second reader 'pilow'.*pillow"):
        convert(write(tmp_path / "a.tif", metadata=None), second_reader="pilow")


@pytest.mark.parametrize(
    ("by", "verdict"), [(0, "verified"), (2, "self-consistent"), (3, "different")]
)
def test_lossy_compression_may_be_decoded_with_other_rounding(
    tmp_path, convert, other, by, verdict
):
    source = tmp_path / "a.jpg"
    source.write_bytes(imagecodecs.jpeg8_encode(COLOR, level=90))
    with open_image(source) as image:
        pixels = image.read(whole(image.shape5))
    pixels[0, 1, 0, 3, 4] += by if pixels[0, 1, 0, 3, 4] < 128 else -by
    other(pixels)
    if verdict == "different":
        with pytest.raises(VerificationError, match="disagree"):
            convert(source, second_reader="bioformats")
        return
    if verdict == "verified":
        assert convert(source, second_reader="bioformats")["verdict"] == verdict
        return
    with pytest.raises(InputError, match="with other rounding, by 2 at most"):
        convert(source, second_reader="bioformats")


def test_other_rounding_is_never_called_verified(tmp_path, convert, other, monkeypatch):
    source = tmp_path / "a.jpg"
    source.write_bytes(imagecodecs.jpeg8_encode(COLOR, level=90))
    with open_image(source) as image:
        pixels = image.read(whole(image.shape5))
    other(pixels ^ 1)
    monkeypatch.setattr(second_reader, "_by_pillow", refuse)
    certificate = convert(source)
    assert certificate["verdict"] == "self-consistent"
    assert "Other 1.0 decodes the lossy compression with other rounding" in certificate["reason"]


def refuse(_asked):
    what = "no Pillow"
    raise InputError(what)


@pytest.mark.parametrize("kind", ["lzw", "packbits", "jpeg", "zstd", "deflate"])
def test_pillow_proves_compressed_tiffs(tmp_path, convert, kind):
    source = tmp_path / "a.tif"
    tifffile.imwrite(source, COLOR, photometric="rgb", compression=kind)
    certificate = convert(source)
    assert (certificate["verdict"], certificate["source"]["reader"]) == ("verified", "Pillow")


@pytest.mark.parametrize("data", [COLOR, COLOR[..., 0], STACK[0]])
def test_pillow_proves_png(tmp_path, convert, data):
    source = tmp_path / "a.png"
    source.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(data)))
    certificate = convert(source)
    assert (certificate["verdict"], certificate["source"]["reader"]) == ("verified", "Pillow")


@pytest.mark.parametrize("dtype", ["i1", "i2", "u4", "i8", "f2", "f8", ">u2", ">f4"])
@pytest.mark.parametrize("options", [{}, {"tile": (32, 48), "compression": "deflate"}])
def test_any_data_type_of_plain_tiffs_is_proven(tmp_path, convert, dtype, options):
    big = ">" if dtype.startswith(">") else "<"
    data = STACK.astype(dtype)
    source = write(tmp_path / "a.tif", data, byteorder=big, metadata={"axes": "ZYX"}, **options)
    certificate = convert(source)
    assert (certificate["verdict"], certificate["source"]["reader"]) == ("verified", "Pillow")


@pytest.mark.parametrize("predictor", [2, 3])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_predictors_and_planar_samples_are_read_as_by_tifffile(tmp_path, predictor, planar):
    data = np.random.default_rng(1).normal(size=(2, 70, 90, 3)).astype(np.float32)
    data = data if predictor == 3 else (data * 1000).astype(np.int32)
    data = data if planar == "contig" else np.moveaxis(data, -1, 1)
    source = tmp_path / "a.tif"
    coded = {"compression": "deflate", "predictor": predictor, "tile": (32, 48)}
    axes = "ZYXS" if planar == "contig" else "ZSYX"
    tifffile.imwrite(
        source, data, photometric="rgb", planarconfig=planar, metadata={"axes": axes}, **coded
    )
    (entry,) = list_images(source)
    region = (slice(0, 1), slice(1, 3), slice(1, 2), slice(20, 69), slice(3, 80))
    with open_image(source) as image:
        options = second_reader.ReadOptions()
        (found, *_) = second_reader.second_readers(source, image, [entry], 0, options, "pillow")
        np.testing.assert_array_equal(found.pixels.read(region), image.read(region))


@pytest.mark.parametrize("series", ["0", "1"])
def test_a_reader_that_overlooks_time_points_is_not_believed(
    tmp_path, convert, other, monkeypatch, series
):
    import parfocal.images.readers.tiff as tiff

    source = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(source, ome=True) as writer:
        for scene in (STACK, STACK[::-1]):
            writer.write(scene, photometric="minisblack", metadata={"axes": "TYX"})
    assert convert(source, series=series)["verdict"] == "verified"
    (tmp_path / "i.ome.zarr").rename(tmp_path / "first.ome.zarr")
    honest = tiff.TiffSource.image

    def overlook(self, place):
        image = honest(self, place)
        less = image.metadata.model_copy(update={"axes": "YX", "shape": (70, 90)})
        return dataclasses.replace(image, metadata=less)

    monkeypatch.setattr(tiff.TiffSource, "image", overlook)
    other(STACK[:, None, None], count=2)
    with pytest.raises(VerificationError, match="Two readers of the source disagree at size"):
        convert(source, series=series)
    certificate = convert(source, series=series, second_reader="none")
    assert certificate["verdict"] == "self-consistent"
    with pytest.raises(InputError, match="Pages of the TIFF are in none of its images"):
        convert(source, series=series, second_reader="pillow")
