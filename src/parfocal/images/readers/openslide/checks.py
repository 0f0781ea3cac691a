"""Refuse slides of which OpenSlide would leave out planes or change pixels without a word."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from parfocal.errors import InputError
from parfocal.images.readers.tiff.opening import DAMAGED, open_tiff
from parfocal.images.readers.tiff.pixels import DAMAGE

__all__ = ["check_whole"]

_REMEDY = "Read it with --set reader=bioformats."
_OF_TIFF = ("aperio", "generic-tiff", "trestle", "philips")
_COLORS = (2, 6)  # RGB and YCbCr
_FOCUS_TAG, _LENS_TAG = 65424, 65421  # the lens of pictures of the slide is negative
_HIER_NAME = re.compile(r"mirax\.HIERARCHICAL\.HIER_(\d+)_NAME")
_LEFT_OUT = ("Microscope focus level", "Slide filter level")


def check_whole(path: Path, properties: Mapping[str, str]) -> None:
    """Refuse a slide that is more than one plane of 8-bit colours.

    OpenSlide shows one focal plane, and any pixels as 8-bit colours.

    Parameters
    ----------
    path : Path
        The slide.
    properties : mapping of str to str
        What OpenSlide says about it.

    Raises
    ------
    InputError
        If OpenSlide would leave out planes or change pixels.
    """
    vendor = properties.get("openslide.vendor")
    planes = {
        "hamamatsu": lambda: _focal_planes_of_ndpi(path),
        "mirax": lambda: _layers_of_mirax(properties),
        "ventana": lambda: int(properties.get("ventana.Z-layers", "1") or 1),
    }
    count = planes[vendor]() if vendor in planes else 1
    if count > 1:
        what = "The slide has focal planes or filters, of which OpenSlide reads one"
        raise InputError(
            what, where=path, expected="one plane", found=f"{count} planes", remedy=_REMEDY
        )
    if vendor in _OF_TIFF:
        _check_colors(path)


def _layers_of_mirax(properties: Mapping[str, str]) -> int:
    count = 1
    for key, name in properties.items():
        numbered = _HIER_NAME.fullmatch(key)
        if numbered and name in _LEFT_OUT:
            stated = properties.get(f"mirax.HIERARCHICAL.HIER_{numbered[1]}_COUNT", "1")
            count = max(count, int(stated) if stated.isdecimal() else 1)
    return count


def _focal_planes_of_ndpi(path: Path) -> int:
    if path.suffix.lower() != ".ndpi":
        return 1
    with _pages(path) as pages:
        scans = [page for page in pages if (page.tags.valueof(_LENS_TAG) or 0) > 0]
        return len({page.tags.valueof(_FOCUS_TAG) for page in scans})


def _check_colors(path: Path) -> None:
    with _pages(path) as pages:
        page = pages.first
        found = (page.photometric, page.samplesperpixel, page.bitspersample)
        full = sum(one.is_tiled and one.shape == page.shape for one in pages)
    if found[0] not in _COLORS or found[1:] != (3, 8):
        what = "OpenSlide would change the pixels of this TIFF to 8-bit colours"
        shown = f"{found[1]} samples of {found[2]} bits"
        raise InputError(
            what, where=path, expected="3 samples of 8 bits", found=shown, remedy=_REMEDY
        )
    if full > 1:
        what = "The TIFF has several full planes, of which OpenSlide reads one"
        raise InputError(
            what, where=path, expected="one plane", found=f"{full} planes", remedy=_REMEDY
        )


@contextmanager
def _pages(path: Path) -> Iterator[Any]:
    """Give the pages of a TIFF to look at their tags."""
    opened = open_tiff(path)
    try:
        yield opened.tiff.pages
    except DAMAGE as error:
        what = "The TIFF is damaged"
        raise InputError(what, where=path, found=error, remedy=DAMAGED) from error
    finally:
        opened.tiff.close()
