"""Find the tiles of a whole slide in the DICOM files of its series."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parfocal.core.blocks import Shape
from parfocal.errors import InputError
from parfocal.images.readers.dicom.file import DAMAGE, DicomFile
from parfocal.images.readers.dicom.pixels import Place

__all__ = ["DicomSlide", "find_members", "gather_tiles", "is_full", "is_slide"]

_MARK_AT, _MARK = 128, b"DICM"
_TAGS = ["SeriesInstanceUID", "ImageType", "TotalPixelMatrixColumns", "TotalPixelMatrixRows"]
_VOLUME = "VOLUME"


@dataclass(frozen=True)
class DicomSlide:
    """The full resolution of a slide.

    Parameters
    ----------
    frames : dict
        For each place the file and the number of the frame.
    shape5 : tuple of int
        Size along T, C, Z, Y, X.
    paths : tuple of str
        Identifiers of the optical paths.
    depths_um : tuple of float
        Where the focal planes lie, where the frames say so.
    missing : int
        How many tiles are not stored.
    """

    frames: dict[Place, tuple[DicomFile, int]]
    shape5: Shape
    paths: tuple[str, ...]
    depths_um: tuple[float, ...]
    missing: int


def is_slide(header: Any) -> bool:
    """Tell whether an image is a tiled one of a slide."""
    return "TotalPixelMatrixColumns" in header


def find_members(path: Path) -> tuple[list[Path], list[tuple[Path, str]]]:
    """Find the files of the slide that a file belongs to.

    Parameters
    ----------
    path : Path
        A file of the series; the others lie beside it.

    Returns
    -------
    full : list of Path
        The files of the full resolution.
    others : list of (Path, str)
        Those of smaller resolutions, and of pictures of the slide with what they show.

    Raises
    ------
    InputError
        If there is no file of the scan itself.
    """
    own = _head(path)
    members = {path: own}
    for beside in sorted(path.parent.iterdir()):
        if beside != path and beside.suffix.lower() == path.suffix.lower() and _is_dicom(beside):
            head = _head(beside)
            if head is not None and head.get("SeriesInstanceUID") == own.get("SeriesInstanceUID"):
                members[beside] = head
    kinds = {file: _kind(head) for file, head in members.items()}
    sizes = {file: _area(members[file]) for file, kind in kinds.items() if kind == _VOLUME}
    if not sizes:
        what = "The slide itself is missing: there are only pictures of it"
        remedy = "Put all files of the series into one folder."
        found = ", ".join(sorted(set(kinds.values())))
        raise InputError(what, where=path, expected=_VOLUME, found=found, remedy=remedy)
    full = sorted(file for file, size in sizes.items() if size == max(sizes.values()))
    return full, sorted((file, kind) for file, kind in kinds.items() if file not in full)


def gather_tiles(files: Sequence[DicomFile]) -> DicomSlide:
    """Find where on the slide each frame of the full resolution lies.

    Parameters
    ----------
    files : sequence of DicomFile
        The files of the full resolution.

    Raises
    ------
    InputError
        If they do not fit together, or tiles lie over each other or are missing where the
        files say that all are there.

    Source: DICOM PS3.3, C.7.6.17.3 and C.8.12.14.
    """
    first = files[0]
    _check_alike(files)
    paths: list[str] = []
    depths: set[float] = set()
    found: dict[tuple[str, float, int, int], tuple[DicomFile, int]] = {}
    for file in files:
        placed = _full_places(file) if is_full(file.header) else _sparse_places(file)
        for frame, (path, depth, row, column) in enumerate(placed):
            if path not in paths:
                paths.append(path)
            depths.add(depth)
            key = (path, depth, row, column)
            if key in found:
                what = "Two tiles of the slide lie at the same place"
                where = f"{file.path}, frame {frame + 1}"
                other, number = found[key]
                raise InputError(what, where=where, found=f"{other.path}, frame {number + 1}")
            found[key] = (file, frame)
    order = sorted(depths)
    frames = {
        (0, paths.index(path), order.index(depth), row, column): frame
        for (path, depth, row, column), frame in found.items()
    }
    down, across = _grid(first)
    shape5 = (1, len(paths) * first.samples, len(order), *_matrix(first.header))
    missing = len(paths) * len(order) * down * across - len(frames)
    if missing and all(is_full(file.header) for file in files):
        what = "Tiles of the slide are missing"
        expected = f"{len(frames) + missing} tiles"
        remedy = "Put all files of the series into one folder."
        raise InputError(
            what, where=first.path, expected=expected, found=len(frames), remedy=remedy
        )
    full = any(is_full(file.header) for file in files)
    return DicomSlide(frames, shape5, tuple(paths), () if full else tuple(order), missing)


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(_MARK_AT + len(_MARK))[_MARK_AT:] == _MARK
    except OSError:
        return False  # a folder, or what may not be read


def _head(path: Path) -> Any:
    """Return the few tags that tell which slide a file belongs to; None if it is damaged."""
    import pydicom

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
        except (pydicom.errors.InvalidDicomError, OSError, *DAMAGE):
            return None


def _kind(head: Any) -> str:
    values = list(head.get("ImageType", ()) or ())
    return str(values[2]) if len(values) > 2 else _VOLUME


def _area(head: Any) -> int:
    rows, columns = _matrix(head) if is_slide(head) else (0, 0)
    return rows * columns


def _matrix(header: Any) -> tuple[int, int]:
    return int(header.TotalPixelMatrixRows), int(header.TotalPixelMatrixColumns)


def _grid(file: DicomFile) -> tuple[int, int]:
    """Return how many tiles there are down and across."""
    rows, columns = _matrix(file.header)
    return -(-rows // file.rows), -(-columns // file.columns)


def _check_alike(files: Sequence[DicomFile]) -> None:
    def layout(file: DicomFile) -> tuple[Any, ...]:
        size = (file.rows, file.columns, file.samples)
        return (*size, file.dtype.name, file.photometric, _matrix(file.header))

    for file in files[1:]:
        if layout(file) != layout(files[0]):
            what = "The files of the slide do not fit together"
            remedy = "Put each slide into a folder of its own."
            raise InputError(
                what,
                where=file.path,
                expected=layout(files[0]),
                found=layout(file),
                remedy=remedy,
            )


def is_full(header: Any) -> bool:
    """Whether frames follow each other in the standard order, all of them stored."""
    kind = header.get("DimensionOrganizationType")
    return kind == "TILED_FULL" or (not kind and "PerFrameFunctionalGroupsSequence" not in header)


def _full_places(file: DicomFile) -> Iterator[tuple[str, float, int, int]]:
    """Give the place of each frame, where these follow each other in the standard order."""
    header = file.header
    paths = [str(one.OpticalPathIdentifier) for one in header.get("OpticalPathSequence", ())]
    down, across = _grid(file)
    planes = int(header.get("TotalPixelMatrixFocalPlanes", 1) or 1)
    skipped = int(header.get("ConcatenationFrameOffsetNumber", 0) or 0)
    last = skipped + file.frames
    if last > max(1, len(paths)) * planes * down * across:
        what = "The slide has more frames than tiles"
        expected = f"{max(1, len(paths))} x {planes} planes of {down} x {across}"
        raise InputError(what, where=file.path, expected=expected, found=last)
    for number in range(skipped, last):
        plane, tile = divmod(number, down * across)
        path, depth = divmod(plane, planes)
        yield (paths[path] if paths else ""), float(depth), *divmod(tile, across)


def _sparse_places(file: DicomFile) -> Iterator[tuple[str, float, int, int]]:
    """Give the place that each frame states."""
    header = file.header
    shared = (header.get("SharedFunctionalGroupsSequence") or [None])[0]
    groups = header.PerFrameFunctionalGroupsSequence
    if len(groups) != file.frames:
        what = "The slide does not state where its frames lie"
        raise InputError(what, where=file.path, expected=file.frames, found=len(groups))
    only = header.get("OpticalPathSequence") or ()
    for number, group in enumerate(groups):
        place = group.PlanePositionSlideSequence[0]
        row, y = divmod(int(place.RowPositionInTotalImagePixelMatrix) - 1, file.rows)
        column, x = divmod(int(place.ColumnPositionInTotalImagePixelMatrix) - 1, file.columns)
        down, across = _grid(file)
        if x or y or not (0 <= row < down and 0 <= column < across):
            what = "A tile of the slide lies beside the grid of tiles"
            where = f"{file.path}, frame {number + 1}"
            remedy = "Read it with --set reader=bioformats."
            raise InputError(what, where=where, found=f"row {y}, column {x}", remedy=remedy)
        identity = _first(group, shared, "OpticalPathIdentificationSequence")
        if identity is None and len(only) > 1:
            what = "A tile of the slide does not say of which optical path it is"
            raise InputError(what, where=f"{file.path}, frame {number + 1}")
        path = identity or (only[0] if only else None)
        depth = float(place.get("ZOffsetInSlideCoordinateSystem", 0) or 0)
        yield (str(path.OpticalPathIdentifier) if path else ""), depth, row, column


def _first(group: Any, shared: Any, name: str) -> Any:
    """Return an item that a frame states, or all frames share."""
    for place in (group, shared):
        if place is not None and place.get(name):
            return place[name][0]
    return None
