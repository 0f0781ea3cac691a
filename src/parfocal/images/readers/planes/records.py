"""Sets of images from the records of an index: one a plane, with its well, field and file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from parfocal.errors import InputError
from parfocal.images.image import Image
from parfocal.images.readers.planes.plane_set import (
    Plane,
    PlaneImage,
    PlaneSet,
    even_step,
    well_name,
)
from parfocal.models.image import Channel

__all__ = ["Index", "PlaneRecord", "elements", "local_name", "set_of_records", "unreadable"]

_Place = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class PlaneRecord:
    """What an index says about one plane.

    Parameters
    ----------
    well : tuple of int
        Row and column, from 1.
    field, time, channel, plane : int
        As the index numbers them.
    path : Path
        The file of the plane.
    stage_um : tuple of float or None
        Where the stage was along Z, Y, X.
    seconds : float, optional
        When it was taken.
    """

    well: tuple[int, int]
    field: int
    time: int
    channel: int
    plane: int
    path: Path
    stage_um: tuple[float | None, float | None, float | None] = (None, None, None)
    seconds: float | None = None

    @property
    def key(self) -> _Place:
        """Row, column and field."""
        return (*self.well, self.field)


@dataclass
class Index:
    """What an index says.

    Parameters
    ----------
    path : Path
        The index.
    plate : str
        Name of the plate.
    records : list of PlaneRecord
        All planes.
    channels : dict of int to Channel
        By the number of the channel.
    fields : dict
        Fields of ImageMetadata that all images share.
    texts : dict of str to bytes
        The index itself, and what belongs to it.
    warnings : list of str
        What was left out.
    own : callable, optional
        As of `PlaneSet`.
    """

    path: Path
    plate: str
    records: list[PlaneRecord]
    channels: dict[int, Channel]
    fields: dict[str, Any]
    texts: dict[str, bytes]
    warnings: list[str]
    own: Callable[[PlaneImage, Image], dict[str, Any]] | None = None


def local_name(element: ET.Element) -> str:
    """Return the name of an element without its namespace."""
    return element.tag.rpartition("}")[2]


def unreadable(path: Path, found: object) -> InputError:
    """Return the error to raise for an index that cannot be read."""
    what = "The index of the plate is damaged, or of an unknown kind"
    remedy = "Copy the plate again."
    return InputError(what, where=path, found=found, remedy=remedy)


def elements(path: Path) -> Iterator[ET.Element]:
    """Iterate over the elements of an XML file as they end; the first that comes is the root.

    Raises
    ------
    InputError
        If it is not well-formed, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            parser = ET.iterparse(file, ("start", "end"))  # noqa: S314 - expat limits entities
            _, root = next(parser)
            yield root
            yield from (element for event, element in parser if event == "end")
    except (ET.ParseError, StopIteration, OSError, LookupError, ValueError) as error:
        raise unreadable(path, error) from error


def set_of_records(index: Index) -> PlaneSet:
    """Put the images of an index together.

    Returns
    -------
    PlaneSet
        An image a field of a well, in their order. All have the time points, channels and
        planes that any has: where one lacks some, it cannot be opened.

    Raises
    ------
    InputError
        If the index names no planes, or a well that no plate has.
    """
    if not index.records:
        raise unreadable(index.path, "no planes in it")
    times = sorted({record.time for record in index.records})
    channels = sorted({record.channel for record in index.records})
    planes = sorted({record.plane for record in index.records})
    axes = (times, channels, planes)
    groups: dict[_Place, list[PlaneRecord]] = {}
    for record in index.records:
        groups.setdefault(record.key, []).append(record)
    fields = Counter(key[:2] for key in groups)
    images = [
        _image(index, axes, groups[key], (fields[key[:2]], max(fields.values())))
        for key in sorted(groups)
    ]
    described = tuple(index.channels.get(number, Channel()) for number in channels)
    names = tuple(one.name or str(number) for one, number in zip(described, channels, strict=True))
    return PlaneSet(
        path=index.path,
        images={image.series: image for image in images},
        labels=(tuple(map(str, times)), names, tuple(map(str, planes))),
        fields={"channels": described, **index.fields, **_steps(index, axes, groups)},
        texts=index.texts,
        warnings=tuple(index.warnings),
        own=index.own,
    )


def _image(
    index: Index,
    axes: tuple[Sequence[int], Sequence[int], Sequence[int]],
    records: Sequence[PlaneRecord],
    fields: tuple[int, int],
) -> PlaneImage:
    """Make the image of a field from its planes."""
    places = [{number: n for n, number in enumerate(axis)} for axis in axes]
    files: dict[Plane, PlaneRecord] = {}
    problem = None
    first = records[0]
    try:
        well = well_name(*first.well)
    except ValueError as error:
        raise unreadable(index.path, f"a well that no plate has: {error}") from error
    series = f"{well}/{first.field}"
    for record in records:
        plane = (
            places[0][record.time],
            places[1][record.channel],
            places[2][record.plane],
        )
        other = files.setdefault(plane, record)
        if other is not record and problem is None:
            problem = _doubled(index, series, other, record)
    own = files.get((0, 0, 0), first).stage_um
    stage = dict(zip(("stage_z_um", "stage_y_um", "stage_x_um"), own, strict=True))
    few = f"Well {well} has {fields[0]} fields, where other wells have {fields[1]}"
    return PlaneImage(
        series=series,
        name=f"{index.plate} {series}",
        plate=index.plate,
        well=well,
        field=str(first.field),
        files={plane: record.path for plane, record in files.items()},
        fields={key: value for key, value in stage.items() if value is not None},
        warnings=(few,) if fields[0] < fields[1] else (),
        problem=problem,
    )


def _doubled(index: Index, series: str, one: PlaneRecord, other: PlaneRecord) -> InputError:
    what = "The index of the plate has a plane twice"
    where = f"{index.path}, {series}, channel {one.channel}, plane {one.plane}, time {one.time}"
    found = f"{one.path.name} and {other.path.name}"
    remedy = "Export or copy the plate again, each measurement into a folder of its own."
    return InputError(what, where=where, expected="one file a plane", found=found, remedy=remedy)


def _steps(
    index: Index,
    axes: tuple[Sequence[int], Sequence[int], Sequence[int]],
    groups: Mapping[_Place, Sequence[PlaneRecord]],
) -> dict[str, Any]:
    """Return the distances of planes and of time points, where they are even."""
    times, channels, planes = axes
    fullest = max(groups.values(), key=len)
    records = {(one.time, one.channel, one.plane): one for one in fullest}
    along_z = [records.get((times[0], channels[0], plane)) for plane in planes]
    along_t = [records.get((time, channels[0], planes[0])) for time in times]
    heights = [one.stage_um[0] for one in along_z if one]
    seconds = [one.seconds for one in along_t if one]
    steps: dict[str, Any] = {}
    for key, values in (("z_um", heights), ("time_increment_s", seconds)):
        known = [value for value in values if value is not None]
        if len(known) < 2 or len(known) != len(values):
            continue
        step = even_step(known)
        if step is None:
            told = "planes" if key == "z_um" else "time points"
            index.warnings.append(f"The {told} are not evenly spaced: their distance is left out")
        else:
            steps[key] = step
    return steps
