"""In the place of ``omero import FILE``, for the test server: ``omero_import.py PORT import FILE``.

The TIFF goes with its pixels, in as many resolutions as it holds, to the administrator.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.omero.server.control import Control

__all__ = ["main"]


def main(argv: Sequence[str]) -> int:
    """Import one image of one plane; return the exit code."""
    port, command, file = argv[:3]
    if command != "import":
        return 2
    with tifffile.TiffFile(file) as tiff, tempfile.TemporaryDirectory() as folder:
        series = tiff.series[0]
        np.save(Path(folder) / "pixels.npy", series.asarray()[None, None, None])
        told = {"npy": f"{folder}/pixels.npy", "name": Path(file).name}
        told |= {"levels": len(series.levels)}
        files = [str(Path(file).absolute())]
        made = Control(int(port)).seed(
            "import", files=files, series=[told], user="root", group="system"
        )
    sys.stdout.write(f"Image:{made['images'][0]}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
