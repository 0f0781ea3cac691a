"""Step ``list-images``: write a sample sheet with one row an image."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from parfocal.core.digest import is_zarr
from parfocal.core.step import Context, Port, Step, exact
from parfocal.errors import ConfigurationError, InputError
from parfocal.models.base import Parameters
from parfocal.models.naming import earlier_names, image_id_of
from parfocal.models.sheet import Row, read_sheet, write_sheet
from parfocal.models.source import (
    HttpSource,
    LocalSource,
    S3Source,
    is_uri,
    parse_source,
)
from parfocal.models.strangers import refuse_local_source
from parfocal.steps import SUMMARIES
from parfocal.steps.sources.inquiry import Inquiry
from parfocal.steps.sources.rows import rows_of_archive, rows_of_url

if TYPE_CHECKING:
    from parfocal.remote.folders import Listing

__all__ = ["STEP", "ListImagesParams", "run"]

logger = logging.getLogger(__name__)

_APART = (
    "files of one series are images of their own, each with its slices only (to analyse them as "
    "one volume, convert them to NIfTI or a multi-frame DICOM first)"
)


class ListImagesParams(Parameters):
    """Where to look for images."""

    source: tuple[str, ...] = Field(
        min_length=1,
        description="Files, folders, glob patterns, URIs of images or of what holds them, or "
        "sample sheets (.tsv).",
    )
    recursive: bool = Field(
        default=False, description="Whether to search folders within folders too."
    )
    pattern: str = Field(
        default="*",
        min_length=1,
        description="Which names to take: of files in folders, and of images in archives.",
    )
    tags: tuple[str, ...] = Field(
        default=(), description="Take only images that have all of these tags."
    )
    key_values: dict[str, str] = Field(
        default={}, description="Take only images with these values under these keys."
    )

    @field_validator("source", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value


def run(
    inputs: Mapping[str, Path],  # noqa: ARG001
    outputs: Mapping[str, Path],
    params: ListImagesParams,
    context: Context,
) -> None:
    """Write the sample sheet of all images that the sources hold.

    A damaged image keeps its row, with a warning, so that the run reports its failure.

    Raises
    ------
    InputError
        If a source does not exist or holds no image.
    ConfigurationError
        If a source is not valid, in Galaxy also if it is a path, or two images would have the same
        image_id.
    RemoteError
        If a server does not answer.
    """
    for text in params.source:
        refuse_local_source(text)
    home = _home(params.source[0])
    rows: list[Row] = []
    known = _Known(home)
    for text in params.source:
        listed = list(_rows(text, params, known, context))
        found = [row for row in listed if _is_wanted(row, params)]
        if not found and not known.dropped:
            raise _no_image(text, params, len(listed))
        rows += found
    for files in known.groups.values():
        if len(files) > 1:
            context.warn_of(_APART, files)
    rows = _tell_plates_apart(_unique(rows, context), context)
    write_sheet(outputs["sheet"], rows)
    context.details["images"] = len(rows)
    logger.info("%d row%s in %s", len(rows), "s" * (len(rows) != 1), outputs["sheet"].name)


def _no_image(text: str, params: ListImagesParams, listed: int) -> InputError:
    """Return what is wrong with a source that gives no row, though `listed` images were found."""
    asked = [f"tag {tag!r}" for tag in params.tags]
    asked += [f"{key!r} being {value!r}" for key, value in params.key_values.items()]
    what = "The source holds no image"
    found = None
    remedy = "List another folder, or set 'recursive' or 'pattern' otherwise."
    if asked:
        what += " that has the tags and key-values asked for"
        found = f"{listed} image(s) without" if listed else "none, with or without them"
        remedy = "Set 'tags', 'key_values' or 'pattern' otherwise, or list another source."
    if len(params.source) > 1:
        remedy += " Or take this source out: each one must hold an image."
    expected = ", ".join([f"a name like {params.pattern!r}", *asked])
    return InputError(what, where=text, expected=expected, found=found, remedy=remedy)


@dataclass
class _Known:
    """What is known of the sources so far.

    Attributes
    ----------
    home : str
        The folder whose images are called by their mere names.
    parts : set of Path
        Files that belong to an image which another file stands for.
    dropped : list of str
        Those of the latest source.
    groups : dict of str to list of str
        Files that are images of their own, by the series of files that they are one of.
    """

    home: str
    parts: set[Path] = field(default_factory=set)
    dropped: list[str] = field(default_factory=list)
    groups: dict[str, list[str]] = field(default_factory=dict)


def _rows(text: str, params: ListImagesParams, known: _Known, context: Context) -> Iterator[Row]:
    known.dropped.clear()
    source = parse_source(text)
    if isinstance(source, HttpSource):
        taken = not set(earlier_names(text)).isdisjoint(params.source)
        at_home = _home(text) == known.home
        draft = Row(
            image_id=image_id_of(source.name, text, at_home=at_home, keep_suffix=taken),
            name=source.name,
            source=text,
        )
        return rows_of_url(draft, source, context)
    if not isinstance(source, LocalSource):
        return rows_of_archive(source, Inquiry(params.pattern, params.recursive, context))
    if text.endswith(".tsv"):
        return _rows_of_sheet(source.path, known, context)
    path = str(source.path) if is_uri(text) else text
    return _rows_of_path(path, params, known, context)


def _is_wanted(row: Row, params: ListImagesParams) -> bool:
    """Return whether a row has the tags and values that are asked for."""
    free = row.as_text()
    tags = free.get("tags", "").split("; ")
    return set(params.tags) <= set(tags) and all(
        value in free.get(key, free.get(f"key:{key}", "")).split("; ")
        for key, value in params.key_values.items()
    )


def _rows_of_path(
    text: str, params: ListImagesParams, known: _Known, context: Context
) -> Iterator[Row]:
    from parfocal.images.candidates import is_image
    from parfocal.remote.folders import expand_path

    listing = expand_path(
        text, recursive=params.recursive, pattern=params.pattern, is_image=is_image
    )
    _add_parts(known.parts, (candidate.path for candidate in listing.candidates))
    _tell_passed_over(listing, known.parts, params, context)
    labels, strange = [], []
    for candidate in listing.candidates:
        shown = str(candidate.path)
        if candidate.path.absolute() in known.parts:
            known.dropped.append(shown)
            continue
        if shown != text and _is_label_image(candidate.path):
            labels.append(shown)
            continue
        place = _place(shown)
        if place is None:
            strange.append(repr(shown))
            continue
        at_home = candidate.home == known.home
        taken = _has_earlier_name(candidate.path)
        draft = Row(
            image_id=image_id_of(candidate.name, place, at_home=at_home, keep_suffix=taken),
            name=candidate.path.absolute().name,
            source=place,
        )
        yield from _rows_of_file(draft, candidate.path, candidate.name, known, context)
        known.parts |= _other_files(candidate.path)
    context.warn_of("file(s) are parts of an image that another file stands for", known.dropped)
    context.warn_of("label image(s) are no images to analyse and were left out", labels)
    why = "have a tab, a line break or no UTF-8 in their names and were left out (rename them)"
    context.warn_of(f"file(s) {why}", strange, at_most=len(strange))


def _place(path: str) -> str | None:
    """Return a path as a sheet holds it, and nothing takes it for a URI; None if it cannot."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return None
    if any(mark in path for mark in "\t\n\r"):
        return None
    return f"./{path}" if is_uri(path) else path


