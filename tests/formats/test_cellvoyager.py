"""Plates of Yokogawa CellVoyager, whole and not."""

from __future__ import annotations

import pytest

from parfocal.errors import InputError
from parfocal.images import list_images, open_image, other_files
from plate_checks import assert_fails, assert_pixels, assert_problems_are_told
from plate_files import write_cellvoyager


def edit(path, *pairs):
    text = path.read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


@pytest.mark.parametrize(("times", "channels", "planes"), [(1, 2, 1), (2, 3, 2), (1, 2, 3)])
def test_pixels(tmp_path, times, channels, planes):
    index = write_cellvoyager(tmp_path, times=times, channels=channels, planes=planes)
    assert_pixels(index, "Plate one")


def test_agrees_with_bio_formats(tmp_path, assert_same_as_bio_formats):
    write_cellvoyager(tmp_path, times=2, channels=3, planes=3)
    # Bio-Formats says where each plane was and when, not how far they are apart; it numbers
    # channels, of which the settings have names.
    explained = ("z_um", "time_increment_s", "channels")
    assert_same_as_bio_formats(tmp_path / "P.wpi", explained=explained)


def test_metadata(tmp_path):
    index = write_cellvoyager(tmp_path, times=2)
    with open_image(index, "B03/2") as image:
        metadata = image.metadata
        names = ["P.wpi", "MeasurementDetail.mrf", "s.mes", "MeasurementData.mlf"]
        assert set(image.original_metadata) == set(names)
        assert image.original_metadata["P.wpi"] == (tmp_path / "P.wpi").read_bytes()
    assert (metadata.z_um, metadata.y_um, metadata.x_um) == (3, 0.325, 0.325)
    assert metadata.time_increment_s == 60
    assert (metadata.stage_z_um, metadata.stage_y_um, metadata.stage_x_um) == (3, -50, 200)
    first, second = metadata.channels
    assert (first.name, first.color, first.excitation_nm) == ("Dye 1", "00FF01", 401)
    assert (second.name, second.color, second.excitation_nm) == ("Dye 2", "00FF02", 402)


def test_the_plate_file_leads_to_the_same(tmp_path):
    index = write_cellvoyager(tmp_path)
    plate = tmp_path / "P.wpi"
    assert list_images(plate) == list_images(index)
    assert index in other_files(plate)
    assert plate in other_files(index)
    (tmp_path / "DC_camera.tif").write_bytes(b"dark")
    assert tmp_path / "DC_camera.tif" in other_files(index)
    index.unlink()
    with pytest.raises(InputError, match="no index"):
        list_images(plate)


def test_without_the_other_files_it_is_read_with_a_warning(tmp_path):
    index = write_cellvoyager(tmp_path)
    for name in ("MeasurementDetail.mrf", "s.mes", "P.wpi"):
        (tmp_path / name).unlink()
    with open_image(index, "B02/1") as image:
        assert image.metadata.x_um is None
        assert [one.name for one in image.metadata.channels] == [None, None]
        assert "size of pixels" in image.warnings[0]


def test_problems_are_told(tmp_path):
    index = write_cellvoyager(tmp_path)
    file = tmp_path / "P_B03_T0001F002L01A02Z02C02.tif"
    assert_problems_are_told(index, file, "B03", "field 2", "channel Dye 2", "plane 2")


def test_a_plane_that_is_there_twice(tmp_path):
    index = write_cellvoyager(tmp_path)
    text = index.read_text()
    lines = text.splitlines(keepends=True)
    line = next(one for one in lines if "P_B03_T0001F002L01A02Z02C02.tif" in one)
    index.write_text(text.replace(line, line + line))
    assert_fails(index, "B03/2", "twice", "P_B03_T0001F002L01A02Z02C02.tif")


def test_an_error_in_place_of_a_plane(tmp_path):
    index = write_cellvoyager(tmp_path)
    name = "P_B03_T0001F002L01A02Z02C02.tif"
    edit(index, (f'bts:Type="IMG">{name}', 'bts:Type="ERR">no focus'))
    assert_fails(index, "B03/2", "missing", "field 2", "Dye 2", "plane 2")
    with open_image(index, "B02/1") as image:
        assert image.warnings == ("MeasurementData.mlf tells 1 errors, the first: no focus",)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("MeasurementData.mlf", "</bts:MeasurementData>", ""),
        ("MeasurementData.mlf", "bts:MeasurementData ", "bts:Other "),
        ("MeasurementData.mlf", 'bts:Row="2"', 'bts:Row="B"'),
        ("MeasurementData.mlf", 'bts:Row="2"', 'bts:Row="-2"'),
        ("MeasurementData.mlf", 'bts:Ch="2"', ""),
        ("MeasurementData.mlf", "P_B03_T0001F002L01A02Z02C02.tif", ""),
        ("MeasurementDetail.mrf", "</bts:MeasurementDetail>", ""),
        ("s.mes", "<bts:ChannelList>", "<"),
    ],
)
def test_an_index_that_is_damaged(tmp_path, name, old, new):
    index = write_cellvoyager(tmp_path)
    edit(tmp_path / name, (old, new))
    with pytest.raises(InputError, match="damaged, or of an unknown kind"):
        list_images(index)
