"""The wells of a plate whose images are written into one result."""

import json
from pathlib import Path

import numpy as np
import ome_types
import pytest
import tifffile

from parfocal.core.step import Context
from parfocal.images import ImageEntry, ZarrOptions, list_images, open_image, write_ome_zarr
from parfocal.images.writers.ome_plate import ome_plate
from parfocal.images.writers.plate import PlateField, write_plate
from parfocal.models.image import ImageMetadata
from parfocal.steps.convert_image import STEP, ConvertImageParams

FLAT = ImageMetadata(name="", axes="YX", shape=(4, 4), dtype="uint8")


def entry(well, plate="p"):
    return ImageEntry(well, FLAT, plate=plate, well=well, field="0")


@pytest.fixture
def plate(tmp_path):
    """Write an OME-Zarr plate of wells A1 and B12."""
    fields = []
    for number, well in enumerate(("A1", "B12")):
        picture = tmp_path / f"{well}.tif"
        tifffile.imwrite(picture, np.full((20, 20), number, np.uint8))
        with open_image(picture) as image:
            path = tmp_path / f"{well}.ome.zarr"
            metadata = image.metadata.model_copy(update={"name": "0"})
            write_ome_zarr(path, metadata, image, ZarrOptions())
        fields.append(PlateField(path, well, "", well))
    target = tmp_path / "plate.ome.zarr"
    write_plate(target, "screen 7", fields, lambda done, total: None)
    return target


def test_an_ome_zarr_plate_lists_its_wells(plate):
    found = list_images(plate)
    assert [(one.series, one.plate, one.well, one.field) for one in found] == [
        ("A/1/0", "screen 7", "A1", "0"),
        ("B/12/0", "screen 7", "B12", "0"),
    ]
    assert [one.metadata.name for one in found] == ["A/1/0", "B/12/0"]


@pytest.mark.parametrize("kind", ["ome.zarr", "ome.tiff"])
def test_wells_are_told_by_what_is_written(tmp_path, plate, kind):
    outputs = {"image": tmp_path / f"all.{kind}", "certificate": tmp_path / "c.json"}
    params = ConvertImageParams(all_series=True, format=kind)
    STEP.run({"source": plate}, outputs, params, Context(scratch=tmp_path))
    assert json.loads(outputs["certificate"].read_text())["verdict"] != "different"
    path = outputs["image"]
    if kind == "ome.zarr":
        text = Path(path / "OME" / "METADATA.ome.xml").read_text(encoding="utf-8")
    else:
        with tifffile.TiffFile(path) as file:
            text = file.ome_metadata
    described = ome_types.from_xml(text)
    assert [image.name for image in described.images] == ["A/1/0", "B/12/0"]
    (found,) = described.plates
    assert (found.name, found.rows, found.columns) == ("screen 7", 2, 12)
    wells = [(well.row, well.column, well.well_samples[0].image_ref.id) for well in found.wells]
    assert wells == [(0, 0, "Image:0"), (1, 11, "Image:1")]


def test_rows_after_z_and_several_fields():
    found = ome_plate([entry("AA3"), entry("A1"), entry("AA03")])
    assert (found.rows, found.columns) == (27, 3)
    assert [(well.row, well.column, well.images) for well in found.wells] == [
        (0, 0, (1,)),
        (26, 2, (0, 2)),
    ]


@pytest.mark.parametrize(
    "entries", [[entry("")], [entry("A1"), entry("A2", "q")], [entry("first")]]
)
def test_no_plate(entries):
    assert ome_plate(entries) is None
