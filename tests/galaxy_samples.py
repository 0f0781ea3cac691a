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

from galaxy_object_samples import OBJECT_FILES, OBJECT_FOLDERS, USED_FOR_OBJECTS
from galaxy_run_samples import RUN_FILES, USED_FOR_RUNS
from memory_images import MemoryImage
from parfocal.images import ZarrOptions, write_ome_zarr
from parfocal.models.image import Channel, ImageMetadata

__all__ = ["ODD_NAME", "sample_files", "zipped"]

TOOLS = Path(__file__).parents[1] / "galaxy_tools"
ODD_NAME = 'it\'s "GFP" & <more> $HOME `id`'
USED = {
    "filter_image": ("cells.ome.zarr.zip", "notes.zip"),
    **USED_FOR_OBJECTS,
    **USED_FOR_RUNS,
}
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


def _zipped_folder(make: Callable[[Path], Path]) -> bytes:
    """Return a zip file of the folder that is made in one that is thrown away."""
    with tempfile.TemporaryDirectory() as home:
        files = [file for file in make(Path(home)).rglob("*") if file.is_file()]
        return zipped({file.relative_to(home).as_posix(): file.read_bytes() for file in files})


def sample_files() -> dict[Path, bytes]:
    """Return what lies in the folders ``test-data`` of the tools."""
    made = {
        "cells.ome.zarr.zip": _zipped_folder(cells_zarr),
        "notes.zip": zipped({"notes/readme.txt": b"No image here.\n"}),
    }
    made |= {name: _zipped_folder(make) for name, make in OBJECT_FOLDERS.items()}
    made |= {name: make() for name, make in {**OBJECT_FILES, **RUN_FILES}.items()}
    places = {TOOLS / tool / "test-data" / name: name for tool in USED for name in USED[tool]}
    return {place: made[name] for place, name in places.items()}


if __name__ == "__main__":
    for target, content in sample_files().items():
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(content)
