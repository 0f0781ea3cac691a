"""OME-XML of ours: valid, complete, and the same always."""

from __future__ import annotations

import base64
import zlib

import ome_types
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ome_types.model import Color, UnitsLength, UnitsTime

from ome_schema import check_ome_xml
from parfocal.images.writers.ome_xml import OmePlate, OmeWell, has_samples, ome_xml
from parfocal.models.image import Channel, ImageMetadata

CHANNELS = (
    Channel(name="DAPI <&>", color="FF8000", excitation_nm=358.25, emission_nm=461),
    Channel(name=None, color="00FF00"),
)


def image(**changes):
    known = {"name": "a", "axes": "CZYX", "shape": (2, 3, 4, 5), "dtype": "uint16"}
    return ImageMetadata(**(known | changes))


def rgb(**changes):
    return image(axes="CYX", shape=(3, 4, 5), dtype="uint8", rgb=True, **changes)


def parsed(*images, **options):
    text = ome_xml(images, **({"tiff": True} | options))
    check_ome_xml(text)
    return ome_types.from_xml(text)


def test_all_that_is_known_is_written():
    known = image(
        name="Größe 1/2 µm",
        axes="TCZYX",
        shape=(7, 2, 3, 4, 5),
        channels=CHANNELS,
        x_um=0.1234567890123456,
        y_um=0.2,
        z_um=1e-7,
        time_increment_s=0.1,
        stage_x_um=-1500.25,
        stage_y_um=0.0,
    )
    found = parsed(known).images[0]
    pixels = found.pixels
    assert found.name == "Größe 1/2 µm"
    assert (pixels.size_t, pixels.size_c, pixels.size_z) == (7, 2, 3)
    assert (pixels.size_y, pixels.size_x) == (4, 5)
    assert pixels.type.value == "uint16"
    assert pixels.dimension_order.value == "XYZCT"
    assert (pixels.physical_size_x, pixels.physical_size_y) == (0.1234567890123456, 0.2)
    assert pixels.physical_size_z == 1e-7
    assert pixels.physical_size_x_unit == UnitsLength.MICROMETER
    assert (pixels.time_increment, pixels.time_increment_unit) == (0.1, UnitsTime.SECOND)
    first, second = pixels.channels
    assert (first.name, second.name) == ("DAPI <&>", None)
    assert first.color == Color("#FF8000")
    assert (first.excitation_wavelength, first.emission_wavelength) == (358.25, 461)
    assert first.emission_wavelength_unit == UnitsLength.NANOMETER
    assert second.excitation_wavelength is None
    (plane,) = pixels.planes
    assert (plane.the_z, plane.the_c, plane.the_t) == (0, 0, 0)
    assert (plane.position_x, plane.position_y, plane.position_z) == (-1500.25, 0.0, None)
    assert plane.position_x_unit == UnitsLength.MICROMETER
    (data,) = pixels.tiff_data_blocks
    assert (data.ifd, data.plane_count, data.uuid) == (0, 42, None)


def test_nothing_is_written_of_what_is_not_known():
    text = ome_xml([image()], tiff=True).decode()
    for word in ("Physical", "TimeIncrement", "Plane ", "Name=" + '""', "Color", "Wavelength"):
        assert word not in text


@pytest.mark.parametrize("color", ["FFFFFF", "000000", "7FFFFF", "800000", "0000FF"])
def test_colours_are_signed_rgba(color):
    channels = (Channel(color=color), Channel())
    text = ome_xml([image(channels=channels)], tiff=True).decode()
    value = int(text.partition('Color="')[2].partition('"')[0])
    assert -(2**31) <= value < 2**31
    assert value & 0xFFFFFFFF == int(color + "FF", 16)


def test_several_images_follow_each_other_page_by_page():
    ome = parsed(image(), rgb(), image(name="c", axes="YX", shape=(4, 5)))
    blocks = [one.pixels.tiff_data_blocks[0] for one in ome.images]
    assert [(block.ifd, block.plane_count) for block in blocks] == [(0, 6), (6, 1), (7, 1)]
    assert [one.id for one in ome.images] == ["Image:0", "Image:1", "Image:2"]


