"""In the place of programs that import files, for the test server.

``omero_import.py PORT import FILE ...`` is called as ``omero import FILE ...``, and
``omero_import.py PORT ... CLASS ... FILE`` as ``java ... CLASS ... FILE`` by omero-py, where CLASS
is the importer of OMERO. The file goes with its pixels to the administrator: a TIFF in as many
resolutions as it holds, and the files that belong to a VSI as blank images, since only Bio-Formats
reads them.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.omero.server.control import Control

__all__ = ["JAVA_IMPORTER", "main"]

JAVA_IMPORTER = "ome.formats.importer.cli.CommandLineImporter"
BLANK_PX = 16


def main(argv: Sequence[str]) -> int:
    """Import one file; return the exit code."""
    port, *told = argv
    if told == ["-version"]:  # as omero-py asks before it imports
        return 0
    if told[0] == "import":
        made = _import(int(port), Path(told[1]))
        sys.stdout.write(f"Image:{made['images'][0]}\n")
        return 0
    if JAVA_IMPORTER not in told:
        return 2
    made = _import(int(port), Path(told[-1]))
    sys.stdout.write(f"- Fileset: {made['fileset']}\n  Image: {made['images']}\n")
    return 0


def _import(port: int, file: Path) -> dict[str, Any]:
    file = file.absolute()
    beside = sorted(file.with_name(f"_{file.stem}_").rglob("*.ets"))
    with tifffile.TiffFile(file) as tiff:
        images = [(_five(one.asarray()), len(one.levels)) for one in tiff.series]
    images += [(np.zeros((1, 1, 1, BLANK_PX, BLANK_PX), "u1"), 1) for _ in beside]
    with tempfile.TemporaryDirectory() as folder:
        series = []
        for number, (pixels, levels) in enumerate(images):
            path = Path(folder) / f"{number}.npy"
            np.save(path, pixels)
            name = file.name if len(images) == 1 else f"{file.name} [{number}]"
            series.append({"npy": str(path), "name": name, "levels": levels})
        files = [str(one) for one in (file, *beside)]
        made: dict[str, Any] = Control(port).seed(
            "import", files=files, series=series, user="root", group="system"
        )
    return made


def _five(pixels: np.ndarray) -> np.ndarray:
    """Return a plane (Y, X), or one of colours (Y, X, S), as (T, C, Z, Y, X)."""
    planes = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    return planes[None, :, None]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
