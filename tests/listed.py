"""Images to list, and the step list-images on them."""

import json

import numpy as np
import tifffile

from parfocal.core.step import Context
from parfocal.models.sheet import read_sheet
from parfocal.steps.list_images import STEP, ListImagesParams

__all__ = ["PIXELS", "ids", "run", "tiff", "zarr", "zarr_image"]

PIXELS = np.arange(12, dtype=np.uint8).reshape(3, 4)


def tiff(path, series=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tifffile.TiffWriter(path, ome=series > 1) as writer:
        for number in range(series):
            metadata = {"Name": f"scene\t{number}"} if series > 1 else None
            writer.write(PIXELS, photometric="minisblack", metadata=metadata)


def zarr(path, attributes):
    path.mkdir(parents=True)
    (path / ".zgroup").write_text('{"zarr_format": 2}')
    (path / ".zattrs").write_text(json.dumps(attributes))


def zarr_image(path):
    axes = [{"name": name, "type": "space"} for name in "yx"]
    transform = [{"type": "scale", "scale": [1.0, 1.0]}]
    datasets = [{"path": "0", "coordinateTransformations": transform}]
    zarr(path, {"multiscales": [{"version": "0.4", "axes": axes, "datasets": datasets}]})
    array = {"zarr_format": 2, "shape": [3, 4], "chunks": [3, 4], "dtype": "|u1", "order": "C"}
    array |= {"compressor": None, "fill_value": 0, "filters": None}
    (path / "0").mkdir()
    (path / "0" / ".zarray").write_text(json.dumps(array))
    (path / "0" / "0.0").write_bytes(PIXELS.tobytes())


def run(tmp_path, *source, **options):
    context = Context(scratch=tmp_path)
    sheet = tmp_path / "out.tsv"
    STEP.run({}, {"sheet": sheet}, ListImagesParams(source=source, **options), context)
    return read_sheet(sheet), context


def ids(rows):
    return [row.image_id for row in rows]
