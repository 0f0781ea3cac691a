"""The test data of the tools for Galaxy: ``python tests/galaxy_samples.py``.

Each file is tiny, the same bytes each time, and lies in ``test-data`` of every tool that uses it.
"""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from galaxy_annotation_samples import ANNOTATION_FILES, USED_FOR_ANNOTATIONS
from galaxy_conversions import CONVERSION_FILES, CONVERSION_FOLDERS, USED_FOR_CONVERSIONS
from galaxy_object_samples import OBJECT_FILES, OBJECT_FOLDERS, USED_FOR_OBJECTS
from galaxy_plate_samples import PLATE_FILES, PLATE_FOLDERS, USED_FOR_PLATES
from galaxy_run_samples import RUN_FILES, USED_FOR_RUNS
from memory_images import MemoryImage, save
from parfocal.images import ZarrOptions, write_ome_zarr
from parfocal.models.image import Channel, ImageMetadata

__all__ = ["ODD_NAME", "cells", "sample_files", "zipped"]

ROOT = Path(__file__).parents[1]
TOOLS, WORKFLOWS = ROOT / "galaxy_tools", ROOT / "workflows"
ODD_NAME = 'it\'s "GFP" & <more> $HOME `id`'
USED = {
    "filter_image": ("cells.ome.zarr.zip", "notes.zip"),
    "project_image": ("stack.ome.zarr.zip", "pixels.zarr.zip"),
    "assess_quality": ("stack.ome.zarr.zip", "pixels.zarr.zip"),
    "correct_illumination": ("shaded.ome.zarr.zip", "flat.tif", "notes.txt"),
    **USED_FOR_CONVERSIONS,
    **USED_FOR_OBJECTS,
    **USED_FOR_RUNS,
    **USED_FOR_PLATES,
    **USED_FOR_ANNOTATIONS,
}
USED_BY_WORKFLOWS = {"analyse_images": ("cells.ome.zarr.zip", "cells.tif", "samples.tsv")}
_EPOCH = (1980, 1, 1, 0, 0, 0)


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Return a zip file of some files, the same bytes for the same files."""
    pack = io.BytesIO()
    with zipfile.ZipFile(pack, "w", zipfile.ZIP_STORED) as out:
        for name in sorted(files):
            out.writestr(zipfile.ZipInfo(name, _EPOCH), files[name])
    return pack.getvalue()


def cells() -> MemoryImage:
    """Return six bright discs on an uneven background, in two channels (1, 2, 1, 32, 40) uint16."""
    y, x = np.mgrid[:32, :40]
    background = 100 + 2 * x + y
    discs = sum(
        800 * ((y - row) ** 2 + (x - column) ** 2 <= 16)
        for row in (8, 22)
        for column in (7, 20, 33)
    )
    pixels = np.stack([background + discs, background + discs // 4])
    return MemoryImage(pixels[None, :, None].astype(np.uint16))


def cells_zarr(folder: Path) -> Path:
    """Write the image of `cells` as an OME-Zarr, of which one channel has an odd name."""
    path = folder / "cells.ome.zarr"
    metadata = ImageMetadata(
        name="cells",
        axes="CYX",
        shape=(2, 32, 40),
        dtype="uint16",
        y_um=0.5,
        x_um=0.5,
        channels=(Channel(name="DAPI", color="0000FF"), Channel(name=ODD_NAME, color="00FF00")),
    )
    write_ome_zarr(path, metadata, cells(), ZarrOptions(codec="none"))
    return path


def cells_tiff() -> bytes:
    """Return the image of `cells` as a TIFF of ImageJ."""
    file = io.BytesIO()
    described = {"axes": "CYX", "unit": "um"}
    tifffile.imwrite(
        file, cells().pixels[0, :, 0], imagej=True, resolution=(2.0, 2.0), metadata=described
    )
    return file.getvalue()


def sheet() -> bytes:
    """Return a sample sheet of two images of the workflow's test."""
    return b"image_id\tname\tsource\ncells\tCells\tcells.tif\npacked\tCells\tcells.ome.zarr.zip\n"


def stack_zarr(folder: Path) -> Path:
    """Write an OME-Zarr (Z, Y, X) uint16 whose four planes are 10, 40, 20 and 90 everywhere."""
    planes = np.array([10, 40, 20, 90], np.uint16)[:, None, None]
    pixels = np.broadcast_to(planes, (4, 16, 24))
    options = ZarrOptions(codec="none")
    return save(folder / "stack.ome.zarr", pixels, "ZYX", options=options, z_um=2.0)


def pixels_zarr(folder: Path) -> Path:
    """Write a Zarr group with an array of pixels that nothing describes as an image."""
    path = stack_zarr(folder).rename(folder / "pixels.zarr")
    (path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    return path


def _light() -> NDArray[np.uint16]:
    """Return light (32, 40) that is 154.5 on average, and brightest in a corner."""
    y, x = np.mgrid[:32, :40]
    return np.asarray(100 + 2 * x + y, np.uint16)


def shaded_zarr(folder: Path) -> Path:
    """Write an OME-Zarr (Y, X) uint16 that is ten times the light of `flat_tiff`."""
    options = ZarrOptions(codec="none")
    return save(folder / "shaded.ome.zarr", 10 * _light(), "YX", options=options)


def flat_tiff() -> bytes:
    """Return a TIFF of what is equally bright everywhere."""
    file = io.BytesIO()
    tifffile.imwrite(file, _light(), metadata=None, software=False)
    return file.getvalue()


def _zipped_folder(make: Callable[[Path], Path]) -> bytes:
    """Return a zip file of the folder that is made in one that is thrown away."""
    with tempfile.TemporaryDirectory() as home:
        files = [file for file in make(Path(home)).rglob("*") if file.is_file()]
        return zipped({file.relative_to(home).as_posix(): file.read_bytes() for file in files})


def sample_files() -> dict[Path, bytes]:
    """Return what lies in the folders ``test-data`` of the tools and workflows."""
    made = {
        "cells.ome.zarr.zip": _zipped_folder(cells_zarr),
        "cells.tif": cells_tiff(),
        "flat.tif": flat_tiff(),
        "notes.txt": b"No image here.\n",
        "notes.zip": zipped({"notes/readme.txt": b"No image here.\n"}),
        "pixels.zarr.zip": _zipped_folder(pixels_zarr),
        "samples.tsv": sheet(),
        "shaded.ome.zarr.zip": _zipped_folder(shaded_zarr),
        "stack.ome.zarr.zip": _zipped_folder(stack_zarr),
    }
    made |= {
        name: _zipped_folder(make)
        for name, make in {**OBJECT_FOLDERS, **CONVERSION_FOLDERS, **PLATE_FOLDERS}.items()
    }
    files = {**OBJECT_FILES, **RUN_FILES, **CONVERSION_FILES, **PLATE_FILES, **ANNOTATION_FILES}
    made |= {name: make() for name, make in files.items()}
    users = ((TOOLS, USED), (WORKFLOWS, USED_BY_WORKFLOWS))
    return {
        folder / user / "test-data" / name: made[name]
        for folder, used in users
        for user in used
        for name in used[user]
    }


if __name__ == "__main__":
    for target, content in sample_files().items():
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(content)
