"""Axes that the user states count for listing, converting and proving alike."""

import json

import h5py
import nibabel
import numpy as np
import pytest
import tifffile

from parfocal.core.blocks import whole
from parfocal.core.step import Context
from parfocal.errors import InputError
from parfocal.images import list_images, open_image
from parfocal.models.sheet import read_sheet
from parfocal.steps import convert_image
from parfocal.steps import list_images as list_step

PIXELS = np.arange(60, dtype="uint16").reshape(3, 4, 5)


@pytest.fixture
def datasets(tmp_path):
    """Two stacks that do not say what their axes are, a plane, and what no image can hold."""
    path = tmp_path / "two.h5"
    with h5py.File(path, "w") as file:
        file["complex"] = np.zeros((4, 5), "complex64")
        file["plane"] = PIXELS[0]
        file["raw"] = PIXELS
        file["seg/labels"] = PIXELS + 1
    return path


def convert(source, tmp_path, **params):
    number = len(list(tmp_path.iterdir()))
    outputs = {"image": tmp_path / f"{number}.zarr", "certificate": tmp_path / f"{number}.json"}
    context = Context(scratch=tmp_path)
    params = convert_image.ConvertImageParams(**params)
    convert_image.run({"source": source}, outputs, params, context)
    return outputs["image"], json.loads(outputs["certificate"].read_text())


def test_a_stack_in_hdf5_is_converted_with_the_stated_axes(tmp_path, datasets):
    for series, pixels in (("raw", PIXELS), ("seg/labels", PIXELS + 1)):
        result, certificate = convert(datasets, tmp_path, series=series, axes="ZYX")
        assert certificate["verdict"] != "different"
        with open_image(result) as image:
            assert image.metadata.axes == "ZYX"
            np.testing.assert_array_equal(image.read(whole(image.shape5))[0, 0], pixels)


def test_the_error_names_the_dataset_that_was_asked_for(tmp_path, datasets):
    with pytest.raises(InputError, match=r"dataset seg/labels; .*axes=ZYX"):
        convert(datasets, tmp_path, series="seg/labels")
    result, _ = convert(datasets, tmp_path, series="plane")
    assert open_image(result).shape5 == (1, 1, 1, 4, 5)


def test_all_series_need_axes_that_fit_each(tmp_path, datasets):
    with pytest.raises(InputError, match="dataset complex"):
        convert(datasets, tmp_path, all_series=True, axes="ZYX")
    with h5py.File(datasets, "r+") as file:
        del file["complex"], file["plane"]
    result, certificate = convert(datasets, tmp_path, all_series=True, axes="ZYX")
    assert certificate["verdict"] != "different"
    assert [one.metadata.axes for one in list_images(result)] == ["ZYX", "ZYX"]


def test_each_dataset_has_a_row_and_those_that_need_axes_are_told(tmp_path, datasets):
    context = Context(scratch=tmp_path)
    sheet = tmp_path / "sheet.tsv"
    params = list_step.ListImagesParams(source=(str(datasets),))
    list_step.run({}, {"sheet": sheet}, params, context)
    names = ["complex", "plane", "raw", "seg/labels"]
    assert [row.series for row in read_sheet(sheet)] == names
    told = [one for name in names for one in context.warnings if f"Image {name} of" in one]
    assert len(told) == len(context.warnings) == 3
    assert "axes=ZYX" in told[1]
    assert "axes=ZYX" in told[2]


def test_a_spectrum_of_nifti_is_converted_with_the_stated_axes(tmp_path):
    made = nibabel.Nifti1Image(PIXELS.reshape(5, 4, 1, 3), np.eye(4))
    made.header.set_intent("vector")
    made.header["xyzt_units"] = 32 | 2  # hertz
    path = tmp_path / "a.nii"
    nibabel.save(made, path)
    with pytest.raises(InputError, match="axes=CZYX"):
        list_images(path)
    (entry,) = list_images(path, axes="CYX")
    assert entry.metadata.axes == "CYX"
    result, certificate = convert(path, tmp_path, axes="CYX")
    assert certificate["verdict"] != "different"
    assert open_image(result).metadata.axes == "CYX"


def test_a_tiff_of_unknown_axes_is_converted_with_the_stated_ones(tmp_path):
    path = tmp_path / "a.tif"
    pixels = np.stack([PIXELS, PIXELS + 100])
    tifffile.imwrite(path, pixels, metadata={"axes": "RZYX"}, photometric="minisblack")
    with pytest.raises(InputError, match="axes"):
        list_images(path)
    result, certificate = convert(path, tmp_path, axes="CZYX")
    assert certificate["verdict"] != "different"
    with open_image(result) as image:
        assert image.metadata.axes == "CZYX"
        np.testing.assert_array_equal(image.read(whole(image.shape5))[0], pixels)