def test_red_green_and_blue_are_samples_of_one_channel():
    pixels = parsed(rgb()).images[0].pixels
    assert pixels.size_c == 3
    assert pixels.interleaved
    assert [channel.samples_per_pixel for channel in pixels.channels] == [3]


@pytest.mark.parametrize(
    ("names", "expected"),
    [(("Red", "Green", "Blue"), True), (("Blue", "Green", "Red"), False), (("a", "b", "c"), False)],
)
def test_channels_of_other_names_are_no_samples(names, expected):
    colors = ("FF0000", "00FF00", "0000FF")
    channels = tuple(Channel(name=n, color=c) for n, c in zip(names, colors, strict=True))
    assert has_samples(rgb(channels=channels)) is expected
    pixels = parsed(rgb(channels=channels)).images[0].pixels
    assert len(pixels.channels) == (1 if expected else 3)


def test_three_channels_are_no_samples_unless_they_are_red_green_and_blue():
    assert not has_samples(image(axes="CYX", shape=(3, 4, 5)))
    assert not has_samples(image(axes="CYX", shape=(4, 4, 5), rgb=True))


def test_without_pixels_the_xml_says_so():
    ome = parsed(image(dtype="uint64"), tiff=False)
    pixels = ome.images[0].pixels
    assert pixels.metadata_only is not None
    assert pixels.tiff_data_blocks == []
    assert pixels.type.value == "uint32"
    assert "uint64" in ome.images[0].description
    assert parsed(image(), tiff=False).images[0].description is None


@pytest.mark.parametrize("dtype", ["int64", "uint64", "float16"])
def test_a_file_cannot_have_types_that_ome_has_not(dtype):
    with pytest.raises(KeyError, match=dtype):
        ome_xml([image(dtype=dtype)], tiff=True)


def test_a_plate_refers_to_its_fields():
    wells = (OmeWell(0, 1, (0, 1)), OmeWell(7, 11, (2,)))
    plate = OmePlate("Plate & 1", 8, 12, wells)
    ome = parsed(image(), image(), image(), tiff=False, plate=plate)
    (found,) = ome.plates
    assert (found.name, found.rows, found.columns) == ("Plate & 1", 8, 12)
    assert [(well.row, well.column) for well in found.wells] == [(0, 1), (7, 11)]
    samples = [sample for well in found.wells for sample in well.well_samples]
    assert [sample.image_ref.id for sample in samples] == ["Image:0", "Image:1", "Image:2"]
    assert [sample.index for sample in samples] == [0, 1, 2]


def test_originals_are_enclosed_as_they_are():
    originals = {"czi.xml": b"<a>\xc3\xa4</a>\n", "x.bin": bytes(range(256))}
    ome = parsed(image(), originals=originals)
    found = {}
    for annotation in ome.structured_annotations:
        assert annotation.namespace == "parfocal/original-metadata"
        file = annotation.binary_file
        data = file.bin_data
        assert data.compression.value == "zlib"
        assert data.length == len(base64.b64encode(data.value))  # as the schema counts
        found[file.file_name] = zlib.decompress(data.value)
        assert file.size == len(found[file.file_name])
    assert found == originals


@given(st.text(min_size=1, max_size=20))
def test_any_name_makes_well_formed_xml(name):
    channels = (Channel(name=name), Channel())
    text = ome_xml([image(name=name, channels=channels)], tiff=True)
    ome = ome_types.from_xml(text, validate=False)
    allowed = "".join(
        c
        if c in "\t\n\r" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c > "\uffff"
        else "\ufffd"
        for c in name
    )
    assert ome.images[0].pixels.channels[0].name == allowed
    assert text == ome_xml([image(name=name, channels=channels)], tiff=True)
