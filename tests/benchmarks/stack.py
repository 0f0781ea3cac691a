"""A generated fluorescence stack: blobs, uneven background, shot and read noise, 16 bit.

``python -m tests.benchmarks.stack OUT.ome.tif Z Y X`` writes (T1, C3, Z, Y, X) plane by plane,
in memory that does not grow with Z.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray


def planes(depth: int, height: int, width: int, seed: int = 0) -> Iterator[NDArray[np.uint16]]:
    """Yield the planes (Y, X) of three channels, C slowest."""
    rng = np.random.default_rng(seed)
    y, x = np.ogrid[0:height, 0:width]
    middle = ((y - height / 2) ** 2 + (x - width / 2) ** 2) / (2 * (0.4 * height) ** 2)
    background = (100 + 60 * np.exp(-middle)).astype(np.float32)
    count = max(1, depth * height * width // 112_000)
    for channel in range(3):
        centre = rng.uniform(0, 1, (count, 3)) * (depth, height, width)
        size = rng.uniform(6, 14, count) * (1 + 0.3 * channel)
        peak = rng.gamma(3, 400, count)
        for plane in range(depth):
            signal = background.copy()
            for index in np.flatnonzero(np.abs(centre[:, 0] - plane) < size):
                _add_blob(signal, centre[index], size[index], peak[index], plane)
            noise = rng.standard_normal(signal.shape, dtype=np.float32)
            noisy = signal + np.sqrt(signal / 2) * noise
            yield np.clip(np.rint(noisy), 0, 65535).astype(np.uint16)


def _add_blob(
    signal: NDArray[np.float32],
    centre: NDArray[np.float64],
    size: float,
    peak: float,
    plane: int,
) -> None:
    z, cy, cx = centre
    y0, y1 = max(0, int(cy - 3 * size)), min(signal.shape[0], int(cy + 3 * size) + 1)
    x0, x1 = max(0, int(cx - 3 * size)), min(signal.shape[1], int(cx + 3 * size) + 1)
    along_y = np.exp(-0.5 * ((np.arange(y0, y1) - cy) / size) ** 2)
    along_x = np.exp(-0.5 * ((np.arange(x0, x1) - cx) / size) ** 2)
    amplitude = peak * np.exp(-0.5 * ((plane - z) / (size / 3)) ** 2)
    signal[y0:y1, x0:x1] += (amplitude * along_y[:, None] * along_x).astype(np.float32)


def write_stack(path: Path, depth: int, height: int, width: int) -> None:
    """Write the stack as an OME-TIFF with pixel sizes of 0.6, 0.2 and 0.2 micrometres."""
    metadata = {
        "axes": "TCZYX",
        "PhysicalSizeX": 0.2,
        "PhysicalSizeY": 0.2,
        "PhysicalSizeZ": 0.6,
        "Channel": {"Name": ["DAPI", "GFP", "RFP"]},
    }
    tifffile.imwrite(
        path,
        planes(depth, height, width),
        shape=(1, 3, depth, height, width),
        dtype=np.uint16,
        metadata=metadata,
        photometric="minisblack",
        bigtiff=True,
    )


if __name__ == "__main__":
    write_stack(Path(sys.argv[1]), *(int(size) for size in sys.argv[2:5]))
