"""What the header of a DICOM file says about axes, sizes and channels."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

from parfocal.errors import InputError
from parfocal.images.readers.dicom.file import DicomFile
from parfocal.images.readers.dicom.slide import DicomSlide
from parfocal.images.readers.dimensions import kept_axes
from parfocal.models.image import Channel, ImageMetadata

__all__ = ["describe_slide", "describe_stack"]

_FRAME_TIME, _FRAME_TIMES, _OFFSETS = 0x00181063, 0x00181065, 0x3004000C
_COLORS = (("Red", "FF0000"), ("Green", "00FF00"), ("Blue", "0000FF"))


def describe_slide(
    file: DicomFile, slide: DicomSlide, path: Path, stated: str | None
) -> ImageMetadata:
    """Gather what is known about a slide.

    Parameters
    ----------
    file : DicomFile
        The first file of the full resolution.
    slide : DicomSlide
        Where its frames lie.
    path : Path
        The file that the user named.
    stated : str or None
        The user's axes, which must be those of the slide.

    Raises
    ------
    InputError
        If `stated` are other axes.
    """
    _, c, z, _, _ = slide.shape5
    kept = kept_axes(slide.shape5)
    axes = kept["axes"]
    if stated is not None and stated not in (axes, axes.replace("C", "")):
        what = "The stated axes are not those of the slide"
        raise InputError(what, where=path, expected=axes, found=stated)
    sizes = _spacings(file.header)
    depths = slide.depths_um
    if len(depths) > 1:
        steps = {round(high - low, 6) for low, high in pairwise(depths)}
        sizes.pop("z_um", None)
        if len(steps) == 1:
            sizes["z_um"] = steps.pop()
    if z == 1:
        sizes.pop("z_um", None)
    named = {
        str(one.OpticalPathIdentifier): one for one in file.header.get("OpticalPathSequence", ())
    }
    channels = [
        channel for path_ in slide.paths for channel in _channels(file, path_, named.get(path_), c)
    ]
    return ImageMetadata(
        name=path.name,
        dtype=file.dtype.name,
        channels=tuple(channels),
        rgb=file.samples == c == 3,
        **kept,
        **sizes,
    )


def describe_stack(
    file: DicomFile, path: Path, stated: str | None, warn: list[str]
) -> ImageMetadata:
    """Gather what is known about an image in a file of its own.

    Parameters
    ----------
    file : DicomFile
        The file.
    path : Path
        Its path, for errors.
    stated : str or None
        The user's axes, such as ``TYX``.
    warn : list of str
        Where warnings are added.

    Raises
    ------
    InputError
        If `stated` does not fit.
    """
    sizes = _spacings(file.header)
    axis = _frame_axis(file, path, stated, warn)
    count = file.samples * (file.frames if axis == "C" else 1)
    shape = {"T": 1, "C": count, "Z": 1, "Y": file.rows, "X": file.columns}
    if axis in ("T", "Z"):
        shape[axis] = file.frames
    if axis == "T" and file.header.get("FrameTime"):
        sizes["time_increment_s"] = float(file.header.FrameTime) / 1000
    if axis != "Z":
        sizes.pop("z_um", None)
    kept = [(letter, size) for letter, size in shape.items() if size > 1 or letter in "YX"]
    channels = _channels(file, "", None, count) if count == file.samples else []
    return ImageMetadata(
        name=path.name,
        axes="".join(letter for letter, _ in kept),
        shape=tuple(size for _, size in kept),
        dtype=file.dtype.name,
        channels=tuple(channels) if count > 1 else (),
        rgb=count == file.samples == 3,
        **sizes,
    )


def _frame_axis(file: DicomFile, path: Path, stated: str | None, warn: list[str]) -> str:
    """Return along which axis the frames lie, empty where there is only one."""
    several = file.frames > 1
    if stated is not None:
        if stated[1 if several else 0 :] != "YX" or (several and stated[0] not in "TCZ"):
            what = "The stated axes do not fit the image"
            expected = "one of TYX, CYX, ZYX" if several else "YX"
            raise InputError(what, where=path, expected=expected, found=stated)
        return stated[0] if several else ""
    if not several:
        return ""
    pointed = file.header.get("FrameIncrementPointer")
    if pointed in (_FRAME_TIME, _FRAME_TIMES):
        return "T"
    if pointed != _OFFSETS and not _has_positions(file):
        warn.append(
            f"{path.name} does not say what its {file.frames} frames are: they are taken as Z. "
            "State the axes to change that, such as --set axes=TYX or axes=CYX."
        )
    return "Z"


def _has_positions(file: DicomFile) -> bool:
    """Tell whether each frame states a place of its own."""
    groups = file.header.get("PerFrameFunctionalGroupsSequence", ())
    places = {
        tuple(float(value) for value in place.get("ImagePositionPatient", ()))
        for group in groups
        for place in group.get("PlanePositionSequence", ())
    }
    return len(places) == file.frames


def _spacings(header: Any) -> dict[str, Any]:
    """Return sizes of pixels in micrometres from those in millimetres."""
    places = [header]
    for shared in header.get("SharedFunctionalGroupsSequence", ()):
        places += shared.get("PixelMeasuresSequence", ())
    sizes: dict[str, Any] = {}
    for place in places:
        pixel = list(place.get("PixelSpacing") or ())
        if len(pixel) == 2 and "x_um" not in sizes and min(map(float, pixel)) > 0:
            sizes |= {"y_um": _um(pixel[0]), "x_um": _um(pixel[1])}
        between = place.get("SpacingBetweenSlices")
        if between and float(between) > 0:
            sizes.setdefault("z_um", _um(between))
    return sizes


def _um(millimetres: Any) -> float:
    """Return micrometres without the noise of decimals that are no binary fractions."""
    return round(float(millimetres) * 1000, 9)


def _channels(file: DicomFile, path: str, described: Any, count: int) -> list[Channel]:
    """Describe the channels of one optical path."""
    name = str(described.get("OpticalPathDescription") or path) if described else path
    wave = float(described.get("IlluminationWaveLength") or 0) if described else 0.0
    if file.samples == 1:
        return [Channel(name=name or None, excitation_nm=wave or None)]
    prefix = "" if count == file.samples else f"{name} "
    if file.samples == 3:
        return [Channel(name=f"{prefix}{color}", color=code) for color, code in _COLORS]
    return [Channel(name=f"{prefix}sample_{n}") for n in range(file.samples)]
