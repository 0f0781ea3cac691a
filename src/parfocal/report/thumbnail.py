"""Thumbnails: a plane or a projection over Z, contrast, colours, outlines, PNG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Readable
from parfocal.models.image import ImageMetadata
from parfocal.report.content import Channel, Picture

__all__ = [
    "EDGE_PX",
    "composite",
    "draw_picture",
    "encode_png",
    "fullest_plane",
    "outline",
    "project",
    "resize_area",
    "resize_nearest",
    "stretch",
    "thumbnail_shape",
]

EDGE_PX = 384
MOST_CHANNELS = 6
READ_BYTES = 32 * 2**20
PERCENTILES = (0.5, 99.8)
PALETTE = ("00FFFF", "FF00FF", "FFFF00", "00FF00", "FF8000", "8080FF")
TIMES = "\N{MULTIPLICATION SIGN}"
OUTLINE_RGBA = (255, 214, 10, 255)


def thumbnail_shape(height: int, width: int) -> tuple[int, int]:
    """Return the shape of a thumbnail: its longer edge is at most `EDGE_PX`.

    Small images are enlarged by a whole factor, so that their pixels stay squares.
    """
    longer = max(height, width)
    if longer <= EDGE_PX:
        factor = EDGE_PX // longer
        return height * factor, width * factor
    return max(1, height * EDGE_PX // longer), max(1, width * EDGE_PX // longer)


def project(source: Readable, channel: int, plane: int | None = None) -> NDArray[Any]:
    """Return one plane, or the maximum over Z, of one channel at the first time point.

    NaN is ignored where another plane has a number. Memory is bounded by a few planes.

    Parameters
    ----------
    source : Readable
        Any image in the axes TCZYX.
    channel : int
        Index of the channel.
    plane : int or None
        Index of the plane; None for the maximum.

    Returns
    -------
    (Y, X) array
        Of the data type of `source`.
    """
    result: NDArray[Any] | None = None
    for _, block in _stacks(source, channel, plane):
        highest = np.fmax.reduce(block, axis=0)
        result = highest if result is None else np.fmax(result, highest)
    if result is None:
        msg = f"an image has at least one plane, not the shape {source.shape5}"
        raise ValueError(msg)
    return result


def _stacks(
    source: Readable, channel: int, plane: int | None = None
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield a few planes (Z, Y, X) at a time, with the index of the first."""
    _, _, planes, height, width = source.shape5
    step = max(1, READ_BYTES // (height * width * source.dtype.itemsize))
    first, last = (0, planes) if plane is None else (plane, plane + 1)
    for z in range(first, last, step):
        region = (slice(0, 1), slice(channel, channel + 1), slice(z, min(z + step, last)))
        yield z, source.read((*region, slice(0, height), slice(0, width)))[0, 0]


def fullest_plane(labels: Readable) -> int:
    """Return the plane with the largest area of objects at the first time point.

    Among equal ones it is the one nearest to the middle of the stack.

    Parameters
    ----------
    labels : Readable
        A label image in the axes TCZYX; 0 is background.
    """
    areas = [int(count) for _, b in _stacks(labels, 0) for count in np.count_nonzero(b, (1, 2))]
    return max(range(len(areas)), key=lambda z: (areas[z], -abs(2 * z + 1 - len(areas))))


def resize_area(plane: NDArray[Any], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Resize by the mean over the area that each new pixel covers.

    Parameters
    ----------
    plane : (Y, X) array
        Finite numbers.
    shape : (int, int)
        The new shape.

    Returns
    -------
    (Y', X') float64
    """
    result = np.asarray(plane, np.float64)
    for axis, size in enumerate(shape):
        lines = np.moveaxis(result, axis, 0)
        edges = np.linspace(0, len(lines), size + 1)
        places = np.minimum(edges.astype(np.intp), len(lines) - 1)
        total = np.concatenate([np.zeros_like(lines[:1]), np.cumsum(lines, axis=0)])
        at_edges = total[places] + (edges - places)[:, None] * lines[places]
        result = np.moveaxis(np.diff(at_edges, axis=0) / np.diff(edges)[:, None], 0, axis)
    return result


def resize_nearest(plane: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """Resize by taking the pixel under the centre of each new pixel.

    Parameters
    ----------
    plane : (Y, X) array
        Labels, which must not be mixed.
    shape : (int, int)
        The new shape.
    """
    rows, columns = (
        (np.arange(new) * 2 + 1) * old // (2 * new)
        for old, new in zip(plane.shape, shape, strict=True)
    )
    return plane[np.ix_(rows, columns)]


def stretch(plane: NDArray[Any]) -> NDArray[np.float64]:
    """Scale to 0..1 between the percentiles 0.5 and 99.8 of the finite pixels.

    Pixels that are not finite become 0, or 1 for positive infinity; a constant plane
    becomes 0.
    """
    values = np.asarray(plane, np.float64)
    finite = values[np.isfinite(values)]
    if not finite.size:
        return np.zeros(values.shape)
    low, high = (float(value) for value in np.percentile(finite, PERCENTILES))
    if low == high:
        low, high = float(finite.min()), float(finite.max())
    if low == high:
        return np.zeros(values.shape)
    clipped = np.clip(np.nan_to_num(values, nan=low, posinf=high, neginf=low), low, high)
    return (clipped - low) / (high - low)


def composite(planes: Sequence[NDArray[np.float64]], colors: Sequence[str]) -> NDArray[np.uint8]:
    """Add up planes of 0..1 in their colours.

    Parameters
    ----------
    planes : sequence of (Y, X) float64
        From 0 to 1.
    colors : sequence of str
        RRGGBB, one a plane.

    Returns
    -------
    (Y, X, 3) uint8
    """
    total = np.zeros((*planes[0].shape, 3))
    for plane, color in zip(planes, colors, strict=True):
        total += plane[:, :, None] * (np.frombuffer(bytes.fromhex(color), np.uint8) / 255)
    return _as_bytes(total)


def _as_bytes(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return (np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)


def outline(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Return the pixels of objects that touch another object or the background.

    Parameters
    ----------
    labels : (Y, X) integer
        0 is background.
    """
    touching = np.zeros(labels.shape, np.bool_)
    down = labels[1:] != labels[:-1]
    right = labels[:, 1:] != labels[:, :-1]
    touching[1:] |= down
    touching[:-1] |= down
    touching[:, 1:] |= right
    touching[:, :-1] |= right
    touching[labels == 0] = False
    return touching


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """Return (Y, X), (Y, X, 3) or (Y, X, 4) uint8 as a PNG file."""
    import imagecodecs

    return bytes(imagecodecs.png_encode(np.ascontiguousarray(image), level=6))


def draw_picture(metadata: ImageMetadata, image: Readable, labels: Readable | None) -> Picture:
    """Draw the thumbnail of an image.

    Of a stack with labels one plane is drawn, since outlines over a projection would not
    lie on the edges that are seen; of a stack without labels, the maximum over Z.

    Parameters
    ----------
    metadata : ImageMetadata
        Of the image at full size: channels and time points.
    image : Readable
        A level of the image that is not much larger than the thumbnail.
    labels : Readable or None
        A level of its label image.
    """
    shape = thumbnail_shape(*image.shape5[3:])
    drawn = range(min(image.shape5[1], 3 if metadata.rgb else MOST_CHANNELS))
    fullest = None if labels is None or metadata.size("Z") == 1 else fullest_plane(labels)
    z = _same_place(fullest, labels, image.shape5[2])
    planes = [project(image, channel, z) for channel in drawn]
    channels: tuple[Channel, ...] = ()
    if metadata.rgb:
        pixels = _rgb(planes, shape)
    else:
        scaled = [resize_area(stretch(plane), shape) for plane in planes]
        channels = _channels(metadata, len(planes))
        pixels = _as_bytes(scaled[0])
        if len(scaled) > 1:
            pixels = composite(scaled, [channel.color for channel in channels])
    return Picture(
        png=encode_png(pixels),
        outlines=None if labels is None else encode_png(_overlay(labels, fullest, shape)),
        width=shape[1],
        height=shape[0],
        channels=channels,
        note=_note(metadata, len(planes), _same_place(fullest, labels, metadata.size("Z"))),
        size=_size(metadata),
    )


def _same_place(plane: int | None, labels: Readable | None, planes: int) -> int | None:
    """Return which of `planes` lies where `plane` of the labels lies."""
    if plane is None or labels is None:
        return None
    return (2 * plane + 1) * planes // (2 * labels.shape5[2])


def _rgb(planes: Sequence[NDArray[Any]], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return red, green and blue as they are, by the range of their data type."""
    stack = np.stack(planes)
    if stack.dtype.kind in "iu":
        stack = stack / float(np.iinfo(stack.dtype).max)
    finite = np.nan_to_num(stack, nan=0, posinf=1, neginf=0)
    return _as_bytes(np.stack([resize_area(plane, shape) for plane in finite], axis=-1))


def _channels(metadata: ImageMetadata, count: int) -> tuple[Channel, ...]:
    names = metadata.channel_names()[:count]
    if count == 1:
        return (Channel(names[0], "FFFFFF"),)
    stated = {channel.color for channel in metadata.channels[:count] if channel.color}
    distinct = len(stated) == count
    colors = [c.color or "" for c in metadata.channels[:count]] if distinct else PALETTE[:count]
    return tuple(Channel(name, color) for name, color in zip(names, colors, strict=True))


def _overlay(labels: Readable, plane: int | None, shape: tuple[int, int]) -> NDArray[np.uint8]:
    edge = outline(resize_nearest(project(labels, 0, plane), shape))
    rgba = np.zeros((*shape, 4), np.uint8)
    rgba[edge] = OUTLINE_RGBA
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
