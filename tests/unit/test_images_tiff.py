"""TIFF files of many kinds: pixels, axes, metadata, damage."""

import logging

import numpy as np
import pytest
import tifffile

from aperio_slide import write_slide
from parfocal.core.blocks import whole
from parfocal.errors import InputError
from parfocal.images import list_images, open_image
from parfocal.models.image import Channel

RNG = np.random.default_rng(7)
STACK = RNG.integers(0, 60000, (5, 40, 50)).astype(np.uint16)
RGB = RNG.integers(0, 255, (3, 40, 50, 3)).astype(np.uint8)
WINDOW = (slice(0, 1), slice(0, 1), slice(1, 4), slice(7, 33), slice(3, 49))

KINDS = {
    "plain": {"metadata": {"axes": "ZYX"}},
    "pages": {"metadata": None},
    "bigtiff": {"bigtiff": True, "metadata": None},
    "big-endian": {"byteorder": ">", "metadata": {"axes": "ZYX"}},
    "big-endian strips": {"byteorder": ">", "compression": "zlib", "rowsperstrip": 7},
    "imagej": {"imagej": True, "metadata": {"axes": "ZYX"}},
    "ome": {"ome": True, "metadata": {"axes": "ZYX"}},
    "zlib": {"compression": "zlib", "metadata": {"axes": "ZYX"}},
    "lzw": {"compression": "lzw", "predictor": True},
    "zstd": {"compression": "zstd", "rowsperstrip": 16},
    "tiles": {"tile": (16, 32), "metadata": None},
    "coded tiles": {
        "tile": (16, 32),
        "compression": "zlib",
        "ome": True,
        "metadata": {"axes": "ZYX"},
    },
    "strips": {"rowsperstrip": 7, "metadata": None},
}


def write(path, data, **options):
    tifffile.imwrite(path, data, **options)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_reads_whole_and_in_part(tmp_path, kind):
    path = write(tmp_path / "a.tif", STACK, photometric="minisblack", **KINDS[kind])
    with open_image(path) as image:
        assert image.metadata.axes == "ZYX"
        assert image.metadata.shape == (5, 40, 50)
        assert image.dtype == np.uint16
        np.testing.assert_array_equal(image.read(whole(image.shape5))[0, 0], STACK)
        np.testing.assert_array_equal(image.read(WINDOW)[0, 0], STACK[1:4, 7:33, 3:49])
        assert image.reader.startswith("tifffile ")


@pytest.mark.parametrize(
    "options",
    [
        {"metadata": {"axes": "ZYXS"}},
        {"tile": (16, 16), "metadata": {"axes": "ZYXS"}},
        {"tile": (16, 16), "compression": "zlib", "ome": True, "metadata": {"axes": "ZYXS"}},
        {"planarconfig": "separate", "metadata": {"axes": "ZSYX"}},
        {"planarconfig": "separate", "compression": "zlib", "metadata": {"axes": "ZSYX"}},
    ],
)
def test_samples_become_channels(tmp_path, options):
    data = np.moveaxis(RGB, -1, 1) if "planarconfig" in options else RGB
    path = write(tmp_path / "rgb.tif", data, photometric="rgb", **options)
    with open_image(path) as image:
        assert image.metadata.axes == "CZYX"
        assert image.metadata.rgb
        assert image.metadata.channel_names() == ["Red", "Green", "Blue"]
        expected = np.moveaxis(RGB, -1, 0)[np.newaxis]
        np.testing.assert_array_equal(image.read(whole(image.shape5)), expected)
        part = (slice(0, 1), slice(1, 3), slice(2, 3), slice(5, 9), slice(11, 50))
        np.testing.assert_array_equal(image.read(part), expected[part])


@pytest.mark.parametrize(
    "dtype",
    ["uint8", "int8", "int16", "uint32", "int32", "uint64", "float16", "float32", "float64"],
)
def test_data_types_are_kept(tmp_path, dtype):
    data = RNG.integers(0, 100, (6, 9)).astype(dtype)
    for options in ({}, {"compression": "zlib"}, {"byteorder": ">"}):
        path = write(tmp_path / "a.tif", data, **options)
        with open_image(path) as image:
            assert image.dtype == np.dtype(dtype)
            np.testing.assert_array_equal(image.read(whole(image.shape5))[0, 0, 0], data)


