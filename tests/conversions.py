"""Conversions of an OME-TIFF of two scenes, and their verification, as the engine does them."""

import numpy as np
import tifffile

from parfocal.engine.attempt import perform
from parfocal.engine.job import Job
from parfocal.steps.convert_image import STEP as CONVERT
from parfocal.steps.convert_image import ConvertImageParams
from parfocal.steps.verify_image import STEP as VERIFY
from parfocal.steps.verify_image import VerifyImageParams

SHAPE = (2, 2, 3, 70, 90)
DATA = np.random.default_rng(3).integers(1, 4000, (2, *SHAPE)).astype(np.uint16)
OME = {
    "axes": "TCZYX",
    "PhysicalSizeX": 0.5,
    "PhysicalSizeY": 0.5,
    "PhysicalSizeZ": 2.0,
    "TimeIncrement": 5.0,
    "Channel": {"Name": ["DNA", "RNA"], "Color": [-16776961, 16711935]},
}
FORMATS = {"ome.zarr": "i.ome.zarr", "ome.tiff": "i.ome.tiff"}


def write_two(path):
    """Write the OME-TIFF of two scenes of one size."""
    with tifffile.TiffWriter(path, ome=True) as writer:
        for scene in DATA:
            writer.write(scene, metadata=OME, photometric="minisblack")
    return path


def convert(folder, source, **params):
    """Convert as the engine does; return the error, or None."""
    params = {"series": "0", "chunk_px": 32} | params
    if params.get("all_series"):
        del params["series"]
    params = ConvertImageParams(**params)
    outputs = {"image": folder / FORMATS[params.format], "certificate": folder / "c.json"}
    job = Job(CONVERT, params, {"source": source}, outputs, "i", threads=2)
    return perform(job).error


def verify(folder, **inputs):
    outputs = {"verification": folder / "v.json"}
    job = Job(VERIFY, VerifyImageParams(), inputs, outputs, "i", threads=2, existing="replace")
    return perform(job).error
