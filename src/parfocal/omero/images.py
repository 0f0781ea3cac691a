"""Images of an OMERO server: what it says about their pixels, owners and files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from parfocal.errors import InputError
from parfocal.models.image import Channel, ImageMetadata
from parfocal.models.source import OmeroSource
from parfocal.omero.connection import Connection
from parfocal.omero.queries import find_all, in_parts, project
from parfocal.omero.same_number import of_other_kinds
from parfocal.omero.units import micrometres, nanometres, seconds

if TYPE_CHECKING:
    from omero.gateway import BlitzGateway

__all__ = ["RESULT_MARK", "OmeroImage", "read_image", "read_images"]

RESULT_MARK = "parfocal:"
"""What the description of images holds that Parfocal wrote, and of annotations."""

_PART = 200
_IMAGES = (
    "select i from Image i join fetch i.details.owner join fetch i.details.group "
    "join fetch i.details.updateEvent left outer join fetch i.fileset "
    "left outer join fetch i.stageLabel where i.id in (:ids)"
)
_PIXELS = (
    "select p from Pixels p join fetch p.image i join fetch p.pixelsType "
    "left outer join fetch p.channels c left outer join fetch c.logicalChannel "
    "where i.id in (:ids)"
)
_TOGETHER = (
    "select f.id, count(i.id) from Image i join i.fileset f where f.id in (:ids) group by f.id"
)
_TYPES = {
    **{name: name for name in ("int8", "uint8", "int16", "uint16", "int32", "uint32")},
    "float": "float32",
    "double": "float64",
}


@dataclass(frozen=True)
class OmeroImage:
    """An image on a server.

    Attributes
    ----------
    id : int
        Its number.
    name : str
        Any text.
    pixels_id : int or None
        Of its pixels; None where it has none.
    metadata : ImageMetadata or None
        As `read_images` finds it; None where there are no pixels, or of a type that is refused.
    refused : str
        Why there is no metadata.
    fileset_id : int or None
        The files that it was imported from; None where it was made from pixels.
    in_fileset : int
        How many images these files hold.
    series : int
        Which of them it is.
    owner, group : str
        Login name and name of the group.
    group_id : int
        Of the group.
    updated_ms : int
        When it was last changed on the server, in milliseconds since 1970.
    downloadable : bool
        Whether this user may download the files.
    unknown : tuple of str
        Sizes of pixels in a unit that is no length or time, or not above 0.
    """

    id: int
    name: str
    pixels_id: int | None
    metadata: ImageMetadata | None
    refused: str = ""
    fileset_id: int | None = None
    in_fileset: int = 0
    series: int = 0
    owner: str = ""
    group: str = ""
    group_id: int = -1
    updated_ms: int = 0
    downloadable: bool = True
    unknown: tuple[str, ...] = field(default=())
    is_result: bool = False


def read_image(connection: Connection, image_id: int) -> OmeroImage:
    """Return one image; see `read_images`.

    Raises
    ------
    InputError
        If there is none of that id that the user may see.
    RemoteError
        If the server fails.
    """
    found = read_images(connection, [image_id])
    if image_id not in found:
        what = "There is no such image on the OMERO server, or this user may not see it"
        source = OmeroSource(connection.server, "image", image_id)
        others = of_other_kinds(connection, source)
        same = f"of this number {', '.join(others)}" if others else None
        remedy = "Check kind and id, and whether the user is in the group of the image."
        raise InputError(what, where=source.uri, found=same, remedy=remedy)
    return found[image_id]


def read_images(connection: Connection, ids: Sequence[int]) -> dict[int, OmeroImage]:
    """Return what the server says about images, with few questions for many of them.

    Parameters
    ----------
    connection : Connection
        To the server.
    ids : sequence of int
        Numbers of images.

    Returns
    -------
    dict of int to OmeroImage
        In the order of `ids`, without those that do not exist or may not be seen.

    Raises
    ------
    RemoteError, InputError
        If the server fails or refuses.
    """
    found: dict[int, OmeroImage] = {}
    for part in in_parts(ids, _PART):
        images, pixels, together = connection.call(partial(_ask, ids=part))
        known = {one.id.val: one for one in images}
        of_image = {one.image.id.val: one for one in pixels}
        for number in part:
            if number in known:
                found[number] = _image(known[number], of_image.get(number), together)
    return found


def _ask(gateway: BlitzGateway, ids: Sequence[int]) -> tuple[list[Any], list[Any], dict[int, int]]:
    images = find_all(gateway, _IMAGES, ids)
    pixels = find_all(gateway, _PIXELS, ids)
    filesets = sorted({one.fileset.id.val for one in images if one.fileset is not None})
    counts = project(gateway, _TOGETHER, filesets) if filesets else []
    return images, pixels, {number: int(count) for number, count in counts}


def _image(image: Any, pixels: Any, together: dict[int, int]) -> OmeroImage:
    from omero.constants.permissions import BINARYACCESS

    details = image.details
    fileset = None if image.fileset is None else image.fileset.id.val
    metadata, refused, unknown = _metadata(image, pixels)
    return OmeroImage(
        id=image.id.val,
        name=_text(image.name),
        pixels_id=None if pixels is None else pixels.id.val,
        metadata=metadata,
        refused=refused,
        fileset_id=fileset,
        in_fileset=together.get(fileset, 0) if fileset is not None else 0,
        series=image.series.val if image.series is not None else 0,
        owner=_text(details.owner.omeName),
        group=_text(details.group.name),
        group_id=details.group.id.val,
        updated_ms=details.updateEvent.time.val if details.updateEvent.time else 0,
        downloadable=not details.permissions.isRestricted(BINARYACCESS),
        unknown=unknown,
        is_result=RESULT_MARK in _text(image.description),
    )


def _metadata(image: Any, pixels: Any) -> tuple[ImageMetadata | None, str, tuple[str, ...]]:
    """Return the metadata of an image, or why there are none, and what has no known unit."""
    if pixels is None:
        return None, "it has no pixels", ()
    kind = _text(pixels.pixelsType.value)
    if kind not in _TYPES:
        return None, f"its pixels are of the type {kind!r}, which is not supported", ()
    sizes = {axis: getattr(pixels, f"size{axis}").val for axis in "TCZYX"}
    axes = "".join(axis for axis, size in sizes.items() if size > 1 or axis in "YX")
    stage = image.stageLabel
    known: dict[str, float | None] = {
        "z_um": _positive(micrometres(pixels.physicalSizeZ)),
        "y_um": _positive(micrometres(pixels.physicalSizeY)),
        "x_um": _positive(micrometres(pixels.physicalSizeX)),
        "time_increment_s": _positive(seconds(pixels.timeIncrement)),
    }
    stated = {
        "z_um": pixels.physicalSizeZ,
        "y_um": pixels.physicalSizeY,
        "x_um": pixels.physicalSizeX,
        "time_increment_s": pixels.timeIncrement,
    }
    unknown = tuple(
        f"{name} is {stated[name].getValue()} {stated[name].getUnit().name}"
        for name, value in known.items()
        if value is None and stated[name] is not None
    )
    if stage is not None:
        for axis in "zyx":
            known[f"stage_{axis}_um"] = micrometres(getattr(stage, f"position{axis.upper()}"))
    metadata = ImageMetadata(
        name=_text(image.name),
        axes=axes,
        shape=tuple(sizes[axis] for axis in axes),
        dtype=np.dtype(_TYPES[kind]).name,
        channels=_channels(pixels, sizes["C"]),
        **known,
    )
    return metadata, "", unknown


def _channels(pixels: Any, count: int) -> tuple[Channel, ...]:
    channels = [channel for channel in pixels.copyChannels() if channel is not None]
    if len(channels) != count:
        return ()
    return tuple(_channel(channel) for channel in channels)


def _channel(channel: Any) -> Channel:
    logical = channel.logicalChannel
    rgb = [getattr(channel, color) for color in ("red", "green", "blue")]
    known = all(part is not None and 0 <= part.val <= 255 for part in rgb)
    if logical is None:
        return Channel(color="".join(f"{part.val:02X}" for part in rgb) if known else None)
    return Channel(
        name=_text(logical.name) or None,
        color="".join(f"{part.val:02X}" for part in rgb) if known else None,
        excitation_nm=_positive(nanometres(logical.excitationWave)),
        emission_nm=_positive(nanometres(logical.emissionWave)),
    )


def _positive(value: float | None) -> float | None:
    return value if value is not None and value > 0 else None


def _text(value: Any) -> str:
    return "" if value is None else str(value.val)