def test_one_bit_is_read_as_uint8_with_a_warning(tmp_path):
    data = RNG.integers(0, 2, (9, 13)).astype(bool)
    path = write(tmp_path / "a.tif", data)
    with open_image(path) as image:
        np.testing.assert_array_equal(image.read(whole(image.shape5))[0, 0, 0], data)
        assert image.dtype == np.uint8
        assert "1 bit" in image.warnings[0]


def test_complex_pixels_are_refused(tmp_path):
    path = write(tmp_path / "a.tif", np.zeros((4, 5), np.complex64))
    with pytest.raises(InputError, match="data type"):
        open_image(path)


def test_one_pixel_is_an_image(tmp_path):
    path = write(tmp_path / "a.tif", np.array([[9]], np.uint8))
    with open_image(path) as image:
        assert image.metadata.shape == (1, 1)
        assert image.read(whole(image.shape5)).item() == 9


def test_axes_of_a_hyperstack(tmp_path):
    data = RNG.integers(0, 255, (2, 3, 4, 10, 11)).astype(np.uint8)  # T Z C
    path = write(tmp_path / "a.tif", data, imagej=True, metadata={"axes": "TZCYX"})
    with open_image(path) as image:
        assert image.shape5 == (2, 4, 3, 10, 11)
        np.testing.assert_array_equal(image.read(whole(image.shape5)), data.swapaxes(1, 2))


def test_pages_without_meaning_are_z_with_a_warning_or_what_is_stated(tmp_path):
    path = write(tmp_path / "a.tif", STACK, photometric="minisblack", metadata=None)
    with open_image(path) as image:
        assert image.metadata.axes == "ZYX"
        assert any("taken as Z" in warning for warning in image.warnings)
    with open_image(path, axes="TYX") as image:
        assert image.metadata.axes == "TYX"
        assert image.warnings == ()
        np.testing.assert_array_equal(image.read(whole(image.shape5))[:, 0, 0], STACK)


def test_stated_axes_that_do_not_fit_are_refused(tmp_path):
    path = write(tmp_path / "a.tif", STACK, photometric="minisblack", metadata=None)
    with pytest.raises(InputError, match="stated axes") as caught:
        open_image(path, axes="TZYX")
    assert "3 axes" in str(caught.value)


def test_two_unknown_axes_are_refused_with_the_remedy(tmp_path):
    data = np.zeros((2, 5, 8, 9), np.uint8)
    axes = {"axes": "QIYX"}
    path = write(tmp_path / "a.tif", data, photometric="minisblack", metadata=axes)
    with pytest.raises(InputError, match="axes") as caught:
        open_image(path)
    assert "axes=" in caught.value.remedy
    with open_image(path, axes="TCYX") as image:
        assert image.shape5 == (2, 5, 1, 8, 9)


def test_lifetime_is_refused_by_name(tmp_path):
    data = np.zeros((6, 8, 9), np.uint8)
    axes = {"axes": "HYX"}
    path = write(tmp_path / "a.tif", data, photometric="minisblack", metadata=axes)
    with pytest.raises(InputError) as caught:
        open_image(path)
    assert "H=6" in caught.value.found


def test_ome_metadata(tmp_path):
    metadata = {
        "axes": "TCZYX",
        "Name": "Naïve cells",
        "PhysicalSizeX": 65,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 0.065,
        "PhysicalSizeYUnit": "µm",
        "PhysicalSizeZ": 0.3,
        "PhysicalSizeZUnit": "µm",
        "TimeIncrement": 500,
        "TimeIncrementUnit": "ms",
        "Channel": {"Name": ["DAPI", "GFP"], "EmissionWavelength": [461, 509]},
    }
    data = np.zeros((2, 2, 3, 8, 9), np.uint8)
    path = write(tmp_path / "a.ome.tif", data, metadata=metadata, photometric="minisblack")
    with open_image(path) as image:
        found = image.metadata
        assert found.name == "Naïve cells"
        assert found.x_um == pytest.approx(0.065)
        assert found.y_um == pytest.approx(0.065)
        assert found.z_um == pytest.approx(0.3)
        assert found.time_increment_s == pytest.approx(0.5)
        assert [channel.name for channel in found.channels] == ["DAPI", "GFP"]
        assert found.channels[1] == Channel(name="GFP", emission_nm=509)
        assert b"PhysicalSizeX" in image.original_metadata["METADATA.ome.xml"]


