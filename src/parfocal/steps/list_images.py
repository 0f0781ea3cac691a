"""Step ``list-images``: write a sample sheet with one row an image."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import Field, field_validator

from parfocal.core.digest import is_zarr
from parfocal.core.step import Context, Port, Step
from parfocal.errors import ConfigurationError, InputError
from parfocal.models.base import Parameters
from parfocal.models.naming import earlier_names, image_id_of
from parfocal.models.sheet import Row, read_sheet, write_sheet
from parfocal.models.source import HttpSource, LocalSource, is_uri, parse_source
from parfocal.steps import SUMMARIES

__all__ = ["STEP", "ListImagesParams", "run"]

logger = logging.getLogger(__name__)


class ListImagesParams(Parameters):
    """Where to look for images."""

    source: tuple[str, ...] = Field(
        min_length=1,
        description="Files, folders, glob patterns, OME-Zarr URLs, or sample sheets (.tsv).",
    )
    recursive: bool = Field(
        default=False, description="Whether to search folders within folders too."
    )
    pattern: str = Field(
        default="*", min_length=1, description="Which file names to take from folders."
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
        If a source is not valid, or two images would have the same image_id.
    RemoteError
        If a server does not answer.
    """
    home = _home(params.source[0])
    rows: list[Row] = []
    parts: set[Path] = set()
    for text in params.source:
        found = list(_rows(text, home, params, context))
        if not found:
            what = "The source holds no image"
            remedy = "List another folder, or set 'recursive' or 'pattern' otherwise."
            raise InputError(what, where=text, expected=params.pattern, remedy=remedy)
        rows += found if text.endswith(".tsv") else _without_parts(found, parts, context)
    rows = _unique(rows, context)
    write_sheet(outputs["sheet"], rows)
    context.details["images"] = len(rows)
    logger.info("%d row%s in %s", len(rows), "s" * (len(rows) != 1), outputs["sheet"].name)


def _rows(text: str, home: str, params: ListImagesParams, context: Context) -> Iterator[Row]:
    source = parse_source(text)
    if isinstance(source, HttpSource):
        taken = not set(earlier_names(text)).isdisjoint(params.source)
        at_home = _home(text) == home
        draft = Row(
            image_id=image_id_of(source.name, text, at_home=at_home, keep_suffix=taken),
            name=source.name,
            source=text,
        )
        return _rows_of_url(draft, source)
    if text.endswith(".tsv"):
        return _rows_of_sheet(source.path, context)
    path = str(source.path) if is_uri(text) else text
    return _rows_of_path(path, home, params, context)


def _rows_of_path(
    text: str, home: str, params: ListImagesParams, context: Context
) -> Iterator[Row]:
    from parfocal.remote.folders import expand_path

    listing = expand_path(text, recursive=params.recursive, pattern=params.pattern)
    _tell(context, "file(s) that are not images were ignored", listing.ignored)
    how = "linked" if params.recursive else "set 'recursive'"
    _tell(context, f"folder(s) were not searched ({how})", listing.unsearched)
    labels, strange = [], []
    for candidate in listing.candidates:
        shown = str(candidate.path)
        if shown != text and _is_label_image(candidate.path):
            labels.append(shown)
            continue
        place = _place(shown)
        if place is None:
            strange.append(repr(shown))
            continue
        at_home = candidate.home == home
        taken = _has_earlier_name(candidate.path)
        draft = Row(
            image_id=image_id_of(candidate.name, place, at_home=at_home, keep_suffix=taken),
            name=candidate.path.absolute().name,
            source=place,
        )
        yield from _rows_of_file(draft, candidate.path, candidate.name, context)
    _tell(context, "label image(s) are no images to analyse and were left out", labels)
    why = "have a tab, a line break or no UTF-8 in their names and were left out (rename them)"
    _tell(context, f"file(s) {why}", strange, at_most=len(strange))


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


def _rows_of_sheet(path: Path, context: Context) -> Iterator[Row]:
    for row in read_sheet(path):
        source = parse_source(row.source)
        if row.series:
            yield row
        elif isinstance(source, LocalSource):
            yield from _rows_of_file(row, source.path, row.image_id, context)
        else:
            yield from _rows_of_url(row, source)


