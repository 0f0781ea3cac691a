"""How the pixels of a Leica image lie in its block of the file, as its XML says.

Source: Leica Microsystems, LAS AF and LAS X image file formats, elements ``ChannelDescription``
and ``DimensionDescription``.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from parfocal.core.blocks import Shape
from parfocal.errors import InputError

__all__ = ["Dimension", "LifLayout", "interpret_layout"]

_DESCRIPTION = "./Data/Image/ImageDescription"
_NAMES = {1: "X", 2: "Y", 3: "Z", 4: "T", 10: "M"}
_WAVES = (5, 9)
_OTHERS = {
    5: "emission wavelengths",
    6: "rotations",
    7: "slices along T",
    8: "slices along T",
    9: "excitation wavelengths",
    11: "loops",
}
_FLOAT = 1
_BROKEN = "The dimensions of the image are damaged"
_BEYOND = "The image has dimensions that the result cannot keep"
_REMEDY = "Split or export the image in the software that wrote it, or try reader=bioformats."


@dataclass(frozen=True)
class Dimension:
    """One dimension of a Leica image.

    Parameters
    ----------
    kind : int
        What it is: 1 X, 2 Y, 3 Z, 4 T, 10 the tiles of a mosaic, and so on.
    size : int
        How many elements it has.
    length : float
        From the first to the last element, in `unit`.
    unit : str
        Such as ``m`` or ``s``.
    stride : int
        Bytes from one element to the next.
    """

    kind: int
    size: int
    length: float
    unit: str
    stride: int

    @property
    def step(self) -> float | None:
        """From one element to the next, in `unit`; None where there is one."""
        return abs(self.length) / (self.size - 1) if self.size > 1 and self.length else None


@dataclass(frozen=True)
class LifLayout:
    """Where each pixel of a Leica image lies in its block.

    Parameters
    ----------
    shape5 : tuple of int
        Sizes T, C, Z, Y, X of one tile.
    dtype : numpy.dtype
        As stored.
    steps : dict of str to int
        Bytes from one element to the next along T, Z, Y, X.
    channels : tuple of int
        Where each channel begins, in bytes.
    dimensions : dict of str to Dimension
        What takes the part of T, Z, Y, X.
    tiles, tile_step : int
        How many tiles of a mosaic there are, and the bytes from one to the next.
    rgb : bool
        Whether the channels are red, green and blue of one camera, side by side.
    waves : bool
        Whether the channels are wavelengths that were scanned.
    """

    shape5: Shape
    dtype: np.dtype[Any]
    steps: dict[str, int]
    channels: tuple[int, ...]
    dimensions: dict[str, Dimension]
    tiles: int
    tile_step: int
    rgb: bool
    waves: bool

    @property
    def interleaved(self) -> bool:
        """Whether the channels of a pixel lie side by side."""
        return len(self.channels) > 1 and max(self.channels) < self.steps["X"]

    @property
    def red_first(self) -> bool:
        """Whether the red of a pixel lies before its blue."""
        return self.rgb and self.channels[0] < self.channels[2]

    def skipped(self, room: int) -> int:
        """Return how many bytes Bio-Formats skips after each row.

        It divides what is left of the bytes up to the next image, `room`, by the height.
        """
        spare = room - self._rows * self.row_bytes
        return 0 if self.shape5[4] % 4 == 0 else max(0, spare) // self.shape5[3]

    @property
    def row_bytes(self) -> int:
        """How many bytes a row has, without what it is filled up with."""
        return (
            self.shape5[4] * self.dtype.itemsize * (len(self.channels) if self.interleaved else 1)
        )

    @property
    def _rows(self) -> int:
        """How many rows there are in all."""
        t, c, z, y, _ = self.shape5
        return t * z * y * self.tiles * (1 if self.interleaved else c)

    @property
    def end(self) -> int:
        """How many bytes of the block are used."""
        t, _, z, y, x = self.shape5
        sizes = {"T": t, "Z": z, "Y": y, "X": x}
        reach = sum((sizes[axis] - 1) * self.steps[axis] for axis in sizes)
        last = max(self.channels) + (self.tiles - 1) * self.tile_step
        return reach + last + self.dtype.itemsize


def interpret_layout(element: ET.Element, where: object, warn: list[str]) -> LifLayout:
    """Read the layout of an image from its XML.

    Parameters
    ----------
    element : Element
        The ``Element`` that holds the image.
    where : object
        File and image, for errors.
    warn : list of str
        Where it is added what was assumed.

    Raises
    ------
    InputError
        If the description is damaged, or of dimensions or pixels that cannot be kept.
    """
    dimensions, kinds, offsets, tags = _described(element, where)
    dtype = _dtype(kinds, where)
    parts, waves = _assign(dimensions, offsets, where, warn)
    if waves is not None:
        offsets = [index * waves.stride for index in range(waves.size)]
        warn.append(f"{where}: the {waves.size} {_OTHERS[waves.kind]} are read as channels")
    x = parts["X"].stride
    rgb = sorted(tags) == [1, 2, 3] and max(offsets) < x
    if rgb:  # cameras store blue first
        offsets = [offsets[tags.index(tag)] for tag in (1, 2, 3)]
    mosaic = next((one for one in dimensions if _NAMES.get(one.kind) == "M"), None)
    t, z, y = (parts[axis].size if axis in parts else 1 for axis in "TZY")
    steps = {axis: parts[axis].stride if axis in parts else 0 for axis in "TZYX"}
    layout = LifLayout(
        shape5=(t, len(offsets), z, y, parts["X"].size),
        dtype=dtype,
        steps=steps,
        channels=tuple(offsets),
        dimensions=parts,
        tiles=mosaic.size if mosaic else 1,
        tile_step=mosaic.stride if mosaic else 0,
        rgb=rgb,
        waves=waves is not None,
    )
    _check_distinct(layout, where)
    return layout


def _described(
    element: ET.Element, where: object
) -> tuple[list[Dimension], set[tuple[int, int]], list[int], list[int]]:
    """Return dimensions, kinds of pixels, and where channels begin and what colours they are."""
    try:
        dimensions = _dimensions(element)
        channels = element.findall(f"{_DESCRIPTION}/Channels/ChannelDescription")
        kinds = {(int(one.get("DataType", 0)), int(one.attrib["Resolution"])) for one in channels}
        offsets = [int(one.attrib["BytesInc"]) for one in channels]
        tags = [int(one.get("ChannelTag", 0)) for one in channels]
    except (KeyError, ValueError) as error:
        what = "The description of the image is damaged"
        remedy = "Copy or download the file again."
        raise InputError(what, where=where, found=error, remedy=remedy) from error
    return dimensions, kinds, offsets, tags


def _dimensions(element: ET.Element) -> list[Dimension]:
    listed = element.findall(f"{_DESCRIPTION}/Dimensions/DimensionDescription")
    return [
        Dimension(
            kind=int(one.attrib["DimID"]),
            size=int(one.attrib["NumberOfElements"]),
            length=float(one.get("Length") or 0),
            unit=one.get("Unit", ""),
            stride=int(one.attrib["BytesInc"]),
        )
        for one in listed
    ]


def _dtype(kinds: set[tuple[int, int]], where: object) -> np.dtype[Any]:
    """Return the type of the pixels, which is little-endian, of all channels."""
    names = set()
    for kind, bits in kinds:
        size = next((n for n in (1, 2, 4, 8) if bits <= 8 * n), 0)
        known = kind in (0, _FLOAT) and bits > 0 and size and (kind != _FLOAT or size > 1)
        names.add(f"<{'f' if kind == _FLOAT else 'u'}{size}" if known else f"{kind}, {bits} bits")
    name = names.pop() if len(names) == 1 else ""
    if not name.startswith("<"):
        what = "The channels of the image are not of one known type of pixels"
        found = ", ".join(sorted(names | {name} - {""})) or "no channels"
        expected = "integers of 8 to 64 bits, or floats of 16 to 64"
        raise InputError(what, where=where, expected=expected, found=found, remedy=_REMEDY)
    return np.dtype(name)


def _assign(
    dimensions: Sequence[Dimension], offsets: Sequence[int], where: object, warn: list[str]
) -> tuple[dict[str, Dimension], Dimension | None]:
    """Return what takes the part of T, Z, Y and X, and of C where it is no channels.

    The plane that was scanned stays the plane: in a scan along X and Z, or X and T, the second
    dimension is Y.
    """
    parts: dict[str, Dimension] = {}
    waves = None
    for one in dimensions:
        name = _NAMES.get(one.kind, "")
        if one.size < 1 or one.stride < 0 or name in parts:
            found = f"dimension {one.kind} of {one.size} elements, {one.stride} bytes apart"
            raise _refused(_BROKEN, where, found)
        if not name and one.size > 1:
            if one.kind not in _WAVES or len(offsets) > 1 or waves is not None:
                found = f"{one.size} {_OTHERS.get(one.kind, f'of dimension {one.kind}')}"
                raise _refused(_BEYOND, where, found)
            waves = one
        if name in ("X", "Y", "Z", "T"):
            parts[name] = one
    if "X" not in parts:
        raise _refused(_BROKEN, where, f"{len(dimensions)} dimensions and no X")
    order = [axis for axis in parts if axis != "X"]
    second = order[0] if order else ""
    if second in ("Z", "T"):
        parts = _turn(parts, second, where, warn)
    return parts, waves


def _turn(
    parts: dict[str, Dimension], second: str, where: object, warn: list[str]
) -> dict[str, Dimension]:
    """Let the second dimension of a scan be Y, and Y, where there is one, take its part."""
    if second == "T" and "Y" in parts:
        found = "planes along X and T with a dimension Y"
        raise _refused(_BEYOND, where, found)
    turned = {axis: one for axis, one in parts.items() if axis not in ("Y", second)}
    turned["Y"] = parts[second]
    if "Y" in parts:
        turned[second] = parts["Y"]
    also = " and its Z is Y" if "Y" in parts else ""
    warn.append(f"{where}: planes were scanned along X and {second}: its Y is {second}{also}")
    return turned


def _check_distinct(layout: LifLayout, where: object) -> None:
    """Refuse a layout by which two pixels would be the same bytes."""
    t, _, z, y, x = layout.shape5
    sizes = {"T": t, "Z": z, "Y": y, "X": x}
    steps = sorted((layout.steps[axis], size) for axis, size in sizes.items() if size > 1)
    reach = layout.dtype.itemsize
    for step, size in steps:
        if step < reach:
            found = f"{step} bytes from one element to the next of {reach} bytes"
            raise _refused(_BROKEN, where, found)
        reach = step * (size - 1) + reach
    if len(set(layout.channels)) < len(layout.channels) or min(layout.channels) < 0:
        raise _refused(_BROKEN, where, f"channels at {layout.channels} bytes")


def _refused(what: str, where: object, found: str) -> InputError:
    return InputError(what, where=where, expected="X, Y, Z, T", found=found, remedy=_REMEDY)
