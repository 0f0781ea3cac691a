"""Open OME-Zarrs by the reader of napari and print their layers as JSON.

A program of its own: importing napari warns, and sets up much that other tests do not want.
"""

from __future__ import annotations

import hashlib
import json
import sys

import numpy as np


def layers(path: str) -> list[dict[str, object]]:
    """Describe what the reader returns for `path`."""
    from napari_ome_zarr import napari_get_reader

    found = []
    for levels, about, kind in napari_get_reader(path)(path):
        pixels = np.ascontiguousarray(levels[0])
        found.append(
            {
                "kind": kind,
                "shapes": [level.shape for level in levels],
                "dtype": pixels.dtype.name,
                "sha256": hashlib.sha256(pixels.tobytes()).hexdigest(),
                "scale": list(about["scale"]),
                "name": about.get("name"),
                "channel_axis": about.get("channel_axis"),
            }
        )
    return found


sys.stdout.write("\n" + json.dumps({path: layers(path) for path in sys.argv[1:]}))
