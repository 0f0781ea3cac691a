"""Plates of ImageXpress: what MetaXpress writes, whole and not."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from parfocal.core.blocks import whole
from parfocal.errors import InputError
from parfocal.images import list_images, open_image, other_files
from plate_checks import assert_fails, assert_pixels, assert_problems_are_told
from plate_files import pixels_of, save, write_imagexpress

SHARED = Path(__file__).parents[3] / "shared/data/imagexpress_plate"


@pytest.mark.parametrize(("times", "waves", "steps"), [(1, 2, 1), (2, 3, 3), (1, 2, 2)])
def test_pixels(tmp_path, times, waves, steps):
    htd = write_imagexpress(tmp_path / "p", times=times, waves=waves, steps=steps)
    assert_pixels(htd, "plate")


# Bio-Formats does not read from the notes of MetaMorph how far the planes are apart.
@pytest.mark.parametrize(
    ("times", "steps", "text", "explained"),
    [(1, 1, "1", ()), (2, 3, None, ("z_um",)), (1, 2, None, ("z_um",))],
)
def test_agrees_with_bio_formats(
    tmp_path, assert_same_as_bio_formats, times, steps, text, explained
):
    htd = write_imagexpress(tmp_path / "p", times=times, steps=steps, steps_text=text)
    assert_same_as_bio_formats(htd, explained=explained)


def test_agrees_with_bio_formats_beside_projections(tmp_path, assert_same_as_bio_formats):
    htd = write_imagexpress(tmp_path / "p", steps=2, projection=True)
    assert_same_as_bio_formats(htd, explained=("z_um",))


def test_metadata(tmp_path):
    htd = write_imagexpress(tmp_path / "p", waves=2, steps=3)
    with open_image(htd, "B03/1") as image:
        metadata = image.metadata
        assert list(image.original_metadata) == ["imagexpress.htd", "metamorph.xml"]
        assert image.original_metadata["imagexpress.htd"] == htd.read_bytes()
        assert image.reader.startswith("tifffile ")
    assert metadata.name == "plate B03/1"
    assert (metadata.z_um, metadata.y_um, metadata.x_um) == (2.5, 0.25, 0.5)
    assert (metadata.stage_z_um, metadata.stage_y_um, metadata.stage_x_um) == (12.5, -2000, 1000.5)
    assert [(one.name, one.emission_nm) for one in metadata.channels] == [
        ("Dye 1", 500),
        ("Dye 2", 600),
    ]


def test_one_site_and_wave_have_no_numbers_in_names(tmp_path):
    htd = write_imagexpress(tmp_path / "p", waves=1, fields=1)
    assert [entry.series for entry in list_images(htd)] == ["B02/1", "B03/1"]
    with open_image(htd, "B03/1") as image:
        assert image.metadata.axes == "YX"
        expected = pixels_of(2, 3, 1, 1, 1, 1)
        np.testing.assert_array_equal(image.read(whole(image.shape5))[0, 0, 0], expected)


def test_a_projection_is_an_image_beside(tmp_path):
    htd = write_imagexpress(tmp_path / "p", steps=2, projection=True)
    entries = list_images(htd)
    assert [entry.series for entry in entries] == ["B02/1", "B02/2", "B03/1", "B03/2"]
    assert entries[3].aside == ("B03/2/projection",)
    for series, first in (("B03/2", 1), ("B03/2/projection", 0)):
        with open_image(htd, series) as image:
            assert image.shape5[:3] == (1, 2, 2 if first else 1)
            assert len(image.warnings) == first
            expected = pixels_of(2, 3, 2, 1, 1, first)
            np.testing.assert_array_equal(image.read(whole(image.shape5))[0, 0, 0], expected)


def test_sites_may_be_numbered_by_their_places_in_the_grid(tmp_path):
    htd = write_imagexpress(tmp_path / "p")
    lines = ('"XSites", 2', '"YSites", 2', '"SiteSelection1", FALSE, TRUE')
    text = htd.read_text().replace('"YSites", 1', lines[1])
    grid = f'{lines[2]}\n"SiteSelection2", TRUE, FALSE'
    htd.write_text(text.replace('"SiteSelection1", TRUE, TRUE', grid))
    assert_pixels(htd, "plate")
    for file in (htd.parent / "TimePoint_1").iterdir():
        site = file.name.replace("_s2_", "_s3_").replace("_s1_", "_s2_")
        file.rename(htd.parent / site)
    (htd.parent / "TimePoint_1").rmdir()  # the files may lie beside the index, too
    assert [entry.field for entry in list_images(htd)] == ["2", "3"] * 2
    with open_image(htd, "B03/3") as image:
        expected = pixels_of(2, 3, 2, 1, 2, 1)
        np.testing.assert_array_equal(image.read(whole(image.shape5))[0, 1, 0], expected)


def test_projections_alone_are_the_images(tmp_path):
    htd = write_imagexpress(tmp_path / "p", steps=2, projection=True)
    for step in (1, 2):
        shutil.rmtree(htd.parent / "TimePoint_1" / f"ZStep_{step}")
    assert [entry.aside for entry in list_images(htd)] == [()] * 4
    with open_image(htd, "B02/1") as image:
        expected = pixels_of(2, 2, 1, 1, 1, 0)
        np.testing.assert_array_equal(image.read(whole(image.shape5))[0, 0, 0], expected)


def test_copies_of_the_htd_file_stand_for_the_plate(tmp_path):
    htd = write_imagexpress(tmp_path / "p", steps=2)
    copy = htd.parent / "TimePoint_1" / "ZStep_2" / htd.name
    for folder in (copy.parent.parent, copy.parent):
        shutil.copy(htd, folder)
    assert [entry.series for entry in list_images(copy)] == [
        entry.series for entry in list_images(htd)
    ]
    assert {copy, copy.parent.parent / htd.name} <= set(other_files(htd))
    assert htd in other_files(copy)


def test_thumbnails_and_strangers_are_no_planes(tmp_path):
    htd = write_imagexpress(tmp_path / "p")
    folder = htd.parent / "TimePoint_1"
    thumb = folder / "plate_B03_s2_w1_thumb0123ABCD-0123-4567-89AB-0123456789AB.tif"
    save(thumb, np.zeros((3, 4), np.uint8))
    stranger = folder / "other_B03_s2_w1.TIF"
    save(stranger, np.zeros((3, 4), np.uint8))
    assert_pixels(htd, "plate")
    assert thumb in other_files(htd)
    assert stranger not in other_files(htd)


def test_names_with_identifiers(tmp_path):
    htd = write_imagexpress(tmp_path / "p")
    for file in (htd.parent / "TimePoint_1").iterdir():
        file.rename(file.with_name(f"{file.stem}0123ABCD-0123-4567-89AB-0123456789AB.tif"))
    assert_pixels(htd, "plate")


def test_problems_are_told(tmp_path):
    htd = write_imagexpress(tmp_path / "p", steps=2)
    file = htd.parent / "TimePoint_1" / "ZStep_2" / "plate_B03_s2_w2.TIF"
    assert_problems_are_told(htd, file, "B03", "field 2", "channel Dye 2", "plane 2")


def test_a_plane_that_is_there_twice(tmp_path):
    htd = write_imagexpress(tmp_path / "p")
    file = htd.parent / "TimePoint_1" / "plate_B03_s2_w2.TIF"
    other = file.with_name("plate_B03_s2_w20123ABCD-0123-4567-89AB-0123456789AB.tif")
    shutil.copy(file, other)
    assert_fails(htd, "B03/2", "twice", str(file), str(other))
    told = {entry.series: entry.warnings for entry in list_images(htd)}
    assert "twice" in told["B03/2"][0]


def test_a_missing_field(tmp_path):
    htd = write_imagexpress(tmp_path / "p")
    for file in (htd.parent / "TimePoint_1").glob("plate_B03_s2_*"):
        file.unlink()
    assert len(list_images(htd)) == 4
    assert_fails(htd, "B03/2", "missing", "B03", "plate_B03_s2_w1.TIF")


def test_a_field_of_another_size_than_the_plate(tmp_path):
    htd = write_imagexpress(tmp_path / "p")
    for file in (htd.parent / "TimePoint_1").glob("plate_B03_s2_*"):
        save(file, np.zeros((6, 9), np.uint16))
    assert_fails(htd, "B03/2", "differ in size")


def test_what_was_never_taken_is_left_out_and_told(tmp_path):
    htd = write_imagexpress(tmp_path / "p", waves=3, steps=3, times=2)
    for file in htd.parent.rglob("*_w2.TIF"):
        file.unlink()
    shutil.rmtree(htd.parent / "TimePoint_2")
    shutil.rmtree(htd.parent / "TimePoint_1" / "ZStep_3")
    with open_image(htd, "B03/1") as image:
        assert image.shape5 == (1, 2, 2, 6, 8)
        told = " ".join(image.warnings)
        np.testing.assert_array_equal(
            image.read(whole(image.shape5))[0, 1, 1], pixels_of(2, 3, 1, 1, 3, 2)
        )
    assert "2 time points, and 1" in told
    assert "3 Z steps, and 2" in told
    assert "2 Dye 2" in told


def test_what_was_never_planned_is_kept_and_told(tmp_path):
    htd = write_imagexpress(tmp_path / "p", waves=3, times=2)
    text = htd.read_text()
    for old, new in (
        ("FALSE, TRUE, TRUE, FALSE", "FALSE, TRUE, FALSE, FALSE"),
        ('ths", 3', 'ths", 2'),
    ):
        assert old in text
        text = text.replace(old, new)
    htd.write_text(text.replace('"TimePoints", 2', '"TimePoints", 1'))
    assert len(list_images(htd)) == 4
    with open_image(htd, "B03/2") as image:
        assert image.shape5 == (2, 3, 1, 6, 8)
        assert image.metadata.channel_names() == ["Dye 1", "Dye 2", "3"]
        found = image.read(whole(image.shape5))
        told = " ".join(image.warnings)
    np.testing.assert_array_equal(found[1, 2, 0], pixels_of(2, 3, 2, 2, 3, 1))
    assert "plans 1 time points, and 2" in told
    assert "does not name waves that are there: 3" in told


def test_a_gap_is_no_shorter_stack(tmp_path):
    htd = write_imagexpress(tmp_path / "p", steps=3)
    shutil.rmtree(htd.parent / "TimePoint_1" / "ZStep_2")
    with pytest.raises(InputError, match=r"gap in their Z steps.*no file of 2"):
        list_images(htd)


@pytest.mark.parametrize("text", ["", "text", '"XWells", 12\n"YWells", a', "\0\xff" * 300])
def test_an_index_that_is_damaged(tmp_path, text):
    htd = write_imagexpress(tmp_path / "p")
    whole_text = htd.read_text()
    htd.write_text(text or whole_text[: len(whole_text) // 2])
    with pytest.raises(InputError, match="damaged"):
        list_images(htd)


def test_an_index_without_planes(tmp_path):
    htd = write_imagexpress(tmp_path / "p")
    shutil.rmtree(htd.parent / "TimePoint_1")
    with pytest.raises(InputError, match="No images of the plate"):
        list_images(htd)


@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared/data")
def test_real_plates():
    """Bio-Formats gives other planes here: of Z steps that are not there, it takes the next."""
    one = SHARED / "9987_Plate_3420/9987.HTD"
    assert [entry.series for entry in list_images(one)] == ["B02/1"]
    many = SHARED / "9987_Plate_3434/9987.HTD"
    assert [entry.series for entry in list_images(many)] == ["B02/1", "B02/2", "B03/1", "B03/2"]
    with open_image(many, "B03/2") as image:
        assert image.shape5 == (1, 3, 2, 256, 256)
        assert (image.metadata.z_um, image.metadata.x_um) == (3.0, 1.3672)
        pixels = image.read(whole(image.shape5))
        for c, z in np.ndindex(3, 2):
            name = f"TimePoint_1/ZStep_{z + 1}/9987_B03_s2_w{c + 1}.TIF"
            with open_image(many.parent / name) as plane:
                expected = plane.read(whole(plane.shape5))
            np.testing.assert_array_equal(pixels[0, c, z], expected[0, 0, 0])
