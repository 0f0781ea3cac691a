"""What ImageJ says in a TIFF: used where it can be, kept, and told where it was not used."""

import json

import numpy as np
import pytest
import tifffile

from parfocal.images import open_image

RAMP = np.arange(256, dtype=np.uint8)
NOTHING = np.zeros(256, np.uint8)
RED, GREEN = np.stack([RAMP, NOTHING, NOTHING]), np.stack([NOTHING, RAMP, NOTHING])


@pytest.fixture
def read(tmp_path):
    """Return a function that writes an ImageJ file and tells what is read of it."""

    def run(axes, shape, description=None, **metadata):
        path = tmp_path / "a.tif"
        pixels = np.zeros(shape, np.uint8)
        tifffile.imwrite(path, pixels, imagej=True, metadata={"axes": axes} | metadata)
        if description:
            with tifffile.TiffFile(path, mode="r+") as tiff:
                tag = tiff.pages[0].tags["ImageDescription"]
                tag.overwrite(tag.value + description)
        with open_image(path) as image:
            return image

    return run


def named(image):
    return [channel.name for channel in image.metadata.channels]


def kept(image):
    return json.loads(image.original_metadata["ImageJ.json"])


def test_labels_of_slices_are_the_names_of_channels(read):
    image = read("CYX", (3, 8, 9), Labels=["DAPI", "GFP", "RFP"])
    assert named(image) == ["DAPI", "GFP", "RFP"]
    assert image.warnings == ()


def test_labels_go_with_colours(read):
    image = read("CYX", (2, 8, 9), Labels=["a", "b"], LUTs=[RED, GREEN])
    assert [(one.name, one.color) for one in image.metadata.channels] == [
        ("a", "FF0000"),
        ("b", "00FF00"),
    ]
    assert image.warnings == ()


@pytest.mark.parametrize(
    "text", ["{}", "c:{c}/2 z:{z}/3 - {}", "c:{c}/2 t:{t}/2 {}", "{}\nmore: x"]
)
def test_labels_of_all_slices_name_channels_if_they_agree(read, text):
    places = [(t, z, c) for t in range(2) for z in range(3) for c in range(2)]
    labels = [text.format(["DAPI", "GFP"][c], c=c + 1, z=z + 1, t=t + 1) for t, z, c in places]
    assert named(read("TZCYX", (2, 3, 2, 8, 9), Labels=labels)) == ["DAPI", "GFP"]


@pytest.mark.parametrize(
    ("axes", "shape", "labels"),
    [
        ("ZCYX", (2, 2, 8, 9), ["DAPI", "GFP", "DAPI", "RFP"]),  # a channel of two labels
        ("CYX", (2, 8, 9), ["a.tif", "a.tif"]),  # two channels of one label
        ("CYX", (3, 8, 9), ["DAPI", "GFP", ""]),  # a channel of none
        ("ZYX", (2, 8, 9), ["slice 1", "slice 2"]),
        ("YX", (8, 9), ["one"]),
    ],
)
def test_other_labels_are_kept_and_told(read, axes, shape, labels):
    image = read(axes, shape, Labels=labels)
    assert image.metadata.channels == ()
    (warning,) = image.warnings
    assert "labels of slices" in warning
    found = kept(image)["Labels"]
    assert (found if len(labels) > 1 else [found]) == labels


def test_labels_that_are_mere_places_need_no_warning(read):
    assert read("CYX", (2, 8, 9), Labels=["c:1/2", "c:2/2"]).warnings == ()


def test_notes_and_ranges_are_kept(read):
    image = read("CYX", (2, 8, 9), Info="taken by Zoë\nlens = 20x", Ranges=(0.0, 9.0, 1.0, 8.0))
    assert kept(image) == {"Info": "taken by Zoë\nlens = 20x", "Ranges": [0.0, 9.0, 1.0, 8.0]}
    assert b"channels=2" in image.original_metadata["ImageDescription.txt"]
    assert image.warnings == ()


def test_regions_are_kept_as_files_and_told(read):
    image = read("YX", (8, 9), ROI=b"Iout1", Overlays=[b"Iout2", b"Iout3"])
    files = {name: text for name, text in image.original_metadata.items() if "roi" in name}
    assert files == {
        "ImageJ-ROI-0001.roi": b"Iout1",
        "ImageJ-Overlays-0001.roi": b"Iout2",
        "ImageJ-Overlays-0002.roi": b"Iout3",
    }
    assert "3 ROI" in image.warnings[0]


def test_the_colour_of_one_channel(read):
    (channel,) = read("ZYX", (3, 8, 9), LUTs=[GREEN]).metadata.channels
    assert channel.color == "00FF00"


def test_lookup_tables_that_are_no_colours_are_kept_and_told(read):
    bent = RED.copy()
    bent[1, 100] = 200
    image = read("CYX", (2, 8, 9), LUTs=[GREEN, bent])
    assert [one.color for one in image.metadata.channels] == ["00FF00", "FF0000"]
    assert "channel 1 is no ramp" in image.warnings[0]
    assert kept(image)["LUTs"][1] == bent.tolist()
    image = read("CYX", (3, 8, 9), LUTs=[RED, GREEN])
    assert image.metadata.channels == ()
    assert "2 lookup tables for 3 channels" in image.warnings[0]


@pytest.mark.parametrize(
    ("axes", "metadata", "message"),
    [
        ("ZYX", {"spacing": 0.5}, "spacing of 0.5"),
        ("ZYX", {"spacing": -0.5, "zunit": "um"}, "spacing of -0.5"),
        ("ZYX", {"unit": "furlong"}, "unit furlong"),
        ("TYX", {"finterval": 2.0, "tunit": "moons"}, "interval of 2.0 moons"),
        ("TYX", {"finterval": -2.0}, "interval of -2.0"),
        ("YX", {"cf": 0, "c0": -32768.0, "c1": 1.0}, "not calibrated"),
    ],
)
def test_what_cannot_be_used_is_told(read, axes, metadata, message):
    shape = (3, 8, 9)[-len(axes) :]
    lines = "".join(f"{key}={value}\n" for key, value in metadata.items())
    image = read(axes, shape, "\n" + lines)
    assert len(image.warnings) == 1
    assert message in image.warnings[0]
    found = image.metadata
    assert (found.x_um, found.z_um, found.time_increment_s) == (None, None, None)


def test_units_of_time_and_of_each_axis(read):
    lines = "\nunit=mm\nyunit=um\nzunit=nm\nspacing=500\nfinterval=2\ntunit=min\n"
    found = read("TZYX", (2, 3, 8, 9), lines).metadata
    assert (found.x_um, found.y_um, found.z_um) == (1000, 1, 0.5)
    assert found.time_increment_s == 120
