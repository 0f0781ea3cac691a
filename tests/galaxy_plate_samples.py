"""The test data of the tool that joins fields in a plate: two images, their records and sheets."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from crate_records import record
from galaxy_run_samples import as_json
from memory_images import save
from parfocal.core.digest import digest_path, size_of
from parfocal.images import ZarrOptions
from parfocal.models.record import Artifact, Engine

__all__ = ["PLATE_FILES", "PLATE_FOLDERS", "USED_FOR_PLATES"]

FIELDS = {"a1": 10, "b2": 20}
"""What each pixel of an image is."""
USED_FOR_PLATES: Mapping[str, tuple[str, ...]] = {
    "assemble_plate": (
        *(f"{name}.ome.zarr.zip" for name in FIELDS),
        *(f"{name}.convert.record.json" for name in FIELDS),
        "plates.tsv",
        "two-plates.tsv",
    )
}


def field_zarr(name: str, folder: Path) -> Path:
    """Write an OME-Zarr (Y, X) uint16 of one value."""
    pixels = np.full((8, 12), FIELDS[name], np.uint16)
    options = ZarrOptions(codec="none")
    return save(folder / f"{name}.ome.zarr", pixels, "YX", options=options, y_um=0.5, x_um=0.5)


def _record(name: str) -> bytes:
    """Return the record of a job that converted such an image."""
    with tempfile.TemporaryDirectory() as home:
        image = field_zarr(name, Path(home))
        made = Artifact(
            role="image",
            kind="ome-zarr",
            uri=f"/jobs/{name}/working/image.ome.zarr",
            size_bytes=size_of(image),
            digest=digest_path(image),
        )
    engine = Engine(name="galaxy", job_id=name)
    minute = list(FIELDS).index(name)
    options = {"format": "ome.zarr"}
    changes = {"outputs": (made,), "parameters": options, "engine": engine}
    return as_json(record("convert-image", name, minute, **changes))


def _sheet(plates: Mapping[str, str]) -> bytes:
    """Return a sample sheet, given the plate of each well."""
    rows = [f"{w.lower()}\t{w}\t{w.lower()}.tif\t{plate}\t{w}\n" for w, plate in plates.items()]
    return ("image_id\tname\tsource\tplate\twell\n" + "".join(rows)).encode()


PLATE_FOLDERS: Mapping[str, Callable[[Path], Path]] = {
    f"{name}.ome.zarr.zip": partial(field_zarr, name) for name in FIELDS
}
PLATE_FILES: Mapping[str, Callable[[], bytes]] = {
    "plates.tsv": partial(_sheet, {"A1": "P 1", "B2": "P 1"}),
    "two-plates.tsv": partial(_sheet, {"A1": "P 1", "B2": 'it\'s "P" 2'}),
    **{f"{name}.convert.record.json": partial(_record, name) for name in FIELDS},
}
