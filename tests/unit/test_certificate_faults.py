"""Injected faults: for each kind of loss a converter that loses it, and what comes of it."""

import dataclasses
import json

import numpy as np
import pytest

import parfocal.images
import parfocal.images.writers.collection
import parfocal.images.writers.ome_tiff
import parfocal.steps.convert_image as convert_image
from conversions import DATA, FORMATS, convert, write_two
from parfocal.core.blocks import region_shape
from parfocal.errors import VerificationError
from parfocal.images import open_image
from parfocal.models.image import Channel


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_two(tmp_path_factory.mktemp("source") / "two.ome.tif")


class Changed:
    """Pixels that go through `change(pixels, region)`, in a shape of their own."""

    def __init__(self, image, change=lambda pixels, region: pixels, shape=None, dtype=None):
        self.image, self.change = image, change
        self.shape5 = shape or image.shape5
        self.dtype = np.dtype(dtype or image.dtype)

    def read(self, region):
        pixels = self.change(self.image.read(region), region)
        assert pixels.shape == region_shape(region)
        return np.ascontiguousarray(pixels.astype(self.dtype))


def sized(metadata, **sizes):
    """Return metadata with other lengths of axes."""
    shape = [
        sizes.get(axis, size) for axis, size in zip(metadata.axes, metadata.shape, strict=True)
    ]
    return metadata.model_copy(update={"shape": tuple(shape)})


def drop_t(image):
    metadata = image.metadata
    kept = metadata.model_copy(update={"axes": "CZYX", "shape": metadata.shape[1:]})
    return kept, Changed(image, shape=(1, *image.shape5[1:]))


def lose_last_time_point(image):
    return sized(image.metadata, T=1), Changed(image, shape=(1, *image.shape5[1:]))


def swap_channels(image):
    def read(_pixels, region):
        t, c, z, y, x = region
        parts = [image.read((t, slice(1 - n, 2 - n), z, y, x)) for n in range(c.start, c.stop)]
        return np.concatenate(parts, axis=1)

    return image.metadata, Changed(image, read)


def one_tile(image):
    return sized(image.metadata, Y=32, X=48), Changed(image, shape=(*image.shape5[:3], 32, 48))


def crop_by_one(image):
    """Keep the size, but begin one column late."""

    def read(pixels, region):
        x = region[4]
        late = slice(min(x.start + 1, 89), min(x.stop + 1, 90))
        shifted = image.read((*region[:4], late))
        return np.concatenate([shifted, pixels[..., shifted.shape[-1] :]], axis=-1)

    return image.metadata, Changed(image, read)


def smaller_by_one(image):
    return sized(image.metadata, X=89), Changed(image, shape=(*image.shape5[:4], 89))


def wrong_endianness(image):
    return image.metadata, Changed(image, lambda pixels, _: pixels.byteswap())


def clip_to_8_bits(image):
    metadata = image.metadata.model_copy(update={"dtype": "uint8"})
    return metadata, Changed(image, lambda pixels, _: pixels.clip(0, 255), dtype="uint8")


def scale_to_8_bits(image):
    return image.metadata, Changed(image, lambda pixels, _: pixels >> 8 << 8)


def one_pixel(image):
    def read(pixels, region):
        if region[0].start == 0 and region[3].start == 0:
            pixels[0, 0, 0, 0, 0] ^= 1
        return pixels

    return image.metadata, Changed(image, read)


def repeat_first_plane(image):
    def read(pixels, region):
        z = region[2]
        first = image.read((*region[:2], slice(0, 1), *region[3:]))
        return np.repeat(first, z.stop - z.start, axis=2)

    return image.metadata, Changed(image, read)


def says(**update):
    def fault(image):
        return image.metadata.model_copy(update=update), image

    return fault


def rename_channel(image):
    first, second = image.metadata.channels
    channels = (first, Channel(name="other", color=second.color))
    return image.metadata.model_copy(update={"channels": channels}), image


