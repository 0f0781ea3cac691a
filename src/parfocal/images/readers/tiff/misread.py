"""Which TIFFs other readers are known to read wrongly, so that these cannot prove a conversion."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["misread_by"]

_WHITE_IS_ZERO = 0
_JPEG = (6, 7)
_JPEG_2000 = (33003, 33005, 34712)
_UIC4 = 33631  # of MetaMorph


def misread_by(tiff: Any, series: Any) -> dict[str, str]:
    """Tell what Bio-Formats is known to read wrongly.

    Parameters
    ----------
    tiff : tifffile.TiffFile
        The open file.
    series : tifffile.TiffPageSeries
        The image.

    Returns
    -------
    dict of str to str
        Modules of readers, and what they do.
    """
    page = series.keyframe
    compression, bits = int(page.compression), page.bitspersample
    told = []
    if int(page.photometric) == _WHITE_IS_ZERO and compression not in _JPEG:
        told.append("it inverts pixels of which 0 means white")
    if compression in _JPEG_2000 and page.samplesperpixel > 1 and page.is_tiled:
        told.append("it mixes up samples in tiles of JPEG 2000")
    if compression in _JPEG and bits != 8:
        told.append(f"it takes JPEG of {bits} bits for one of 8")
    if series.dtype == np.float16:
        told.append("it gives floats of 16 bits as such of 32")
    if tiff.is_stk and _UIC4 not in tiff.pages.first.tags:
        told.append("it finds one plane in MetaMorph's files without the tag UIC4")
    if series.is_multifile and len({one.parent.byteorder for one in series.pages if one}) > 1:
        told.append("it takes all files of a set to be of one byte order")
    return {"bioformats": "; ".join(told)} if told else {}
