"""CZI files written with libCZI, and changed afterwards."""

from __future__ import annotations

import re
import struct

import imagecodecs
import numpy as np
from pylibCZIrw import czi

from parfocal.core.blocks import whole
from parfocal.images.opening import open_image

__all__ = [
    "change",
    "compress_jpeg_xr",
    "entry",
    "image_of",
    "mosaic",
    "noise",
    "read",
    "write_czi",
]


def noise(shape, dtype="uint16", seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(1, 250, shape).astype(dtype)


def write_czi(path, planes, *, metadata=None, compression=None):
    """Write tiles: a list of (pixels, location, plane, scene); return the path."""
    with czi.create_czi(str(path), compression_options=compression) as writer:
        for pixels, location, plane, scene in planes:
            stored = pixels[..., np.newaxis] if pixels.ndim == 2 else pixels[..., ::-1]
            writer.write(stored, location=location, plane=plane, scene=scene)
        if metadata is not None:
            writer.write_metadata(**metadata)
    return path


def image_of(tczyx):
    """Return an image (T, C, Z, Y, X) as tiles of one scene."""
    sizes = tczyx.shape[:3]
    return [(tczyx[t, c, z], (0, 0), {"T": t, "C": c, "Z": z}, 0) for t, c, z in np.ndindex(*sizes)]


def read(path, series="0"):
    with open_image(path, series) as image:
        return image.read(whole(image.shape5))


def mosaic(path, *, overlap=4, hole=False):
    """Write 2 x 3 tiles at negative places in each of 2 channels; return what they make up."""
    step_y, step_x, origin = 20 - overlap, 30 - overlap, (-100, -37)
    whole_image = np.zeros((2, step_y + 20, 2 * step_x + 30), np.uint16)
    tiles = []
    for c in range(2):
        for number, (i, j) in enumerate(np.ndindex(2, 3)):
            if hole and (i, j) == (0, 1):
                continue
            pixels = noise((20, 30), np.uint16, seed=10 * c + number)
            y, x = i * step_y, j * step_x
            whole_image[c, y : y + 20, x : x + 30] = pixels
            tiles.append((pixels, (origin[0] + x, origin[1] + y), {"C": c}, 0))
    write_czi(path, tiles)
    return whole_image


def entry(dimension, start, size, stored):
    """Return the entry of a dimension of a tile: name, start, size, start in um, stored size."""
    return struct.pack("<4siifi", dimension.encode(), start, size, 0.0, stored)


def change(path, old, new):
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))


def compress_jpeg_xr(path, pixels):
    """Make the one uncompressed tile of a file, `pixels`, a tile of JPEG XR, padded with zeros."""
    content = path.read_bytes()
    coded = imagecodecs.jpegxr_encode(pixels, level=1.0)
    assert content.count(pixels.tobytes()) == 1
    assert len(coded) < pixels.nbytes
    content = content.replace(pixels.tobytes(), coded.ljust(pixels.nbytes, b"\0"))
    # Source: Zeiss, ZISRAW (CZI) file format, DirectoryEntryDV: the compression lies at 18.
    for found in list(re.finditer(b"DV.\0\0\0", content)):
        at = found.start() + 18
        assert content[at : at + 4] == bytes(4)
        content = content[:at] + struct.pack("<i", 4) + content[at + 4 :]
    path.write_bytes(content)
