"""Injected faults: for each kind of loss a converter that loses it, and what comes of it."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

import parfocal.images
import parfocal.images.writers.collection
import parfocal.images.writers.ome_tiff
import parfocal.steps.convert_image as convert_image
from parfocal.core.blocks import region_shape
from parfocal.engine.attempt import perform
from parfocal.engine.job import Job
from parfocal.errors import VerificationError
from parfocal.images import open_image
from parfocal.models.image import Channel
from parfocal.steps.convert_image import STEP as CONVERT
from parfocal.steps.convert_image import ConvertImageParams
from parfocal.steps.verify_image import STEP as VERIFY
from parfocal.steps.verify_image import VerifyImageParams

SHAPE = (2, 2, 3, 70, 90)
DATA = np.random.default_rng(3).integers(1, 4000, (2, *SHAPE)).astype(np.uint16)
OME = {
    "axes": "TCZYX",
    "PhysicalSizeX": 0.5,
    "PhysicalSizeY": 0.5,
    "PhysicalSizeZ": 2.0,
    "TimeIncrement": 5.0,
    "Channel": {"Name": ["DNA", "RNA"], "Color": [-16776961, 16711935]},
}
FORMATS = {"ome.zarr": "i.ome.zarr", "ome.tiff": "i.ome.tiff"}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Return an OME-TIFF of two scenes of one size."""
    path = tmp_path_factory.mktemp("source") / "two.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        for scene in DATA:
            writer.write(scene, metadata=OME, photometric="minisblack")
    return path


def convert(folder, source, **params):
    """Convert as the engine does; return the error, or None."""
    params = {"series": "0", "chunk_px": 32} | params
    if params.get("all_series"):
        del params["series"]
    params = ConvertImageParams(**params)
    outputs = {"image": folder / FORMATS[params.format], "certificate": folder / "c.json"}
    job = Job(CONVERT, params, {"source": source}, outputs, "i", threads=2)
    return perform(job).error


def verify(folder, **inputs):
    outputs = {"verification": folder / "v.json"}
    job = Job(VERIFY, VerifyImageParams(), inputs, outputs, "i", threads=2, existing="replace")
    return perform(job).error


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
    monkeypatch.setattr(convert_image, "conclude", lambda *_: None)
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
        path = sorted(image.glob(pattern))[0] if pattern else image
        content = bytearray(path.read_bytes())
        content[min(int(len(content) * place), len(content) - 1)] ^= 4
        path.write_bytes(content)

    return change


def lose_shard(image):
    sorted(image.glob("0/c/**/*"))[-1].unlink()


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
        zarr(path, *args, **kwargs)
        change(path)

    def write_tiff(path, *args, **kwargs):
        written = tiff(path, *args, **kwargs)
        change(path)
        return written

    monkeypatch.setattr(parfocal.images, "write_ome_zarr", write_zarr)
    monkeypatch.setattr(parfocal.images.writers.ome_tiff, "write_ome_tiff", write_tiff)
    assert_refused(tmp_path, convert(tmp_path, source, format=format_), "")
    assert_published_without_check(monkeypatch, tmp_path, source, format=format_)


@pytest.fixture(scope="module")
def certified(tmp_path_factory, source):
    """Return folders of a result and its certificate, one for each layout."""
    folders = {}
    for name, params in {
        "sharded": {},
        "chunks": {"ngff": "0.4"},
        "collection": {"all_series": True},
        "tiff": {"format": "ome.tiff"},
        "tiff of all": {"format": "ome.tiff", "all_series": True},
    }.items():
        folder = tmp_path_factory.mktemp("certified")
        assert convert(folder, source, **params) is None
        folders[name] = folder
    return folders


@pytest.mark.parametrize("layout", ["sharded", "chunks", "collection", "tiff", "tiff of all"])
def test_any_bit_that_changes_later_is_found(tmp_path, certified, layout):
    """Also in metadata, the index of a shard, and pixels beyond the edge of the image."""
    folder = certified[layout]
    certificate = folder / "c.json"
    image = next(path for path in folder.iterdir() if path.name.startswith("i.ome"))
    assert verify(tmp_path, image=image, certificate=certificate) is None
    rng = np.random.default_rng(0)
    files = [image] if image.is_file() else [path for path in image.rglob("*") if path.is_file()]
    names = {path.name for path in files}
    if layout == "sharded":
        assert {"zarr.json", "METADATA.ome.xml", "0"} <= names
    for _ in range(24):
        path = Path(rng.choice(sorted(files)))
        content = path.read_bytes()
        changed = bytearray(content)
        place = int(rng.integers(len(content)))
        changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        error = verify(tmp_path, image=image, certificate=certificate)
        path.write_bytes(content)
        assert isinstance(error, VerificationError), f"byte {place} of {path}: {error!r}"
        assert not (tmp_path / "v.json").read_text().count('"different"')


def test_a_file_that_is_lost_later_is_found_though_its_pixels_are_zero(tmp_path):
    source = tmp_path / "zeros.tif"
    tifffile.imwrite(source, np.zeros((2, 64, 64), np.uint8), metadata={"axes": "ZYX"})
    assert convert(tmp_path, source, chunk_px=32, shard_mib=0) is None
    image, certificate = tmp_path / "i.ome.zarr", tmp_path / "c.json"
    lost = image / "0" / "c" / "1" / "1" / "1"
    lost.unlink()
    error = verify(tmp_path, image=image, certificate=certificate)
    assert "The bytes of the result differ while its pixels are the same" in error.found


def test_the_planes_of_a_certificate_tell_where_a_change_lies(tmp_path, certified):
    image, certificate = (certified["sharded"] / name for name in ("i.ome.zarr", "c.json"))
    content = json.loads(certificate.read_text())
    content["planes"][1]["digest"] = "sha256:0"
    (tmp_path / "other.json").write_text(json.dumps(content))
    error = verify(tmp_path, image=image, certificate=tmp_path / "other.json")
    assert "A plane is not the certified one at t=0 c=0 z=1" in error.found


def test_changed_wraps_pixels_as_an_image_does(source):
    with open_image(source, "0") as image:
        assert dataclasses.is_dataclass(image)
        region = tuple(slice(0, size) for size in image.shape5)
        np.testing.assert_array_equal(Changed(image).read(region), DATA[0])