def _is_label_image(path: Path) -> bool:
    from parfocal.images.readers import ome_zarr

    try:
        return is_zarr(path) and ome_zarr.is_label_image(path)
    except InputError:
        return False  # its metadata are damaged: it keeps a row that will fail


def _has_earlier_name(path: Path) -> bool:
    """Tell whether another file has a better claim to the image_id of this one."""
    others = (path.with_name(name) for name in earlier_names(path.name))
    # Where capitals do not count, the other name is this very file.
    return any(other.exists() and not other.samefile(path) for other in others)


def _rows_of_sheet(path: Path, known: _Known, context: Context) -> Iterator[Row]:
    for row in read_sheet(path):
        source = parse_source(row.source)
        if row.series:
            yield row
        elif isinstance(source, LocalSource):
            yield from _rows_of_file(row, source.path, row.image_id, known, context)
        elif isinstance(source, HttpSource | S3Source):
            yield from rows_of_url(row, source, context)
        else:
            yield row


def _rows_of_file(
    draft: Row, path: Path, name: str, known: _Known, context: Context
) -> Iterator[Row]:
    from parfocal.images.listing import list_file

    entries = list_file(path, context)
    labels = [entry.name for entry in entries]
    for entry in entries:
        if entry.group:
            known.groups.setdefault(entry.group, []).append(path.name)
        usable = entry.name and labels.count(entry.name) == 1
        update = {
            "plate": entry.plate or draft.plate,
            "well": entry.well or draft.well,
            "field": entry.field or draft.field,
        }
        if len(entries) > 1:
            update |= {
                "image_id": image_id_of(name, draft.source, series=entry.series),
                "name": f"{draft.name or path.name} [{entry.name if usable else entry.series}]",
                "series": entry.series,
            }
        yield draft.model_copy(update=update)