def test_imagej_metadata(tmp_path):
    options = {"resolution": (4.0, 2.0), "metadata": {"axes": "ZYX", "unit": "um", "spacing": 1.5}}
    path = write(tmp_path / "a.tif", STACK, imagej=True, **options)
    with open_image(path) as image:
        found = image.metadata
        assert (found.z_um, found.y_um, found.x_um) == (1.5, 0.5, 0.25)


def test_resolution_counts_only_with_centimetres(tmp_path):
    for unit, expected in (("CENTIMETER", 2.0), ("INCH", None), ("NONE", None)):
        path = write(tmp_path / "a.tif", STACK[0], resolution=(5000, 5000), resolutionunit=unit)
        with open_image(path) as image:
            assert image.metadata.x_um == expected


def test_a_slide_is_one_image_with_its_pixel_size(tmp_path):
    path = write_slide(tmp_path / "a.svs")
    (entry,) = list_images(path)
    assert entry.aside == ("Thumbnail", "Label", "Macro")
    with open_image(path) as image:
        assert image.shape5 == (1, 3, 1, 96, 128)
        assert (image.metadata.x_um, image.metadata.y_um) == (0.499, 0.499)
        assert image.warnings == (
            "a.svs holds pictures of the slide, left out: Thumbnail, Label, Macro",
        )


@pytest.mark.parametrize("mpp", ["", "MPP = 0", "MPP = 1.2.3", "MPP = .", "XMPP = 3"])
def test_a_slide_without_pixel_size(tmp_path, mpp):
    with open_image(write_slide(tmp_path / "a.svs", mpp)) as image:
        assert image.metadata.x_um is None


def test_several_series_are_several_images_and_pyramids_are_not(tmp_path):
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        for number in range(2):
            data = np.full((64, 64 + number), number, np.uint8)
            writer.write(data, subifds=1, metadata={"axes": "YX", "Name": f"scene {number}"})
            writer.write(data[::2, ::2], subfiletype=1)
    entries = list_images(path)
    assert [entry.series for entry in entries] == ["0", "1"]
    assert [entry.metadata.name for entry in entries] == ["scene 0", "scene 1"]
    with pytest.raises(InputError, match="several images") as caught:
        open_image(path)
    assert "--set series=1, " in caught.value.remedy
    assert "0 is 'scene 0', 1 is 'scene 1'" in caught.value.remedy
    with open_image(path, "1") as image:
        assert image.read(whole(image.shape5)).max() == 1
    with pytest.raises(InputError, match="no such image"):
        open_image(path, "2")