def _rows_of_url(draft: Row, source: HttpSource) -> Iterator[Row]:
    from parfocal.remote.fetch import list_remote_images

    images = list_remote_images(source)
    if images is None or len(images) == 1:
        yield draft
        return
    for image in images:
        yield draft.model_copy(
            update={
                "image_id": image_id_of(draft.image_id, draft.source, series=image.path),
                "name": f"{draft.name or source.name} [{image.path}]",
                "source": f"{source.url}/{image.path}",
                "plate": image.plate or draft.plate,
                "well": image.well or draft.well,
                "field": image.field or draft.field,
            }
        )


@dataclass(frozen=True)
class _Entry:
    series: str
    name: str = ""


def _rows_of_file(draft: Row, path: Path, name: str, context: Context) -> Iterator[Row]:
    entries = _entries(path, context)
    if len(entries) == 1:
        yield draft
        return
    plate = _plate_name(path)
    labels = [entry.name for entry in entries]
    for entry in entries:
        usable = entry.name and labels.count(entry.name) == 1
        update = {
            "image_id": image_id_of(name, draft.source, series=entry.series),
            "name": f"{draft.name or path.name} [{entry.name if usable else entry.series}]",
            "series": entry.series,
        }
        if plate is not None:
            well = PurePosixPath(entry.series).parent
            update |= {"plate": plate, "well": "".join(well.parts)}
            update["field"] = PurePosixPath(entry.series).name
        yield draft.model_copy(update=update)


def _entries(path: Path, context: Context) -> Sequence[_Entry]:
    """Return the images of a file; the file itself where it cannot be read."""
    from parfocal.images import list_images
    from parfocal.images.readers import ome_zarr

    try:
        images = list_images(path)
    except InputError as error:
        context.warn(f"An image cannot be read and will fail: {error}")
    else:
        aside = [f"{path.name}: {name}" for image in images for name in image.aside]
        _tell(context, "picture(s) of a slide, not of the sample, were left out", aside)
        return [_Entry(image.series, _in_one_line(image.metadata.name)) for image in images]
    try:
        return [_Entry(series) for series in ome_zarr.series_names(path)]
    except InputError:
        return [_Entry("")]


def _without_parts(rows: Sequence[Row], parts: set[Path], context: Context) -> list[Row]:
    """Drop files that belong to an image which an earlier row names; add to `parts`."""
    from parfocal.remote.filesets import named_files

    kept, dropped = [], []
    for row in rows:
        source = parse_source(row.source)
        if isinstance(source, LocalSource):
            path = source.path.absolute()
            if path in parts:
                dropped.append(row.source)
                continue
            parts |= {path.with_name(name) for name in named_files(path)}
        kept.append(row)
    _tell(context, "file(s) are parts of an image that another file stands for", dropped)
    return kept


def _plate_name(path: Path) -> str | None:
    """Return the name of the plate that an OME-Zarr is, or None if it is none."""
    from parfocal.images.readers import ome_zarr

    plate = ome_zarr.read_attributes(path)["ome"].get("plate") if is_zarr(path) else None
    return None if plate is None else _in_one_line(str(plate.get("name") or path.name))


def _in_one_line(text: str) -> str:
    return " ".join(text.split())


def _home(text: str) -> str:
    """Return the folder whose images are called by their mere names."""
    source = parse_source(text)
    if isinstance(source, HttpSource):
        return source.url.rsplit("/", 1)[0]
    path = source.path
    if path.is_dir() and not is_zarr(path):
        return str(path)
    if path.exists():
        return str(path.parent)
    from parfocal.remote.folders import home_of_glob

    return str(home_of_glob(str(path)))


def _tell(context: Context, what: str, paths: Sequence[str], at_most: int = 10) -> None:
    if paths:
        more = f" and {len(paths) - at_most} more" if len(paths) > at_most else ""
        context.warn(f"{len(paths)} {what}: {', '.join(paths[:at_most])}{more}")


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
    _tell(context, "image(s) that were named twice are listed once", twice)
    return list(kept.values())


STEP = Step(
    name="list-images",
    version="2",
    summary=SUMMARIES["list-images"],
    params=ListImagesParams,
    inputs=(),
    outputs=(Port("sheet", "sheet", "samples.tsv", "Sample sheet to write."),),
    run=run,
    scope="run",
)
