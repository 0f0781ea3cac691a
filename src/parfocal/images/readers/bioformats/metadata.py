"""What the OME-XML of Bio-Formats says about each image."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree as ET

from parfocal.images.ome_xml import OmeImage
from parfocal.models.image import Channel

__all__ = ["describe", "drop_forbidden", "find_wells"]

_REFERENCE = re.compile(r"&#(?:x([0-9A-Fa-f]+)|([0-9]+));")
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_RGB = (("Red", "FF0000"), ("Green", "00FF00"), ("Blue", "0000FF"), ("Alpha", None))


def drop_forbidden(xml: str) -> str:
    """Return XML without the characters that no XML may hold.

    Bio-Formats takes texts over from files as they are, NUL included.

    Source: W3C, Extensible Markup Language 1.0, 2.2.
    """

    def kept(reference: re.Match[str]) -> str:
        number = int(reference[1], 16) if reference[1] else int(reference[2])
        allowed = number <= 0x10FFFF and not _FORBIDDEN.match(chr(number))
        return reference[0] if allowed else ""

    return _FORBIDDEN.sub("", _REFERENCE.sub(kept, xml))


def describe(
    images: Sequence[OmeImage],
    place: tuple[int, int],
    channels: tuple[int, int],
    warn: list[str],
) -> dict[str, Any]:
    """Gather what the OME-XML says about one image, as fields of ImageMetadata.

    Parameters
    ----------
    images : sequence of OmeImage
        What it says about all images.
    place : tuple of int
        Which image it is, of how many.
    channels : tuple of int
        Number of channels of the image, and how many of them are samples of one pixel.
    warn : list of str
        Where warnings are added.
    """
    number, count = place
    fields: dict[str, Any] = {}
    stated: tuple[Channel, ...] = ()
    if len(images) == count:
        fields, stated = dict(images[number].fields), images[number].channels
    else:
        warn.append(
            f"Bio-Formats describes {len(images)} images and reads {count}: "
            "sizes of pixels and names of channels are left out"
        )
    size, samples = channels
    fields["rgb"] = samples == size == 3
    fields["channels"] = _spread(stated, size, samples)
    return fields


def _spread(stated: tuple[Channel, ...], size: int, samples: int) -> tuple[Channel, ...]:
    """Return a description for each sample of each channel."""
    groups = size // samples
    known = stated if len(stated) == groups else (Channel(),) * groups
    if samples == 1:
        return known if len(stated) == groups else ()
    of_sample = _RGB[:samples]
    if samples not in (3, 4):
        of_sample = tuple((f"sample_{n}", None) for n in range(samples))
    return tuple(
        Channel(name=name if groups == 1 else f"{one.name or f'channel_{n}'} {name}", color=color)
        for n, one in enumerate(known)
        for name, color in of_sample
    )


def find_wells(xml: str) -> dict[int, tuple[str, str, str]]:
    """Tell plate, well and field of each image that is on a plate.

    Parameters
    ----------
    xml : str
        The OME-XML of all images.

    Returns
    -------
    dict of int to (str, str, str)
        By the number of the image, such as ``("Plate 1", "B02", "1")``; fields count from 1.
    """
    root = ET.fromstring(xml)  # noqa: S314 - written by Bio-Formats, not by a stranger
    numbers = {one.get("ID"): n for n, one in enumerate(root.findall("{*}Image"))}
    found: dict[int, tuple[str, str, str]] = {}
    for plate in root.findall("{*}Plate"):
        name = plate.get("Name") or plate.get("ID") or ""
        for well in plate.findall("{*}Well"):
            row, column = int(well.get("Row", 0)), int(well.get("Column", 0))
            shown = f"{_letters(row)}{column + 1:02}"
            for field, sample in enumerate(well.findall("{*}WellSample"), start=1):
                reference = sample.find("{*}ImageRef")
                number = numbers.get(reference.get("ID")) if reference is not None else None
                if number is not None:
                    found[number] = (name, shown, str(field))
    return found


def _letters(row: int) -> str:
    """Return A for 0, Z for 25, AA for 26."""
    letter = chr(ord("A") + row % 26)
    return letter if row < 26 else _letters(row // 26 - 1) + letter
