"""What convert-image writes opens in other programs, with the same pixels and sizes."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import bioio_ome_tiff
import bioio_ome_zarr
import numpy as np
import ome_zarr.io
import ome_zarr.reader
import pytest
import tensorstore
import tifffile
import zarr
from yaozarrs import validate_zarr_store

from memory_images import five
from ngff_models import open_ome_zarr
from ome_schema import check_ome_xml
from parfocal.core.step import Context
from parfocal.images import ZarrOptions, list_images, open_image, write_ome_zarr
from parfocal.images.pyramid import halve
from parfocal.images.writers import ome_tiff
from parfocal.models.image import ImageMetadata
from parfocal.models.sheet import Row, write_sheet
from parfocal.steps import assemble_plate, convert_image

ZARR_TYPES = ["int8", "int16", "int32", "int64", "uint32", "uint64", "float16", "float32"]
TIFF_TYPES = ["int8", "int16", "int32", "uint32", "float32"]
SIZES = {"T": 0.5, "Z": 1.5, "Y": 0.25, "X": 0.125}
NAMES = ["DAPI", "GFP µ"]


@dataclass(frozen=True)
class Case:
    """An image: its axes, its pixels in this order, and whether C are red, green and blue."""

    axes: str
    pixels: np.ndarray
    rgb: bool = False

    @property
    def five(self) -> np.ndarray:
        """The pixels as (T, C, Z, Y, X)."""
        sizes = dict(zip(self.axes, self.pixels.shape, strict=True))
        return self.pixels.reshape([sizes.get(axis, 1) for axis in "TCZYX"])


def case(axes, shape, dtype, **more):
    rng = np.random.default_rng(len(axes))
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return Case(axes, rng.normal(0, 100, shape).astype(dtype), **more)
    limits = np.iinfo(dtype)
    return Case(axes, rng.integers(limits.min, limits.max, shape, dtype, endpoint=True), **more)


FIVE = (2, 2, 3, 37, 50)
COMMON = {
    "plane": case("YX", (40, 33), "uint8"),
    "rgb": case("CYX", (3, 40, 50), "uint8", rgb=True),
    "five": case("TCZYX", FIVE, "uint16"),
    "double": case("TCZYX", FIVE, "float64"),
    "pixel": case("YX", (1, 1), "uint16"),
    "many": case("TYX", (150, 5, 7), "uint8"),
}
ZARRS = COMMON | {dtype: case("ZYX", (2, 20, 33), dtype) for dtype in ZARR_TYPES}
TIFFS = COMMON | {dtype: case("CZYX", (2, 2, 20, 33), dtype) for dtype in TIFF_TYPES}


def write_source(path, image):
    """Write an image as a TIFF with its metadata, by tifffile."""
    pixels = np.moveaxis(image.pixels, 0, -1) if image.rgb else image.pixels
    about = {"axes": "YXS" if image.rgb else image.axes, "Name": "an image"}
    for axis in image.axes.replace("C", "").replace("T", ""):
        about |= {f"PhysicalSize{axis}": SIZES[axis], f"PhysicalSize{axis}Unit": "µm"}
    if "T" in image.axes:
        about |= {"TimeIncrement": SIZES["T"], "TimeIncrementUnit": "s"}
    if "C" in image.axes and not image.rgb:
        about |= {"Channel": {"Name": NAMES}}
    kept = image.pixels.dtype.name not in ("int64", "uint64", "float16")  # OME has not those
    photometric = "rgb" if image.rgb else "minisblack"
    options = {"metadata": about, "ome": True} if kept else {"metadata": {"axes": image.axes}}
    tifffile.imwrite(path, pixels, photometric=photometric, **options)
    return path


def convert(source, target, **params):
    context = Context(scratch=target.parent)
    chosen = convert_image.ConvertImageParams(chunk_px=16, **params)
    outputs = {"image": target, "certificate": target.with_suffix(".json")}
    convert_image.STEP.run({"source": source}, outputs, chosen, context)
    return target


def converted(folder, cases, suffix, **params):
    """Convert all cases."""
    made = {}
    for name, image in cases.items():
        kept = image.pixels.dtype.name not in ("int64", "uint64", "float16")
        source = write_source(folder / f"{name}.{'ome.' * kept}tif", image)
        axes = None if kept else image.axes
        made[name] = convert(source, folder / f"{name}.{suffix}", axes=axes, **params)
    return made


@pytest.fixture(scope="module", params=["0.5", "0.4"])
def zarrs(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("zarrs")
    return converted(folder, ZARRS, "ome.zarr", ngff=request.param)


@pytest.fixture(scope="module")
def tiffs(tmp_path_factory):
    return converted(tmp_path_factory.mktemp("tiffs"), TIFFS, "ome.tiff", format="ome.tiff")


def levels(pixels):
    """Return an image and what is halved from it."""
    found = [pixels]
    while max(found[-1].shape[-2:]) > 16:
        found.append(halve(found[-1]))
    return found


def scale(image, level=0):
    """Return the scale of each axis, 1 where none is stated."""
    kept = image.pixels.dtype.name not in ("int64", "uint64", "float16")
    sizes = SIZES if kept else {}
    factors = {axis: 2**level if axis in "YX" else 1 for axis in image.axes}
    return [sizes.get(axis, 1) * factor for axis, factor in factors.items()]


@pytest.mark.parametrize("name", ZARRS)
def test_validators_accept_an_ome_zarr(zarrs, name):
    open_ome_zarr(zarr.open_group(zarrs[name], mode="r"))
    validate_zarr_store(str(zarrs[name]))


@pytest.mark.parametrize("name", ZARRS)
def test_an_ome_zarr_has_valid_ome_xml(zarrs, name):
    text = (zarrs[name] / "OME/METADATA.ome.xml").read_bytes()
    check_ome_xml(text)
    assert (b'Creator="Parfocal"' in text) is (name in ("int64", "uint64", "float16"))


@pytest.mark.parametrize("name", ZARRS)
def test_an_ome_zarr_opens_in_ome_zarr_py(zarrs, name):
    (node,) = ome_zarr.reader.Reader(ome_zarr.io.parse_url(zarrs[name]))()
    expected = levels(ZARRS[name].pixels)
    assert len(node.data) == len(expected)
    for number, (found, pixels) in enumerate(zip(node.data, expected, strict=True)):
        np.testing.assert_array_equal(found.compute(), pixels)
        first = node.metadata["coordinateTransformations"][number][0]
        assert first["type"] == "scale"
        np.testing.assert_allclose(first["scale"], scale(ZARRS[name], number), rtol=1e-12)


@pytest.mark.parametrize("name", ZARRS)
def test_an_ome_zarr_opens_in_bioio(zarrs, name):
    image = ZARRS[name]
    reader = bioio_ome_zarr.Reader(zarrs[name])
    found = reader.get_image_dask_data(image.axes).compute()
    np.testing.assert_array_equal(found, image.pixels)
    known = dict(zip(image.axes, scale(image), strict=True))
    sizes = reader.physical_pixel_sizes
    assert (known["Y"], known["X"]) == (sizes.Y, sizes.X)
    assert reader.resolution_levels == tuple(range(len(levels(image.pixels))))
    if name == "five":
        assert reader.channel_names == NAMES


@pytest.mark.parametrize("name", ZARRS)
def test_an_ome_zarr_opens_in_tensorstore(zarrs, name):
    driver = "zarr3" if (zarrs[name] / "zarr.json").exists() else "zarr"
    for number, pixels in enumerate(levels(ZARRS[name].pixels)):
        path = str(zarrs[name] / str(number))
        store = tensorstore.open({"driver": driver, "kvstore": {"driver": "file", "path": path}})
        np.testing.assert_array_equal(store.result().read().result(), pixels)


def napari_layers(paths):
    """Return what the reader of napari makes of OME-Zarrs, by path."""
    program = [sys.executable, "-W", "ignore", str(Path(__file__).parent / "napari_layers.py")]
    command = [*program, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def digest(pixels):
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


def test_an_ome_zarr_opens_in_napari(zarrs):
    found = napari_layers(zarrs.values())
    for name, image in ZARRS.items():
        (layer,) = found[str(zarrs[name])]
        assert layer["kind"] == "image"
        assert layer["sha256"] == digest(image.pixels), name
        assert layer["shapes"] == [list(level.shape) for level in levels(image.pixels)]
        kept = [s for axis, s in zip(image.axes, scale(image), strict=True) if axis != "C"]
        np.testing.assert_allclose(layer["scale"], kept)
        assert layer["channel_axis"] == (image.axes.index("C") if "C" in image.axes else None)


@pytest.mark.parametrize("name", TIFFS)
def test_an_ome_tiff_opens_in_tifffile(tiffs, name):
    image = TIFFS[name]
    with tifffile.TiffFile(tiffs[name]) as tiff:
        check_ome_xml(tiff.ome_metadata)
        (series,) = tiff.series
        found = [level.asarray() for level in series.levels]
    expected = levels(image.pixels)
    assert len(found) == len(expected)
    for one, pixels in zip(found, expected, strict=True):
        shown = np.moveaxis(pixels, 0, -1) if image.rgb else pixels
        np.testing.assert_array_equal(one, np.squeeze(shown) if one.ndim < shown.ndim else shown)


@pytest.mark.filterwarnings("ignore:As of version 0.4.0, the parser argument:DeprecationWarning")
@pytest.mark.parametrize("name", [name for name in TIFFS if name != "pixel"])
def test_an_ome_tiff_opens_in_bioio(tiffs, name):
    # bioio-ome-tiff 1.4 opens no image of one pixel, whoever wrote it.
    image = TIFFS[name]
    reader = bioio_ome_tiff.Reader(tiffs[name])
    if image.rgb:
        found = np.moveaxis(reader.get_image_dask_data("YXS").compute(), -1, 0)
    else:
        found = reader.get_image_dask_data(image.axes).compute()
    np.testing.assert_array_equal(found, image.pixels)
    sizes = reader.physical_pixel_sizes
    assert (SIZES["Y"], SIZES["X"]) == (sizes.Y, sizes.X)
    if name == "five":
        assert [str(channel) for channel in reader.channel_names] == NAMES


def resolutions(path):
    """Return the sizes (Y, X) of all resolutions that Bio-Formats finds."""
    from parfocal.images.readers.bioformats.java import start

    start(path)
    import jpype

    reader = jpype.JClass("loci.formats.ImageReader")()
    reader.setFlattenedResolutions(False)
    try:
        reader.setId(str(path))
        found = []
        for number in range(int(reader.getResolutionCount())):
            reader.setResolution(number)
            found.append((int(reader.getSizeY()), int(reader.getSizeX())))
        return str(reader.getFormat()), found
    finally:
        reader.close()


@pytest.mark.parametrize("name", TIFFS)
def test_an_ome_tiff_opens_in_bio_formats(tiffs, name):
    image = TIFFS[name]
    with open_image(tiffs[name], reader="bioformats") as opened:
        region = tuple(slice(0, size) for size in opened.shape5)
        np.testing.assert_array_equal(opened.read(region), image.five)
        metadata = opened.metadata
    assert (metadata.y_um, metadata.x_um) == (SIZES["Y"], SIZES["X"])
    assert metadata.z_um == (SIZES["Z"] if "Z" in image.axes else None)
    assert metadata.rgb is image.rgb
    if name == "five":
        assert [channel.name for channel in metadata.channels] == NAMES
        assert metadata.time_increment_s == SIZES["T"]
    form, sizes = resolutions(tiffs[name])
    assert form == "OME-TIFF"
    assert sizes == [level.shape[-2:] for level in levels(image.five)]


@pytest.mark.parametrize("codec", ["deflate", "zstd", "none"])
def test_every_codec_of_an_ome_tiff_opens_in_bio_formats(tmp_path, codec):
    image = case("YX", (300, 333), "uint16")
    source = write_source(tmp_path / "a.ome.tif", image)
    params = convert_image.ConvertImageParams(format="ome.tiff", tiff_codec=codec, chunk_px=128)
    target = tmp_path / "b.ome.tiff"
    outputs = {"image": target, "certificate": tmp_path / "c.json"}
    convert_image.STEP.run({"source": source}, outputs, params, Context(scratch=tmp_path))
    with open_image(target, reader="bioformats") as opened:
        region = tuple(slice(0, size) for size in opened.shape5)
        np.testing.assert_array_equal(opened.read(region), image.five)


def test_a_bigtiff_opens_in_bio_formats(tmp_path, monkeypatch):
    monkeypatch.setattr(ome_tiff, "CLASSIC_LIMIT", 0)
    target = converted(tmp_path, {"five": COMMON["five"]}, "ome.tiff", format="ome.tiff")["five"]
    assert target.read_bytes()[:4] == b"II+\0"
    with open_image(target, reader="bioformats") as opened:
        region = tuple(slice(0, size) for size in opened.shape5)
        np.testing.assert_array_equal(opened.read(region), COMMON["five"].five)
    assert len(resolutions(target)[1]) == 3


@pytest.mark.parametrize("ngff", ["0.5", "0.4"])
def test_a_label_image_opens(tmp_path, ngff):
    labels = np.arange(2 * 20 * 33, dtype=np.uint32).reshape(2, 20, 33) // 50
    path = tmp_path / "nuclei.ome.zarr"
    metadata = ImageMetadata(name="nuclei", axes="ZYX", shape=labels.shape, dtype="uint32")
    write_ome_zarr(path, metadata, five(labels), ZarrOptions(ngff=ngff), labels=True)
    assert (path / ("zarr.json" if ngff == "0.5" else ".zattrs")).exists()
    open_ome_zarr(zarr.open_group(path, mode="r"))
    validate_zarr_store(str(path))
    (node,) = ome_zarr.reader.Reader(ome_zarr.io.parse_url(path))()
    np.testing.assert_array_equal(node.data[0].compute(), labels)
    target = convert(path, tmp_path / "nuclei.ome.tiff", format="ome.tiff", labels=True)
    with open_image(target, reader="bioformats") as opened:
        region = tuple(slice(0, size) for size in opened.shape5)
        np.testing.assert_array_equal(opened.read(region)[0, 0], labels)


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """An OME-TIFF of three images."""
    path = tmp_path_factory.mktemp("several") / "several.ome.tif"
    images = [TIFFS["plane"], TIFFS["five"], TIFFS["float32"]]
    with tifffile.TiffWriter(path, ome=True) as writer:
        for image in images:
            writer.write(
                image.pixels,
                photometric="minisblack",
                metadata={
                    "axes": image.axes,
                    "PhysicalSizeX": SIZES["X"],
                    "PhysicalSizeXUnit": "µm",
                    "PhysicalSizeY": SIZES["Y"],
                    "PhysicalSizeYUnit": "µm",
                },
            )
    return path, images


@pytest.mark.parametrize("ngff", ["0.5", "0.4"])
def test_a_collection_opens(tmp_path, several, ngff):
    source, images = several
    path = convert(source, tmp_path / "all.ome.zarr", all_series=True, ngff=ngff)
    validate_zarr_store(str(path))
    for number, image in enumerate(images):
        open_ome_zarr(zarr.open_group(path / str(number), mode="r"))
        (node,) = ome_zarr.reader.Reader(ome_zarr.io.parse_url(path / str(number)))()
        np.testing.assert_array_equal(node.data[0].compute(), image.pixels)
    check_ome_xml((path / "OME/METADATA.ome.xml").read_bytes())
    (layers,) = napari_layers([path]).values()
    assert [layer["sha256"] for layer in layers] == [digest(image.pixels) for image in images]


def test_an_ome_tiff_of_several_images_opens(tmp_path, several):
    source, images = several
    path = convert(source, tmp_path / "all.ome.tiff", all_series=True, format="ome.tiff")
    entries = list_images(path, reader="bioformats")
    assert len(entries) == len(images)
    with tifffile.TiffFile(path) as tiff:
        assert len(tiff.series) == len(images)
        for series, image in zip(tiff.series, images, strict=True):
            np.testing.assert_array_equal(series.asarray(), image.pixels)
    for entry, image in zip(entries, images, strict=True):
        with open_image(path, entry.series, reader="bioformats") as opened:
            region = tuple(slice(0, size) for size in opened.shape5)
            np.testing.assert_array_equal(opened.read(region), image.five)


@pytest.mark.parametrize("ngff", ["0.5", "0.4"])
def test_a_plate_opens(tmp_path, ngff):
    places = [("B02", "1"), ("B02", "2"), ("C03", "1"), ("C03", "2")]
    rows, images = [], []
    for number, (well, field) in enumerate(places):
        image = case("CYX", (2, 20, 33), "uint16")
        image.pixels[:] += np.uint16(number)
        images.append(image)
        name = f"i{number}"
        folder = tmp_path / "results/images" / name
        folder.mkdir(parents=True)
        source = write_source(tmp_path / f"{name}.ome.tif", image)
        convert(source, folder / "image.ome.zarr", ngff=ngff)
        rows.append(Row(image_id=name, source=str(source), plate="P", well=well, field=field))
    write_sheet(tmp_path / "samples.tsv", rows)
    path = tmp_path / "P.ome.zarr"
    inputs = {"results": tmp_path / "results", "sheet": tmp_path / "samples.tsv"}
    params = assemble_plate.AssemblePlateParams()
    assemble_plate.STEP.run(inputs, {"plate": path}, params, Context(scratch=tmp_path))
    open_ome_zarr(zarr.open_group(path, mode="r"))
    validate_zarr_store(str(path))
    nodes = list(ome_zarr.reader.Reader(ome_zarr.io.parse_url(path))())
    assert any(node.data for node in nodes)
    (layers,) = napari_layers([path]).values()
    assert layers
    for entry, image in zip(list_images(path), images, strict=True):
        with open_image(path, entry.series) as opened:
            region = tuple(slice(0, size) for size in opened.shape5)
            np.testing.assert_array_equal(opened.read(region), image.five)
