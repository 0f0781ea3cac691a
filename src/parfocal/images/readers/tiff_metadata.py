"""What a TIFF says about its images: OME-XML, ImageJ's description, and tags."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from parfocal.images.ome_xml import OmeImage, parse_ome_xml
from parfocal.images.readers.imagej import describe_imagej, ratio_of
from parfocal.images.readers.tiff_axes import TiffLayout
from parfocal.models.image import Channel

__all__ = ["TiffDescription", "describe"]

_DECIMAL = re.compile(r"[0-9]+\.?[0-9]*|\.[0-9]+")
_PALETTE, _CMYK, _WHITE_IS_ZERO = 3, 5, 0
_COLORS = (2, 6)  # RGB and YCbCr, which is decoded to RGB


@dataclass(frozen=True)
class TiffDescription:
    """Fields of ImageMetadata that the file states, and its texts as they are."""

    fields: dict[str, Any] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)


def describe(
    tiff: Any, page: Any, place: tuple[int, int], layout: TiffLayout, warn: list[str]
) -> TiffDescription:
    """Gather what the file says about one of its images.

    Physical sizes are taken where a unit stands with them: in OME-XML, in ImageJ's
    description, and in the resolution tags where their unit is the centimetre; in
    the text of an Aperio slide. Dots per inch are a measure for print and are left out.

    Parameters
    ----------
    tiff : tifffile.TiffFile
        The open file.
    page : tifffile.TiffPage
        The first page of the image.
    place : tuple of int
        Which image it is, of how many.
    layout : TiffLayout
        Its axes.
    warn : list of str
        Where warnings are added.
    """
    fields: dict[str, Any] = {}
    texts: dict[str, bytes] = {}
    channels: tuple[Channel, ...] = ()
    if tiff.is_ome and tiff.ome_metadata:
        texts["METADATA.ome.xml"] = tiff.ome_metadata.encode()
        image = _matching(parse_ome_xml(tiff.ome_metadata, warn), *place, warn)
        if image is not None:
            fields, channels = dict(image.fields), image.channels
    elif tiff.is_imagej:
        stated = describe_imagej(page, layout, tiff.imagej_metadata or {}, warn)
        fields, channels, texts = stated.fields, stated.channels, stated.files
    else:
        fields = _aperio(page) if tiff.is_svs else _centimetres(page)
        if page.description:
            texts["ImageDescription.txt"] = page.description.encode()
    _warn_of_display(page, warn)
    rgb = page.photometric in _COLORS and layout.size("S") == layout.shape5[1] == 3
    fields["rgb"] = bool(rgb)
    fields["channels"] = _with_samples(channels, page, layout)
    return TiffDescription(fields, texts)


def _matching(images: list[OmeImage], number: int, count: int, warn: list[str]) -> OmeImage | None:
    """Return the OME image of a series, which tifffile lists in the order of the OME-XML."""
    if len(images) == count:
        return images[number]
    if images:
        warn.append(
            f"The OME-XML describes {len(images)} images and the file holds {count}: "
            "sizes of pixels and names of channels are left out"
        )
    return None


def _aperio(page: Any) -> dict[str, Any]:
    """Return the pixel size of a slide: micrometres per pixel, among fields divided by ``|``.

    Source: Aperio, Digital Slides and Third-Party Data Interchange, ``MPP``.
    """
    stated = re.search(r"\|\s*MPP\s*=\s*([0-9.]+)\s*(?:\||$)", page.description)
    size = float(stated[1]) if stated and _DECIMAL.fullmatch(stated[1]) else 0.0
    return {"x_um": size, "y_um": size} if size > 0 else {}


def _centimetres(page: Any) -> dict[str, Any]:
    unit = page.tags.get("ResolutionUnit")
    if unit is None or int(unit.value) != 3:
        return {}
    sizes = {"x_um": "XResolution", "y_um": "YResolution"}
    ratios = {key: ratio_of(page.tags.get(tag)) for key, tag in sizes.items()}
    return {key: 1e4 / ratio for key, ratio in ratios.items() if ratio}


def _warn_of_display(page: Any, warn: list[str]) -> None:
    if page.photometric == _PALETTE and not _is_gray(page.colormap):
        warn.append("The TIFF has a palette: pixels are the numbers of colours, not colours")
    if page.photometric == _CMYK:
        warn.append("The TIFF is in inks (such as CMYK): these are kept as channels")
    if page.photometric == _WHITE_IS_ZERO:
        warn.append("In the TIFF 0 means white: pixels are kept as they are, not inverted")
    turned = page.tags.get("Orientation")
    if turned is not None and turned.value in range(2, 9):
        warn.append(
            f"The TIFF is to be shown turned or mirrored (Orientation {turned.value}): pixels are "
            "kept as they are stored"
        )


def _is_gray(colormap: Any) -> bool:
    return colormap is not None and bool(
        (colormap[0] == colormap[1]).all() and (colormap[1] == colormap[2]).all()
    )


def _with_samples(
    channels: tuple[Channel, ...], page: Any, layout: TiffLayout
) -> tuple[Channel, ...]:
    """Describe each channel of the image where samples of pixels are channels too."""
    samples = layout.size("S")
    if samples == 1:
        return channels if len(channels) == layout.shape5[1] else ()
    names = [f"sample_{n}" for n in range(samples)]
    colors: list[str | None] = [None] * samples
    if page.photometric in _COLORS and samples in (3, 4):
        names = ["Red", "Green", "Blue", "Alpha"][:samples]
        colors = ["FF0000", "00FF00", "0000FF", None][:samples]
    count = layout.size("C")
    if count == 1:
        return tuple(Channel(name=n, color=c) for n, c in zip(names, colors, strict=True))
    known = channels if len(channels) == count else (Channel(),) * count
    return tuple(
        Channel(name=f"{known[c].name or f'channel_{c}'} {names[s]}", color=colors[s])
        for c in range(count)
        for s in range(samples)
    )