def recolor_channel(image):
    first, second = image.metadata.channels
    channels = (first.model_copy(update={"color": "123456"}), second)
    return image.metadata.model_copy(update={"channels": channels}), image


FAULTS = {
    drop_t: "The axes differ",
    lose_last_time_point: "The shape differs",
    swap_channels: "Pixels differ",
    one_tile: "The shape differs",
    crop_by_one: "Pixels differ",
    smaller_by_one: "The shape differs",
    wrong_endianness: "Pixels differ",
    clip_to_8_bits: "The data type differs",
    scale_to_8_bits: "Pixels differ",
    one_pixel: "plane t=0 c=0 z=0 (1 pixels)",
    repeat_first_plane: "Pixels differ",
    rename_channel: "The names of channels differ",
    recolor_channel: "The colours of channels differ",
}
LOST = {
    "x_um": "The size of pixels differs at axis X: 0.5 expected, None found",
    "z_um": "axis Z",
    "time_increment_s": "axis T",
}


@pytest.fixture
def wrong(monkeypatch):
    """Return a function that makes the converter write what a fault gives instead."""

    def inject(fault):
        zarr = parfocal.images.write_ome_zarr
        tiff = parfocal.images.writers.ome_tiff.write_ome_tiff

        def write_zarr(path, metadata, image, *args, **kwargs):
            return zarr(path, *fault(image), *args, **kwargs)

        def write_tiff(path, images, *args, **kwargs):
            return tiff(path, [fault(image) for _, image in images], *args, **kwargs)

        monkeypatch.setattr(parfocal.images, "write_ome_zarr", write_zarr)
        monkeypatch.setattr(parfocal.images.writers.collection, "write_ome_zarr", write_zarr)
        monkeypatch.setattr(parfocal.images.writers.ome_tiff, "write_ome_tiff", write_tiff)

    return inject


def assert_refused(folder, error, told):
    """Make sure of the exit code, of the difference, and that nothing is left."""
    assert isinstance(error, VerificationError), error
    assert error.exit_code == 4
    assert told in error.found
    left = [path.name for path in folder.iterdir() if "lease" not in path.name]
    assert left == []


def assert_published_without_check(monkeypatch, folder, source, **params):
    """Show that nothing but the comparison stands in the way of the fault."""
    monkeypatch.setattr(convert_image, "conclude", lambda *_, **__: None)
    assert convert(folder, source, **params) is None
    assert (folder / FORMATS[params.get("format", "ome.zarr")]).exists()


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_conversion_is_refused(tmp_path, source, wrong, monkeypatch, fault, format_):
    wrong(fault)
    error = convert(tmp_path, source, format=format_)
    assert_refused(tmp_path, error, FAULTS[fault])
    assert_published_without_check(monkeypatch, tmp_path, source, format=format_)


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("lost", LOST)
def test_a_lost_size_is_refused(tmp_path, source, wrong, monkeypatch, lost, format_):
    wrong(says(**{lost: None}))
    assert_refused(tmp_path, convert(tmp_path, source, format=format_), LOST[lost])
    assert_published_without_check(monkeypatch, tmp_path, source, format=format_)


@pytest.mark.parametrize("format_", FORMATS)
def test_another_scene_is_refused(tmp_path, source, wrong, monkeypatch, format_):
    with open_image(source, "1") as other:
        wrong(lambda image: (image.metadata, Changed(image, lambda _, region: other.read(region))))
        assert_refused(tmp_path, convert(tmp_path, source, format=format_), "Pixels differ")
        assert_published_without_check(monkeypatch, tmp_path, source, format=format_)


def test_honest_conversions_are_verified(tmp_path, source):
    for format_ in FORMATS:
        for every in (False, True):
            folder = tmp_path / f"{format_}-{every}"
            folder.mkdir()
            assert convert(folder, source, format=format_, all_series=every) is None
            certificate = json.loads((folder / "c.json").read_text())
            assert certificate["verdict"] == "verified", certificate
            assert certificate["source_images"] == 2


