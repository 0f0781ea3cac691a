"""Thumbnails: a plane or a projection over Z, in colours, with outlines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Readable
from parfocal.models.image import ImageMetadata
from parfocal.report.content import Channel, Picture
from parfocal.report.drawing import (
    OUTLINE_RGBA,
    PERCENTILES,
    as_bytes,
    composite,
    outline,
    resize_area,
    resize_nearest,
    stretch,
)
from parfocal.report.png import write_png

__all__ = [
    "EDGE_PX",
    "MOST_CHANNELS",
    "Drawing",
    "Look",
    "draw",
    "draw_picture",
    "fullest_plane",
    "project",
    "thumbnail_shape",
]

EDGE_PX = 384
MOST_CHANNELS = 6
READ_BYTES = 32 * 2**20
PALETTE = ("00FFFF", "FF00FF", "FFFF00", "00FF00", "FF8000", "8080FF")
RGB = ("FF0000", "00FF00", "0000FF")
TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True)
class Look:
    """What is drawn of an image, and how.

    Parameters
    ----------
    edge_px : int
        The longer edge of the picture.
    channels : tuple of int or None
        Indices of the channels; None for the first ones, and for RGB as it is.
    plane : int or None
        Index of the plane. With None it is the one with the largest area of objects, since
        outlines over a projection would not lie on the edges that are seen; without labels the
        maximum over Z.
    time_point : int
        Index of the time point.
    percentiles : (float, float)
        What is drawn darkest and brightest, of the pixels of each channel.
    """

    edge_px: int = EDGE_PX
    channels: tuple[int, ...] | None = None
    plane: int | None = None
    time_point: int = 0
    percentiles: tuple[float, float] = PERCENTILES


THUMBNAIL = Look()


@dataclass(frozen=True)
class Drawing:
    """A picture before it is written to a file.

    Parameters
    ----------
    pixels : (Y, X) or (Y, X, 3) uint8
        Grey or RGB.
    outlines : (Y, X) bool or None
        Where the outlines of objects are.
    indices : tuple of int
        The channels.
    channels : tuple of Channel
        Their names, and the colours that they are drawn in.
    plane : int or None
        Index of the plane at full size; None for the maximum over Z.
    """

    pixels: NDArray[np.uint8]
    outlines: NDArray[np.bool_] | None
    indices: tuple[int, ...]
    channels: tuple[Channel, ...]
    plane: int | None


def thumbnail_shape(height: int, width: int, edge_px: int = EDGE_PX) -> tuple[int, int]:
    """Return the shape of a thumbnail: its longer edge is at most `edge_px`.

    Small images are enlarged by a whole factor, so that their pixels stay squares.
    """
    longer = max(height, width)
    if longer <= edge_px:
        factor = edge_px // longer
        return height * factor, width * factor
    return max(1, height * edge_px // longer), max(1, width * edge_px // longer)


def project(
    source: Readable, channel: int, plane: int | None = None, time_point: int = 0
) -> NDArray[Any]:
    """Return one plane, or the maximum over Z, of one channel at one time point.

    NaN is ignored where another plane has a number. Memory is bounded by a few planes.

    Parameters
    ----------
    source : Readable
        Any image in the axes TCZYX.
    channel : int
        Index of the channel.
    plane : int or None
        Index of the plane; None for the maximum.
    time_point : int
        Index of the time point.

    Returns
    -------
    (Y, X) array
        Of the data type of `source`.
    """
    result: NDArray[Any] | None = None
    for block in _stacks(source, channel, plane, time_point):
        highest = np.fmax.reduce(block, axis=0)
        result = highest if result is None else np.fmax(result, highest)
    if result is None:
        msg = f"an image has at least one plane, not the shape {source.shape5}"
        raise ValueError(msg)
    return result


def _stacks(
    source: Readable, channel: int, plane: int | None, time_point: int
) -> Iterator[NDArray[Any]]:
    """Yield a few planes (Z, Y, X) at a time."""
    _, _, planes, height, width = source.shape5
    step = max(1, READ_BYTES // (height * width * source.dtype.itemsize))
    first, last = (0, planes) if plane is None else (plane, plane + 1)
    t, c = slice(time_point, time_point + 1), slice(channel, channel + 1)
    for z in range(first, last, step):
        region = (t, c, slice(z, min(z + step, last)))
        yield source.read((*region, slice(0, height), slice(0, width)))[0, 0]


def fullest_plane(labels: Readable, time_point: int = 0) -> int:
    """Return the plane with the largest area of objects at one time point.

    Among equal ones it is the one nearest to the middle of the stack.

    Parameters
    ----------
    labels : Readable
        A label image in the axes TCZYX; 0 is background.
    time_point : int
        Index of the time point.
    """
    blocks = _stacks(labels, 0, None, time_point)
    areas = [int(count) for block in blocks for count in np.count_nonzero(block, (1, 2))]
    return max(range(len(areas)), key=lambda z: (areas[z], -abs(2 * z + 1 - len(areas))))


def draw_picture(metadata: ImageMetadata, image: Readable, labels: Readable | None) -> Picture:
    """Draw the thumbnail of an image for a report.

    Parameters
    ----------
    metadata, image, labels
        See `draw`.
    """
    drawing = draw(metadata, image, labels)
    height, width = drawing.pixels.shape[:2]
    edges = drawing.outlines
    return Picture(
        png=write_png(drawing.pixels),
        outlines=None if edges is None else write_png(_overlay(edges)),
        width=width,
        height=height,
        channels=() if metadata.rgb else drawing.channels,
        note=_note(metadata, len(drawing.indices), drawing.plane),
        size=_size(metadata),
    )


def draw(
    metadata: ImageMetadata,
    image: Readable,
    labels: Readable | None,
    look: Look = THUMBNAIL,
    progress: Callable[[int, int], None] | None = None,
) -> Drawing:
    """Draw an image, and the outlines of its labels.

    One channel is grey; several have the colours that the image states for them where these are
    distinct, and others otherwise.

    Parameters
    ----------
    metadata : ImageMetadata
        Of the image at full size: channels and time points.
    image : Readable
        A level of the image that is not much larger than the picture.
    labels : Readable or None
        A level of its label image.
    look : Look
        What is drawn, and how.
    progress : callable, optional
        Called as ``progress(done, total)`` after each channel.
    """
    as_it_is = metadata.rgb and look.channels is None
    first = range(min(image.shape5[1], len(RGB) if as_it_is else MOST_CHANNELS))
    indices = tuple(first) if look.channels is None else look.channels
    plane, of_image, of_labels = _plane_of(metadata, image, labels, look)
    shape = thumbnail_shape(*image.shape5[3:], look.edge_px)
    planes = _counted(
        (project(image, index, of_image, look.time_point) for index in indices),
        len(indices),
        progress,
    )
    channels = _channels(metadata, indices, as_it_is=as_it_is)
    if as_it_is:
        pixels = _rgb(planes, shape, np.dtype(metadata.dtype))
    else:
        scaled = (resize_area(stretch(plane, look.percentiles), shape) for plane in planes)
        colors = [channel.color for channel in channels]
        pixels = composite(scaled, colors) if len(colors) > 1 else as_bytes(next(scaled))
    edges = None
    if labels is not None:
        edges = outline(resize_nearest(project(labels, 0, of_labels, look.time_point), shape))
    return Drawing(pixels, edges, indices, channels, plane)


def _plane_of(
    metadata: ImageMetadata, image: Readable, labels: Readable | None, look: Look
) -> tuple[int | None, int | None, int | None]:
    """Return which plane is drawn: at full size, and of the levels of image and labels."""
    sizes = metadata.size("Z"), image.shape5[2], 1 if labels is None else labels.shape5[2]
    chosen, of = look.plane, sizes[0]
    if chosen is None and labels is not None and sizes[0] > 1:
        chosen, of = fullest_plane(labels, look.time_point), sizes[2]
    full, of_image, of_labels = (_same_place(chosen, of, planes) for planes in sizes)
    return full, of_image, of_labels


def _same_place(plane: int | None, planes: int, others: int) -> int | None:
    """Return which of `others` lies where `plane` of `planes` lies."""
    return None if plane is None else (2 * plane + 1) * others // (2 * planes)


def _counted(
    planes: Iterable[NDArray[Any]], total: int, progress: Callable[[int, int], None] | None
) -> Iterator[NDArray[Any]]:
    for done, plane in enumerate(planes, 1):
        yield plane
        if progress is not None:
            progress(done, total)


def _rgb(
    planes: Iterable[NDArray[Any]], shape: tuple[int, int], dtype: np.dtype[Any]
) -> NDArray[np.uint8]:
    """Return red, green and blue as they are, by the range of their data type."""
    most = float(np.iinfo(dtype).max) if dtype.kind in "iu" else 1.0
    finite = (np.nan_to_num(plane / most, nan=0, posinf=1, neginf=0) for plane in planes)
    return as_bytes(np.stack([resize_area(plane, shape) for plane in finite], axis=-1))


def _channels(
    metadata: ImageMetadata, indices: Sequence[int], *, as_it_is: bool
) -> tuple[Channel, ...]:
    names = metadata.channel_names()
    described = [metadata.channels[index] for index in indices] if metadata.channels else []
    stated = {channel.color for channel in described if channel.color}
    colors: Sequence[str] = PALETTE
    if as_it_is:
        colors = RGB
    elif len(indices) == 1:
        colors = ("FFFFFF",)
    elif len(stated) == len(indices):
        colors = [channel.color or "" for channel in described]
    return tuple(
        Channel(names[index], color) for index, color in zip(indices, colors, strict=False)
    )


def _overlay(edges: NDArray[np.bool_]) -> NDArray[np.uint8]:
    rgba = np.zeros((*edges.shape, 4), np.uint8)
    rgba[edges] = OUTLINE_RGBA
    return rgba


def _note(metadata: ImageMetadata, drawn: int, plane: int | None) -> str:
    """Say what the picture does not show as it is."""
    notes = []
    if plane is not None:
        notes.append(f"plane {plane + 1} of {metadata.size('Z')}, where objects cover most")
    elif metadata.size("Z") > 1:
        notes.append(f"maximum over {metadata.size('Z')} planes")
    if metadata.size("T") > 1:
        notes.append(f"first of {metadata.size('T')} time points")
    if metadata.size("C") > drawn:
        notes.append(f"first {drawn} of {metadata.size('C')} channels")
    return ", ".join(notes)


def _size(metadata: ImageMetadata) -> str:
    """Say how large the image is."""
    axes = [axis for axis in "ZYX" if metadata.size(axis) > 1 or axis != "Z"]
    parts = [f" {TIMES} ".join(str(metadata.size(axis)) for axis in axes) + " px"]
    if metadata.rgb:
        parts.append("RGB")
    elif metadata.size("C") > 1:
        parts.append(f"{metadata.size('C')} channels")
    if metadata.size("T") > 1:
        parts.append(f"{metadata.size('T')} time points")
    sizes = {"Z": metadata.z_um, "Y": metadata.y_um, "X": metadata.x_um}
    known = [f"{sizes[axis]:.4g}" if sizes[axis] else "?" for axis in axes]
    stated = f"pixel {f' {TIMES} '.join(known)} µm" if set(known) != {"?"} else "pixel size unknown"
    return ", ".join([*parts, metadata.dtype, stated])
