"""How a result is written so that it lies beside its image: the same levels, the same NGFF."""

from __future__ import annotations

from pathlib import Path

from parfocal.images.image import Image
from parfocal.models.zarr_options import ZarrOptions

__all__ = ["options_like"]

_SMALLEST_PX, _LARGEST_PX = 16, 8192


def options_like(path: Path, image: Image) -> ZarrOptions:
    """Return options by which an image of the same size gets the same levels.

    NGFF wants as many levels of a label image as of its image. Where the pyramid is not one of
    Parfocal's, its last level decides, and the others may differ.

    Parameters
    ----------
    path : Path
        The OME-Zarr.
    image : Image
        The same, open.
    """
    ngff = "0.5" if (path / "zarr.json").is_file() else "0.4"
    return ZarrOptions(ngff=ngff, chunk_px=_side(image), halve_z=image.halves_z)


def _side(image: Image) -> int:
    """Return the side of chunks with which the levels end where those of the image do."""
    sides = [max(level.shape5[3:]) for level in image.pyramid]
    before = sides[-2] if len(sides) > 1 else _LARGEST_PX + 1
    usual = ZarrOptions().chunk_px
    if sides[-1] <= usual < before:
        return usual
    rounded = 1 << (sides[-1] - 1).bit_length()
    side = rounded if rounded < before else sides[-1]
    return min(max(side, _SMALLEST_PX), _LARGEST_PX)