def test_a_level_that_does_not_follow(tmp_path, source, monkeypatch):
    import parfocal.images.writers.ome_zarr as writer

    monkeypatch.setattr(writer, "halve", lambda pixels, **_: pixels[..., ::2, ::2])
    error = convert(tmp_path, source)
    assert_refused(tmp_path, error, "A level does not follow from the one before at level 1")
    assert_published_without_check(monkeypatch, tmp_path, source)


@pytest.mark.parametrize("format_", FORMATS)
def test_a_scene_that_is_missing_in_a_collection(tmp_path, source, monkeypatch, format_):
    import parfocal.images.writers.collection as collection
    import parfocal.images.writers.ome_tiff as tiff

    every, honest = collection.write_collection, tiff.write_ome_tiff
    monkeypatch.setattr(
        collection,
        "write_collection",
        lambda path, entries, *args, **kwargs: every(path, entries[:1], *args, **kwargs),
    )
    monkeypatch.setattr(
        tiff,
        "write_ome_tiff",
        lambda path, images, *args, **kwargs: honest(path, images[:1], *args, **kwargs),
    )
    params = {"format": format_, "all_series": True}
    error = convert(tmp_path, source, **params)
    assert_refused(tmp_path, error, "The number of images differs at source: 2 expected, 1 found")
    if format_ == "ome.zarr":
        assert_published_without_check(monkeypatch, tmp_path, source, **params)


def test_scenes_in_another_order_in_a_collection(tmp_path, source, monkeypatch):
    import parfocal.images.writers.collection as collection

    every = collection.write_collection
    monkeypatch.setattr(
        collection,
        "write_collection",
        lambda path, entries, *args, **kwargs: every(path, entries[::-1], *args, **kwargs),
    )
    error = convert(tmp_path, source, all_series=True)
    assert_refused(tmp_path, error, "Pixels differ at image 0, plane t=0 c=0 z=0")
    assert_published_without_check(monkeypatch, tmp_path, source, all_series=True)


def damage(pattern, place=0.5):
    """Return what changes a bit of the first file of that name, at a part of its length."""

    def change(image):
        path = min(image.glob(pattern)) if pattern else image
        content = bytearray(path.read_bytes())
        content[min(int(len(content) * place), len(content) - 1)] ^= 4
        path.write_bytes(content)

    return change


def lose_shard(image):
    max(image.glob("0/c/**/*")).unlink()


DAMAGES = {
    "a shard": ("ome.zarr", damage("0/c/0/0/0/0/0", 0.3)),
    "the index of a shard": ("ome.zarr", damage("0/c/0/0/0/0/0", 0.9999)),
    "a shard of a level": ("ome.zarr", damage("1/c/0/0/0/0/0", 0.3)),
    "a shard that is missing": ("ome.zarr", lose_shard),
    "a tile": ("ome.tiff", damage("", 0.5)),
    "a header": ("ome.tiff", damage("", 0.00001)),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_a_result_that_is_damaged_while_it_is_written(tmp_path, source, monkeypatch, what):
    format_, change = DAMAGES[what]
    zarr = parfocal.images.write_ome_zarr
    tiff = parfocal.images.writers.ome_tiff.write_ome_tiff

    def write_zarr(path, *args, **kwargs):
        written = zarr(path, *args, **kwargs)
        change(path)
        return written

    def write_tiff(path, *args, **kwargs):
        written = tiff(path, *args, **kwargs)
        change(path)
        return written

    monkeypatch.setattr(parfocal.images, "write_ome_zarr", write_zarr)
    monkeypatch.setattr(parfocal.images.writers.ome_tiff, "write_ome_tiff", write_tiff)
    assert_refused(tmp_path, convert(tmp_path, source, format=format_), "")
    assert_published_without_check(monkeypatch, tmp_path, source, format=format_)


def test_changed_wraps_pixels_as_an_image_does(source):
    with open_image(source, "0") as image:
        assert dataclasses.is_dataclass(image)
        region = tuple(slice(0, size) for size in image.shape5)
        np.testing.assert_array_equal(Changed(image).read(region), DATA[0])
