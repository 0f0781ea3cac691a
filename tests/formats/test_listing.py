"""Which files of a folder are listed: by their names, or else by their first bytes."""

import shutil

import numpy as np
import pytest

from dicom_files import item, write_dicom
from parfocal.core.step import Context
from parfocal.models.sheet import read_sheet
from parfocal.steps.list_images import ListImagesParams, run

PLANE = np.arange(20, dtype="uint16").reshape(1, 4, 5)


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def listed(data, tmp_path):
    context = Context(scratch=tmp_path)
    sheet = tmp_path / "sheet.tsv"
    run({}, {"sheet": sheet}, ListImagesParams(source=(str(data),)), context)
    return [row.name for row in read_sheet(sheet)], context.warnings


def test_dicom_without_a_suffix_is_known_by_its_first_bytes(data, tmp_path):
    write_dicom(data / "IM000001", PLANE)
    (data / "README").write_text("128 bytes of text and more, DICM among them. " * 20)
    names, warnings = listed(data, tmp_path)
    assert names == ["IM000001"]
    assert len(warnings) == 1
    assert warnings[0].startswith("1 file(s) that are not images were ignored")


def test_the_list_of_a_medium_is_no_image(data, tmp_path):
    path = write_dicom(data / "IM000001", PLANE)
    content = path.read_bytes()
    kind = b"1.2.840.10008.5.1.4.1.1.7.3\0"
    folder = content.replace(kind, b"1.2.840.10008.1.3.10".ljust(len(kind), b"\0"), 1)
    (data / "DICOMDIR").write_bytes(folder)
    assert folder != content
    names, warnings = listed(data, tmp_path)
    assert names == ["IM000001"]
    assert "DICOMDIR" in warnings[0]


def test_files_of_one_series_of_dicom_are_told(data, tmp_path):
    for number in range(5):
        write_dicom(data / f"slice{number}.dcm", PLANE, InstanceNumber=number + 1)
    write_dicom(data / "other.dcm", PLANE, SeriesInstanceUID="1.2.3")
    names, warnings = listed(data, tmp_path)
    assert len(names) == 6
    (told,) = warnings
    assert told.startswith("5 files of one series are images of their own")
    assert told.endswith("slice0.dcm, slice1.dcm, slice2.dcm and 2 more")


def test_stacks_of_one_series_are_not_told(data, tmp_path):
    stack = np.concatenate([PLANE, PLANE])
    positions = [item(PlanePositionSequence=[item(ImagePositionPatient=[0, 0, z])]) for z in (0, 1)]
    path = write_dicom(data / "a.dcm", stack, PerFrameFunctionalGroupsSequence=positions)
    shutil.copy(path, data / "b.dcm")
    assert listed(data, tmp_path) == (["a.dcm", "b.dcm"], [])
