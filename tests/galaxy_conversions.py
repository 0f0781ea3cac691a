"""Test data of the tools for Galaxy that convert images, and of those that check them."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile

from ome_tiff_set import write_set
from parfocal.engine import run_step
from parfocal.steps.convert_image import STEP

__all__ = ["CONVERSION_FILES", "CONVERSION_FOLDERS", "USED_FOR_CONVERSIONS"]

USED_FOR_CONVERSIONS = {
    "convert_image": ("stack.tif", "set.zip", "brain.nii.gz", "notes.txt", "notes.zip"),
    "verify_image": (
        "stack.tif",
        "converted.ome.zarr.zip",
        "spoilt.ome.zarr.zip",
        "certificate.json",
    ),
}


def stack_tiff() -> bytes:
    """Return a TIFF of ImageJ (Z, Y, X) uint16 of 4 planes, 0.5 um a pixel and 2 um apart."""
    file = io.BytesIO()
    pixels = np.arange(4 * 16 * 24, dtype=np.uint16).reshape(4, 16, 24)
    described = {"axes": "ZYX", "spacing": 2.0, "unit": "um"}
    tifffile.imwrite(file, pixels, imagej=True, resolution=(2.0, 2.0), metadata=described)
    return file.getvalue()


def _convert(folder: Path) -> tuple[Path, Path]:
    """Convert the image of `stack_tiff`; return the OME-Zarr and its certificate."""
    source = folder / "stack.tif"
    source.write_bytes(stack_tiff())
    outputs = {"image": folder / "image.ome.zarr", "certificate": folder / "certificate.json"}
    run_step(STEP, {"source": source}, outputs, {"codec": "none"})
    return outputs["image"], outputs["certificate"]


def converted(folder: Path) -> Path:
    """Convert the image of `stack_tiff` to OME-Zarr in an empty folder, and leave that alone."""
    with tempfile.TemporaryDirectory() as home:
        image, _ = _convert(Path(home))
        return Path(shutil.move(image, folder / "converted.ome.zarr"))


def spoilt(folder: Path) -> Path:
    """Make the image of `converted` with a pixel that is another."""
    path = converted(folder).rename(folder / "spoilt.ome.zarr")
    (chunk,) = (file for file in (path / "0").rglob("*") if file.is_file() and file.suffix == "")
    content = bytearray(chunk.read_bytes())
    content[100] ^= 1
    chunk.write_bytes(content)
    return path


def certificate() -> bytes:
    """Return the certificate of `converted`, without the versions of the libraries at hand."""
    with tempfile.TemporaryDirectory() as home:
        _, path = _convert(Path(home))
        told = json.loads(path.read_bytes())
    for side in ("source", "result"):
        told[side]["version"] = "1"
    return (json.dumps(told, indent=1) + "\n").encode()


def brain() -> bytes:
    """Return a NIfTI-1 (X, Y, Z) int16 of 6 by 5 by 3 voxels of 1 mm, packed by gzip."""
    sizes = struct.pack("<8h", 3, 6, 5, 3, 1, 1, 1, 1)
    kind = struct.pack("<2h", 4, 16)
    spacing = struct.pack("<8f", *[1.0] * 8)
    header = bytearray(352)
    header[:4] = struct.pack("<i", 348)
    header[40:56], header[70:74], header[76:108] = sizes, kind, spacing
    header[108:112], header[123:124], header[344:348] = struct.pack("<f", 352), b"\x02", b"n+1\0"
    pixels = np.arange(6 * 5 * 3, dtype="<i2")
    return gzip.compress(bytes(header) + pixels.tobytes(), compresslevel=0, mtime=0)


def set_of_files(folder: Path) -> Path:
    """Write an OME-TIFF of two planes, 1 and 2 everywhere, in two files that name each other."""
    home = folder / "set"
    home.mkdir()
    write_set(home)
    return home


CONVERSION_FILES: dict[str, Callable[[], bytes]] = {
    "brain.nii.gz": brain,
    "certificate.json": certificate,
    "stack.tif": stack_tiff,
}
CONVERSION_FOLDERS: dict[str, Callable[[Path], Path]] = {
    "converted.ome.zarr.zip": converted,
    "set.zip": set_of_files,
    "spoilt.ome.zarr.zip": spoilt,
}
