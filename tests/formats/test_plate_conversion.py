"""Fields of plates are converted, and proven by another library."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

from parfocal.core.blocks import whole
from parfocal.core.step import Context
from parfocal.images import open_image
from parfocal.steps.convert_image import STEP, ConvertImageParams
from plate_files import write_cellvoyager, write_harmony, write_imagexpress


def write_files(folder):
    for z in range(3):
        tifffile.imwrite(folder / f"B3_f2_{z}.tif", np.full((6, 8), 7 * z, np.uint8))
    path = folder / "a.fileset.yaml"
    path.write_text('pattern: "{well}_f{field}_{z}.tif"\nx_um: 0.5\n')
    return path


@pytest.mark.parametrize(
    "write", [write_imagexpress, write_harmony, write_cellvoyager, write_files]
)
def test_a_field_is_verified(tmp_path, write):
    (tmp_path / "plate").mkdir()
    index = write(tmp_path / "plate")
    outputs = {"image": tmp_path / "a.ome.zarr", "certificate": tmp_path / "a.json"}
    params = ConvertImageParams(series="B03/2")
    STEP.run({"source": index}, outputs, params, Context(scratch=tmp_path))
    certificate = json.loads(outputs["certificate"].read_text())
    assert certificate["verdict"] == "verified"
    assert certificate["source"]["reader"] == "Pillow"
    with open_image(index, "B03/2") as source, open_image(outputs["image"]) as result:
        assert result.metadata.x_um == source.metadata.x_um is not None
        assert result.metadata.stage_x_um == source.metadata.stage_x_um
        pixels = source.read(whole(source.shape5))
        np.testing.assert_array_equal(result.read(whole(result.shape5)), pixels)
