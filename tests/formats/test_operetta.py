"""Plates of Operetta and Opera Phenix: what Harmony exports, whole and not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from parfocal.core.blocks import whole
from parfocal.errors import InputError
from parfocal.images import list_images, open_image, other_files
from plate_checks import assert_fails, assert_pixels, assert_problems_are_told
from plate_files import save, write_harmony


def edit(index, *pairs):
    text = index.read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    index.write_text(text)


@pytest.mark.parametrize(("times", "channels", "planes"), [(1, 2, 1), (2, 3, 2), (1, 2, 3)])
def test_pixels(tmp_path, times, channels, planes):
    assert_pixels(
        write_harmony(tmp_path, times=times, channels=channels, planes=planes), "Plate one"
    )


def test_agrees_with_bio_formats(tmp_path, assert_same_as_bio_formats):
    assert_same_as_bio_formats(write_harmony(tmp_path, channels=3, planes=3))


def test_agrees_with_bio_formats_on_time_points(tmp_path, assert_same_as_bio_formats):
    index = write_harmony(tmp_path, times=2)
    # Bio-Formats gives the time of each plane, not the time between two.
    assert_same_as_bio_formats(index, explained=("time_increment_s",))


def test_metadata(tmp_path):
    index = write_harmony(tmp_path, times=2)
    with open_image(index, "B03/2") as image:
        metadata = image.metadata
        assert image.original_metadata == {"harmony.xml": index.read_bytes()}
    assert (metadata.z_um, metadata.y_um, metadata.x_um) == (1.5, 0.25, 0.25)
    assert metadata.time_increment_s == 60
    assert (metadata.stage_z_um, metadata.stage_y_um, metadata.stage_x_um) == (1.5, -20, 200)
    first, second = metadata.channels
    assert (first.name, first.excitation_nm, first.emission_nm) == ("Dye 1", 400, 450)
    assert (second.name, second.excitation_nm, second.emission_nm) == ("Dye 2", 500, 550)


def test_harmony_5_describes_channels_apart(tmp_path):
    index = write_harmony(tmp_path)
    text = index.read_text()
    maps = "".join(
        f'<Entry ChannelID="{c}"><ChannelName>Apart {c}</ChannelName>'
        '<ImageResolutionX Unit="m">5E-07</ImageResolutionX>'
        '<ImageResolutionY Unit="m">5E-07</ImageResolutionY></Entry>'
        for c in (1, 2)
    )
    text = text.replace("HarmonyV5", "HarmonyV7").replace(
        "<Maps/>", f"<Maps><Map>{maps}</Map></Maps>"
    )
    for c in (1, 2):
        text = text.replace(f"<ChannelName>Dye {c}</ChannelName>", "")
    for axis in "XY":
        text = text.replace(f'<ImageResolution{axis} Unit="m">2.5E-07</ImageResolution{axis}>', "")
    index.write_text(text)
    with open_image(index, "B02/1") as image:
        assert [one.name for one in image.metadata.channels] == ["Apart 1", "Apart 2"]
        assert image.metadata.x_um == image.metadata.y_um == 0.5


def test_uneven_planes_have_no_distance(tmp_path):
    index = write_harmony(tmp_path, planes=3)
    edit(index, ('<PositionZ Unit="m">4.5e-06', '<PositionZ Unit="m">9e-06'))
    with open_image(index, "B02/1") as image:
        assert image.metadata.z_um is None
        assert "not evenly spaced" in image.warnings[0]


def test_problems_are_told(tmp_path):
    index = write_harmony(tmp_path)
    file = tmp_path / "r02c03f02p02-ch2sk1fk1fl1.tiff"
    assert_problems_are_told(index, file, "B03", "field 2", "channel Dye 2", "plane 2")


def test_a_plane_that_is_there_twice(tmp_path):
    index = write_harmony(tmp_path)
    text = index.read_text()
    start = text.index('<Image Version="1"><id>0203K1F2P2R2</id>')
    plane = text[start : text.index("</Image>", start) + len("</Image>")]
    again = plane.replace("p02-ch2sk1fk1fl1", "p01-ch2sk1fk1fl1")
    index.write_text(text.replace(plane, plane + again))
    assert_fails(index, "B03/2", "twice", "r02c03f02p01-ch2sk1fk1fl1.tiff")


def test_a_plane_that_the_index_lacks(tmp_path):
    index = write_harmony(tmp_path)
    text = index.read_text()
    start = text.index('<Image Version="1"><id>0203K1F2P2R2</id>')
    index.write_text(text[:start] + text[text.index("</Image>", start) + len("</Image>") :])
    assert_fails(index, "B03/2", "missing", "B03", "field 2", "Dye 2", "plane 2")


def test_a_well_with_fewer_fields_is_told(tmp_path):
    index = write_harmony(tmp_path)
    text = index.read_text()
    while '<Image Version="1"><id>0203K1F2' in text:
        start = text.index('<Image Version="1"><id>0203K1F2')
        text = text[:start] + text[text.index("</Image>", start) + len("</Image>") :]
    index.write_text(text)
    entries = {entry.series: entry.warnings for entry in list_images(index)}
    assert list(entries) == ["B02/1", "B02/2", "B03/1"]
    assert entries["B03/1"] == ("Well B03 has 1 fields, where other wells have 2",)
    assert entries["B02/1"] == ()


def test_a_size_that_the_index_says_otherwise(tmp_path):
    index = write_harmony(tmp_path)
    edit(index, ("<ImageSizeX>8<", "<ImageSizeX>9<"))
    assert_fails(index, "B02/1", "size that the index says", "6 x 9", "6 x 8")


def test_an_absolute_place_is_that_of_the_microscope(tmp_path):
    index = write_harmony(tmp_path)
    edit(index, ("<URL>r02c02", "<URL>D:\\\\data\\\\r02c02"))
    assert_pixels(index, "Plate one")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("</EvaluationInputData>", ""),
        ("EvaluationInputData", "OME"),
        ("<Row>2</Row>", "<Row>two</Row>"),
        ("<Row>2</Row>", "<Row>0</Row>"),
        ("<ChannelID>2</ChannelID>", ""),
        ("<URL>r02c03f02p02-ch2sk1fk1fl1.tiff</URL>", "<URL></URL>"),
        ("<Plate>", "<Plate/><Plate>"),
        ("<Col>", "<Spalte>"),
        ("<FieldID>1<", "<FieldID>\x01<"),
    ],
)
def test_an_index_that_is_damaged(tmp_path, old, new):
    index = write_harmony(tmp_path)
    edit(index, (old, new))
    with pytest.raises(InputError, match="damaged, or of an unknown kind"):
        list_images(index)


def test_an_index_of_no_images(tmp_path):
    index = write_harmony(tmp_path)
    text = index.read_text()
    index.write_text(text[: text.index("<Images>")] + "</EvaluationInputData>")
    with pytest.raises(InputError, match="no planes"):
        list_images(index)


def test_a_large_plate_is_listed_by_one_file(tmp_path, monkeypatch):
    index = write_harmony(tmp_path)
    from parfocal.images import opening

    opened = []
    original = opening.open_image
    monkeypatch.setattr(
        opening, "open_image", lambda path, **kw: opened.append(path) or original(path, **kw)
    )
    assert len(list_images(index)) == 4
    assert len(opened) == 1
    assert len(other_files(index)) == 16
    assert len(opened) == 1


def test_many_threads_read_at_once(tmp_path):
    index = write_harmony(tmp_path, times=2, channels=3, planes=3)
    with open_image(index, "B03/2") as image, ThreadPoolExecutor(8) as pool:
        expected = image.read(whole(image.shape5))
        planes = list(np.ndindex(*image.shape5[:3])) * 10

        def read(place):
            at = [slice(n, n + 1) for n in place]
            return place, image.read((*at, slice(0, 6), slice(0, 8)))

        for (t, c, z), found in pool.map(read, planes):
            np.testing.assert_array_equal(found[0, 0, 0], expected[t, c, z])


def test_a_damaged_first_file_spoils_no_other_image(tmp_path):
    index = write_harmony(tmp_path)
    save(tmp_path / "r02c02f01p01-ch1sk1fk1fl1.tiff", np.zeros((2, 3), np.complex64))
    assert len(list_images(index)) == 4
    assert_fails(index, "B02/1", "complex64")
    with open_image(index, "B03/1") as image:
        assert image.dtype == np.uint16
