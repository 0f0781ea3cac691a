"""Decode single frames of compressed DICOM files."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["decode_frame", "is_lossy"]

_PREFIX = "1.2.840.10008.1.2."
_JPEG = ("4.50", "4.51", "4.57", "4.70")
_JPEG_LS = ("4.80", "4.81")
_JPEG_2000 = ("4.90", "4.91", "4.201", "4.202", "4.203")
_RLE = "5"
_LOSSY = ("4.50", "4.51", "4.81", "4.91", "4.203")


def is_lossy(syntax: str) -> bool:
    """Tell whether a transfer syntax may change pixels.

    Source: DICOM PS3.5, chapter 10.
    """
    return syntax.removeprefix(_PREFIX) in _LOSSY


def decode_frame(
    data: bytes,
    syntax: str,
    photometric: str,
    shape: tuple[int, int, int],
    dtype: np.dtype[Any],
) -> NDArray[Any]:
    """Decode a frame; colours become red, green and blue.

    Parameters
    ----------
    data : bytes
        The frame, all its parts joined.
    syntax : str
        UID of the transfer syntax.
    photometric : str
        DICOM's photometric interpretation.
    shape : tuple of int
        Rows, columns, samples.
    dtype : numpy.dtype
        Data type of the samples.

    Returns
    -------
    ndarray (Y, X, samples)

    Raises
    ------
    ValueError
        If the frame is not of that shape or type, or the compression is not supported.
    RuntimeError
        If it is damaged.
    """
    pixels = _decode(data, syntax.removeprefix(_PREFIX), photometric, shape, dtype)
    if pixels.size != np.prod(shape) or pixels.shape[:2] != shape[:2]:
        msg = f"the frame has the shape {pixels.shape}, not {shape}"
        raise ValueError(msg)
    if pixels.dtype.itemsize != dtype.itemsize or pixels.dtype.kind not in "iu":
        msg = f"the frame has the data type {pixels.dtype}, not {dtype}"
        raise ValueError(msg)
    return pixels.reshape(shape).view(dtype)


def _decode(
    data: bytes,
    kind: str,
    photometric: str,
    shape: tuple[int, int, int],
    dtype: np.dtype[Any],
) -> NDArray[Any]:
    import imagecodecs

    pixels: NDArray[Any]
    if kind in _JPEG:
        if shape[2] == 3:
            # Without these names the decoder guesses by markers, which DICOM does not ask for.
            stored = "YCBCR" if photometric.startswith("YBR") else "RGB"
            pixels = imagecodecs.jpeg8_decode(data, colorspace=stored, outcolorspace="RGB")
        else:
            pixels = imagecodecs.jpeg8_decode(data)
    elif kind in _JPEG_LS:
        pixels = imagecodecs.jpegls_decode(data)
    elif kind in _JPEG_2000:
        pixels = imagecodecs.jpeg2k_decode(data)
    elif kind == _RLE:
        rows, columns, samples = shape
        stored_type = dtype.newbyteorder("<")
        flat = np.frombuffer(imagecodecs.dicomrle_decode(data, stored_type), stored_type)
        planes = flat.reshape(samples, rows, columns).astype(dtype)
        pixels = np.ascontiguousarray(np.moveaxis(planes, 0, -1))
    else:
        msg = f"the compression {kind} is not supported"
        raise ValueError(msg)
    return pixels
