"""What a TIFF says about its images: OME-XML, ImageJ's description, and tags."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from parfocal.images.ome_xml import OmeImage
from parfocal.images.readers.tiff.axes import TiffLayout
from parfocal.images.readers.tiff.imagej import describe_imagej
from parfocal.images.readers.tiff.opening import OpenTiff
from parfocal.images.readers.tiff.vendors import describe_vendor
from parfocal.models.image import Channel

__all__ = ["TiffDescription", "describe"]

_PALETTE, _CMYK, _WHITE_IS_ZERO = 3, 5, 0
_COLORS = (2, 6)  # RGB and YCbCr, which is decoded to RGB


@dataclass(frozen=True)
class TiffDescription:
    """Fields of ImageMetadata that the file states, and its texts as they are."""

    fields: dict[str, Any] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)


def describe(
    opened: OpenTiff,
    series: Any,
    image: OmeImage | None,
    layout: TiffLayout,
    warn: list[str],
) -> TiffDescription:
    """Gather what the file says about one of its images.

    Physical sizes are taken where a unit stands with them: in OME-XML, in ImageJ's
    description, and in the resolution tags where their unit is the centimetre; in
    the text of an Aperio slide. Dots per inch are a measure for print and are left out.

    Parameters
    ----------
    opened : OpenTiff
        The file.
    series : tifffile.TiffPageSeries
        The image.
    image : OmeImage or None
        What the OME-XML says about it.
    layout : TiffLayout
        Its axes.
    warn : list of str
        Where warnings are added.
    """
    fields: dict[str, Any] = {}
    texts: dict[str, bytes] = {}
    channels: tuple[Channel, ...] = ()
    tiff, page = opened.tiff, series.keyframe
    if opened.ome_xml is not None:
        texts["METADATA.ome.xml"] = opened.ome_xml.encode()
        if image is not None:
            fields, channels = dict(image.fields), image.channels
    elif tiff.is_imagej:
        stated = describe_imagej(page, layout, tiff.imagej_metadata or {}, warn)
        fields, channels, texts = stated.fields, stated.channels, stated.files
    else:
        of_vendor = describe_vendor(tiff, series, layout, warn)
        fields, channels, texts = of_vendor.fields, of_vendor.channels, of_vendor.files
        if page.description:
            texts["ImageDescription.txt"] = page.description.encode()
    _warn_of_display(page, warn)
    colored = page.photometric in _COLORS and not tiff.is_lsm  # its three dyes are no colours
    fields["rgb"] = colored and layout.size("S") == layout.shape5[1] == 3
    fields["channels"] = _with_samples(channels, colored, layout)
    return TiffDescription(fields, texts)


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
    channels: tuple[Channel, ...], colored: bool, layout: TiffLayout
) -> tuple[Channel, ...]:
    """Describe each channel of the image where samples of pixels are channels too."""
    samples = layout.size("S")
    if samples == 1 or len(channels) == layout.shape5[1]:
        return channels if len(channels) == layout.shape5[1] else ()
    names = [f"sample_{n}" for n in range(samples)]
    colors: list[str | None] = [None] * samples
    if colored and samples in (3, 4):
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
