"""A small slide as Aperio's scanners write them: a scan, and three pictures of the slide."""

from pathlib import Path

import numpy as np
import tifffile


def write_slide(path: Path, size: str = "MPP = 0.4990") -> Path:
    """Write a scan of 96 x 128 pixels, a thumbnail, a label and a macro picture."""
    text = "Aperio Image Library v11.2.1 \r\n128x96 (16x16) JPEG/RGB Q=30"
    scan = np.random.default_rng(1).integers(0, 255, (96, 128, 3)).astype(np.uint8)
    fields = f"{text}|AppMag = 20|{size}|Left = 25.69"
    with tifffile.TiffWriter(path) as writer:
        options = {"photometric": "rgb", "metadata": None}
        writer.write(scan, tile=(16, 16), description=fields, **options)
        writer.write(scan[::4, ::4], description=fields, **options)
        writer.write(scan[:20, :10], subfiletype=1, description=f"{text} label", **options)
        writer.write(scan[:20, :50], subfiletype=9, description=f"{text} macro", **options)
    return path
