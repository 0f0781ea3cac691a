"""Open images whose planes lie in files with telling names, which a ``.fileset.yaml`` explains."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from parfocal.errors import InputError
from parfocal.images.image import Image
from parfocal.images.readers.planes.files import PlaneFilesSource
from parfocal.images.readers.planes.plane_set import (
    Plane,
    PlaneImage,
    PlaneSet,
    consecutive,
    well_name,
)
from parfocal.models.base import explain_validation
from parfocal.models.fileset import FileSet
from parfocal.models.image import Channel

__all__ = ["open_source"]

_SUFFIX = ".fileset.yaml"
_REMEDY = "See docs/howto/plates.md for what it may hold."
_Key = tuple[str, str]
_Files = dict[_Key, dict[tuple[int, str, int], list[Path]]]
"""By series without and with well: files by what their names say of T, C and Z."""


class FileSetSource(PlaneFilesSource):
    """A ``.fileset.yaml``; its images are wells and fields as far as the names have them."""

    def _find(self) -> PlaneSet:
        return _read(self.path)

    def other_files(self) -> list[Path]:
        """Return the files that match, whether or not they make up whole images."""
        files = _scan(self.path, _parse(self.path)).values()
        return sorted({file for planes in files for several in planes.values() for file in several})


def _parse(path: Path) -> FileSet:
    import yaml

    what = "The description of the file set is not valid"
    try:
        return FileSet.model_validate(yaml.safe_load(path.read_bytes()))
    except ValidationError as error:
        found = explain_validation(error, FileSet)
        raise InputError(what, where=path, found=found, remedy=_REMEDY) from error
    except (yaml.YAMLError, OSError) as error:
        raise InputError(what, where=path, found=error, remedy=_REMEDY) from error


def _read(path: Path) -> PlaneSet:
    described = _parse(path)
    files = _scan(path, described)
    places = [place for planes in files.values() for place in planes]
    times = consecutive(path, "time points (t)", {t for t, _, _ in places})
    names = sorted({c for _, c, _ in places}, key=_natural)
    planes = consecutive(path, "planes (z)", {z for _, _, z in places})
    strange = sorted(set(described.channels) - set(names))
    if strange:
        what = "The file set describes channels that no file has"
        found = f"{', '.join(strange)}; the files have {', '.join(names)}"
        raise InputError(what, where=path, found=found, remedy=_REMEDY)
    channels = tuple(_channel(described, name) for name in names)
    labels = tuple(one.name or name for one, name in zip(channels, names, strict=True))
    plate = described.plate or path.name.removesuffix(_SUFFIX)
    axes = (times, names, planes)
    images = (_image(path, plate, key, files[key], axes) for key in sorted(files, key=_order))
    sizes = described.model_dump(
        include={"z_um", "y_um", "x_um", "time_increment_s"}, exclude_none=True
    )

    def own(_image: PlaneImage, first: Image) -> dict[str, Any]:
        """Return what the first file says, where the description does not."""
        kept = {"z_um", "y_um", "x_um", "time_increment_s", "rgb"}
        if first.metadata.size("C") > 1:
            kept |= {"channels"}
        told = first.metadata.model_dump(include=kept, exclude_none=True)
        return {**told, **sizes}

    return PlaneSet(
        path=path,
        images={image.series: image for image in images},
        labels=(tuple(map(str, times)), labels, tuple(map(str, planes))),
        fields={**sizes, "channels": channels} if names != [""] else sizes,
        texts={"fileset.yaml": path.read_bytes()},
        axes=described.axes,
        many=True,
        own=own,
    )


def _scan(path: Path, described: FileSet) -> _Files:
    """Find the files that match, by image and plane."""
    expression = described.expression()
    found: _Files = {}
    for file in _walk(path.parent, described.depth):
        match = expression.fullmatch(file.relative_to(path.parent).as_posix())
        if match is None:
            continue
        said = {key: value or "" for key, value in match.groupdict().items()}
        well = _well(path, said)
        rest = "/".join(said[key] for key in ("image", "field") if said.get(key))
        try:
            place = (int(said.get("t") or 0), said.get("channel", ""), int(said.get("z") or 0))
        except ValueError as error:
            what = "The name of a file has no number where the set says one"
            raise InputError(what, where=file, found=error, remedy=_REMEDY) from error
        found.setdefault((well, rest), {}).setdefault(place, []).append(file)
    if not found:
        what = "No file matches the pattern of the file set"
        expected = described.pattern or described.regex
        raise InputError(what, where=path, expected=expected, remedy=_REMEDY)
    return found


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or entry.name.lower().endswith(_SUFFIX):
            continue
        if entry.is_file():
            yield entry
        elif depth and entry.is_dir():
            yield from _walk(entry, depth - 1)


def _well(path: Path, said: Mapping[str, str]) -> str:
    """Return the name of the well as letters and two digits, so that B2 is B02."""
    text = said.get("well") or said.get("row", "") + said.get("column", "")
    if not text:
        return ""
    row, column = said.get("row", ""), said.get("column", "")
    if "well" in said:
        parts = re.fullmatch(r"([A-Za-z]+)[-_]?(\d+)", said["well"])
        row, column = (parts[1], parts[2]) if parts else ("", "")
    number = int(row) if row.isdigit() else _letters(row)
    try:
        return well_name(number, int(column or 0))
    except ValueError as error:
        what = "The name of a file has a well that no plate has"
        raise InputError(what, where=path, found=text, remedy=_REMEDY) from error


def _letters(text: str) -> int:
    """Return the number of a row from its letters; 0 for none."""
    number = 0
    for letter in text.upper():
        number = number * 26 + ord(letter) - ord("A") + 1
    return number


def _channel(described: FileSet, name: str) -> Channel:
    known = described.channels.get(name, Channel())
    return known if known.name else known.model_copy(update={"name": name or None})


def _natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key that sorts numbers in texts by their values."""
    parts = re.findall(r"\d+|\D+", text)
    return tuple((0, int(one), "") if one.isdigit() else (1, 0, one) for one in parts)


def _order(key: _Key) -> tuple[Any, ...]:
    well, rest = key
    return len(re.sub(r"\d", "", well)), well, _natural(rest)


def _image(
    path: Path,
    plate: str,
    key: _Key,
    files: Mapping[tuple[int, str, int], list[Path]],
    axes: tuple[list[int], list[str], list[int]],
) -> PlaneImage:
    well, rest = key
    places = [{label: n for n, label in enumerate(axis)} for axis in axes]
    planes: dict[Plane, Path] = {}
    twice: list[Path] = []
    for (t, c, z), several in files.items():
        planes[places[0][t], places[1][c], places[2][z]] = several[0]
        twice = twice or (several[1:] and several)
    series = "/".join(part for part in (well, rest) if part) or "0"
    problem = None
    if twice:
        what = "Two files are the same plane of the file set"
        found = " and ".join(str(file) for file in twice)
        remedy = "Remove one, or name in the pattern what tells them apart."
        problem = InputError(
            what, where=f"{path}, {series}", expected="one file a plane", found=found, remedy=remedy
        )
    return PlaneImage(
        series=series,
        name=f"{plate} {series}" if well or rest else plate,
        plate=plate if well else "",
        well=well,
        field=(rest or "1") if well else "",
        files=planes,
        problem=problem,
    )


open_source = FileSetSource