def _add_parts(parts: set[Path], paths: Iterable[Path]) -> None:
    """Add the files that indexes of plates and other sets stand for; none of them is opened."""
    from parfocal.images.candidates import leads

    # The index of a plate stands for its copies further down, too.
    for path in sorted(filter(leads, paths), key=lambda path: len(path.parts)):
        if path.absolute() not in parts:
            parts |= _other_files(path)


def _other_files(path: Path) -> set[Path]:
    """Return the other files of an image; none where it is damaged, which its row will tell."""
    from parfocal.images import other_files

    try:
        return set(other_files(path.absolute()))
    except InputError:
        return set()


def _tell_passed_over(
    listing: Listing, parts: AbstractSet[Path], params: ListImagesParams, context: Context
) -> None:
    ignored = [path for path in listing.ignored if Path(path).absolute() not in parts]
    context.warn_of("file(s) that are not images were ignored", ignored)
    inside = {folder for path in parts for folder in path.parents}
    folders = [path for path in listing.unsearched if Path(path).absolute() not in inside]
    how = "linked" if params.recursive else "set 'recursive'"
    context.warn_of(f"folder(s) were not searched ({how})", folders)


def _home(text: str) -> str:
    """Return the folder whose images are called by their mere names."""
    source = parse_source(text)
    if not isinstance(source, LocalSource):
        return source.uri.rsplit("/", 1)[0]
    path = source.path
    if path.is_dir() and not is_zarr(path):
        return str(path)
    if path.exists():
        return str(path.parent)
    from parfocal.remote.folders import home_of_glob

    return str(home_of_glob(str(path)))


def _unique(rows: Sequence[Row], context: Context) -> list[Row]:
    """Drop images that several sources name; refuse two images of one image_id."""
    kept: dict[str, Row] = {}
    twice: list[str] = []
    for row in rows:
        other = kept.setdefault(row.image_id, row)
        if other is row:
            continue
        if (other.source, other.series) != (row.source, row.series):
            what = "Two images would have the same image_id"
            found = f"{other.source} {other.series} and {row.source} {row.series}"
            remedy = "Rename one of the files, or give them image_ids in a sample sheet."
            raise ConfigurationError(what, where=row.image_id, found=found, remedy=remedy)
        twice.append(f"{row.source} {row.series}".strip())
    context.warn_of("image(s) that were named twice are listed once", twice)
    return list(kept.values())


def _tell_plates_apart(rows: Sequence[Row], context: Context) -> list[Row]:
    """Add the folder to the names of plates that have the same one."""
    sources: dict[tuple[str, str, str], set[str]] = {}
    for row in rows:
        if row.plate:
            sources.setdefault((row.plate, row.well, row.field), set()).add(row.source)
    twice = {
        (key[0], one) for key, several in sources.items() if len(several) > 1 for one in several
    }
    if not twice:
        return list(rows)
    names = sorted({plate for plate, _ in twice})
    context.warn_of("plate name(s) stand for several plates: their folders were added", names)
    return [
        row.model_copy(update={"plate": f"{row.plate} {PurePosixPath(row.source).parent.name}"})
        if (row.plate, row.source) in twice
        else row
        for row in rows
    ]


STEP = Step(
    name="list-images",
    version="2",
    summary=SUMMARIES["list-images"],
    params=ListImagesParams,
    inputs=(),
    outputs=(Port("sheet", "sheet", "samples.tsv", "Sample sheet to write."),),
    run=run,
    exactness=exact(),
    scope="run",
)