@pytest.mark.parametrize("kind", ["pages", "imagej", "ome", "zlib", "coded tiles", "strips"])
def test_a_truncated_file_is_refused_or_whole_and_never_padded(tmp_path, kind):
    path = write(tmp_path / "a.tif", STACK, photometric="minisblack", **KINDS[kind])
    content = path.read_bytes()
    refused = 0
    for size in range(8, len(content), len(content) // 40):
        path.write_bytes(content[:size])
        try:
            with open_image(path) as image:
                pixels = image.read(whole(image.shape5))
        except InputError:
            refused += 1
        else:
            np.testing.assert_array_equal(pixels[0, 0], STACK)
    assert refused > 10


def test_damaged_compression_is_an_error_that_names_the_page(tmp_path):
    path = write(tmp_path / "a.tif", STACK, compression="zlib", metadata={"axes": "ZYX"})
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[2].dataoffsets[0]
    content = bytearray(path.read_bytes())
    content[offset : offset + 40] = b"\xff" * 40
    path.write_bytes(content)
    with open_image(path) as image, pytest.raises(InputError, match="decoded") as caught:
        image.read(whole(image.shape5))
    assert "page 2" in caught.value.where


def test_missing_files_of_a_set_are_an_error(tmp_path):
    metadata = {"axes": "ZYX"}
    path = write(tmp_path / "a.ome.tif", STACK, ome=True, metadata=metadata)
    text = tifffile.tiffcomment(path)
    uuid = '<UUID FileName="gone.ome.tif">urn:uuid:0</UUID>'
    with tifffile.TiffFile(path) as tiff:
        assert tiff.ome_metadata
    tags = ['IFD="0" PlaneCount="2"', 'IFD="0" FirstZ="2" PlaneCount="3"']
    data = f"<TiffData {tags[0]}/><TiffData {tags[1]}>{uuid}</TiffData>"
    start, stop = text.index("<TiffData"), text.index("</Pixels>")
    path = write(path, STACK[:2], description=text[:start] + data + text[stop:], metadata=None)
    with pytest.raises(InputError, match="missing"):
        open_image(path)


def write_set(folder, planes, options):
    """Write an OME-TIFF of two files; plane z of the image is page z of its file."""
    kept = [planes[:2], planes[2:]]
    names = ["a.ome.tif", "b.ome.tif"]
    data = "".join(
        f'<TiffData IFD="{z}" FirstZ="{z}" PlaneCount="1">'
        f'<UUID FileName="{names[z // 2]}">urn:uuid:{z // 2}</UUID></TiffData>'
        for z in range(4)
    )
    for number, (name, part) in enumerate(zip(names, kept, strict=True)):
        text = (
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:{number}"><Image ID="Image:0"><Pixels ID="Pixels:0" Type="uint16" '
            'DimensionOrder="XYZCT" SizeX="50" SizeY="40" SizeZ="4" SizeC="1" SizeT="1">'
            f'<Channel ID="Channel:0:0"/>{data}</Pixels></Image></OME>'
        )
        unused = np.zeros_like(part)
        pages = np.concatenate([unused, part] if number else [part, unused])
        described = {"metadata": None, "ome": False, "description": text}
        write(folder / name, pages, photometric="minisblack", **described, **options[number])
    return folder / names[0]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(({}, {}), id="offsets that go on in the other file"),
        pytest.param(({}, {"byteorder": ">"}), id="byte orders"),
        pytest.param(
            ({"compression": "zlib"}, {"compression": "zlib", "byteorder": ">"}), id="packed"
        ),
        pytest.param(({"rowsperstrip": 3}, {"rowsperstrip": 7}), id="strips"),
        pytest.param(({"tile": (16, 32)}, {"compression": "zlib", "rowsperstrip": 5}), id="tiles"),
    ],
)
def test_files_of_a_set_are_read_each_in_its_own_way(tmp_path, options):
    path = write_set(tmp_path, STACK[:4], options)
    with open_image(path) as image:
        np.testing.assert_array_equal(image.read(whole(image.shape5))[0, 0], STACK[:4])
        np.testing.assert_array_equal(image.read(WINDOW)[0, 0], STACK[1:4, 7:33, 3:49])


def test_an_image_that_lies_in_another_file_has_the_byte_order_of_that(tmp_path):
    path = write_set(tmp_path, STACK[:4], ({}, {"byteorder": ">"}))
    data = '<TiffData PlaneCount="4"><UUID FileName="b.ome.tif">urn:uuid:1</UUID></TiffData>'
    for name in ("a.ome.tif", "b.ome.tif"):
        described = tifffile.tiffcomment(tmp_path / name)
        start, stop = described.index("<TiffData"), described.index("</Pixels>")
        tifffile.tiffcomment(tmp_path / name, described[:start] + data + described[stop:])
    with open_image(path) as image:
        pixels = image.read(whole(image.shape5))[0, 0]
    np.testing.assert_array_equal(pixels[2:], STACK[2:4])
    assert not pixels[:2].any()


def test_the_log_of_tifffile_is_left_as_it_was(tmp_path):
    log = logging.getLogger("tifffile")
    before = (list(log.handlers), log.propagate)
    open_image(write(tmp_path / "a.tif", STACK[0])).close()
    assert (log.handlers, log.propagate) == before


@pytest.mark.parametrize("differs", [{"compression": None}, {"predictor": True}])
def test_a_page_encoded_unlike_the_first_is_refused(tmp_path, differs):
    path = tmp_path / "mixed.ome.tif"
    planes = STACK.astype(np.int32)  # of which there is no second reader
    ome = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="int32" SizeX="50" SizeY="40" '
        'SizeZ="5" SizeC="1" SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
        '<TiffData IFD="0" PlaneCount="5"/></Pixels></Image></OME>'
    )
    with tifffile.TiffWriter(path) as writer:
        for number, plane in enumerate(planes):
            kind = {"compression": "zlib"} | (differs if number == 2 else {})
            text = ome if number == 0 else None
            writer.write(plane, description=text, metadata=None, contiguous=False, **kind)
    with open_image(path) as image, pytest.raises(InputError, match="encoded differently"):
        image.read(whole(image.shape5))
