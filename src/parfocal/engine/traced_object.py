"""From a row of a table of objects to the chunk, the image, the source and the crate."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from parfocal.core.digest import digest_path
from parfocal.engine.changed_zarr import DAMAGE
from parfocal.errors import ConfigurationError, InputError, VerificationError
from parfocal.models.record import Artifact, Record
from parfocal.provenance.crate_actions import record_path
from parfocal.provenance.trace_records import find_crate, find_results, input_of, trace_back, unlike

__all__ = ["Trace", "trace_object"]

_NAMES = ("image_id", "label_name", "label", "t")


@dataclass(frozen=True)
class Trace:
    """Where an object comes from.

    Attributes
    ----------
    row : dict
        The row of the table.
    labels : Artifact
        The label image that was measured.
    labels_found : str
        The digest of the label image as it lies there now.
    chunks : tuple of str
        The files of its full resolution that hold the object.
    records : tuple of Record
        The attempt that measured, and all that led to it.
    crate : Artifact or None
        The newest crate that has the attempt which measured.
    other_crate : Artifact or None
        Where there is none, a crate that was made before, or is of other images.
    crate_found : str or None
        The digest of the crate as it lies there now.
    unlike : tuple of str
        What the records say otherwise than the crate.
    """

    row: Mapping[str, Any]
    labels: Artifact
    labels_found: str
    chunks: tuple[str, ...]
    records: tuple[Record, ...]
    crate: Artifact | None
    other_crate: Artifact | None
    crate_found: str | None = None
    unlike: tuple[str, ...] = ()

    @property
    def source(self) -> str | None:
        """The source, as the sample sheet has it."""
        return next((r.row["source"] for r in self.records if r.row.get("source")), None)

    def as_json(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        return {
            "format": "parfocal-object-trace-1",
            "object": {name: self.row[name] for name in _NAMES},
            "labels": self.labels.model_dump(mode="json"),
            "labels_found": self.labels_found,
            "chunks": list(self.chunks),
            "source": self.source,
            "attempts": [_attempt(record) for record in self.records],
            "crate": self.crate.model_dump(mode="json") if self.crate else None,
            "crate_found": self.crate_found,
            "unlike_crate": list(self.unlike),
            "other_crate": self.other_crate.model_dump(mode="json") if self.other_crate else None,
        }


def trace_object(table: Path, row: int) -> Trace:
    """Trace an object back.

    Parameters
    ----------
    table : Path
        A Parquet file of measure-objects, in its results folder.
    row : int
        Number of the row, from 0.

    Raises
    ------
    ConfigurationError
        If there is no such row.
    InputError
        If the table or its records cannot be read, or no record tells of the table as it is.
    VerificationError
        If the object is not in the label image.
    """
    values = _read_row(table, row)
    results = find_results(table)
    records = trace_back(table, results, str(values["image_id"]))
    labels = input_of(records[0], "labels")
    if labels is None:
        what = "The table was not made from a label image"
        raise InputError(what, where=table, found=records[0].step)
    chunks = _chunks(results / labels.uri, values)
    crate, other_crate = find_crate(results, records[0])
    return Trace(
        row=values,
        labels=labels,
        labels_found=digest_path(results / labels.uri, len(os.sched_getaffinity(0))),
        chunks=chunks,
        records=tuple(records),
        crate=crate,
        other_crate=other_crate,
        crate_found=digest_path(results / crate.uri) if crate else None,
        unlike=unlike(results / crate.uri, records) if crate else (),
    )


def _read_row(table: Path, row: int) -> dict[str, Any]:
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(table) as file:
            total = file.metadata.num_rows
            start = 0
            for group in range(file.metadata.num_row_groups):
                size = file.metadata.row_group(group).num_rows
                if start <= row < start + size:
                    found = file.read_row_group(group).slice(row - start, 1).to_pylist()[0]
                    break
                start += size
            else:
                what = "The table has no such row"
                expected = f"0 to {total - 1}" if total else "no row: there is no object"
                raise ConfigurationError(what, where=table, expected=expected, found=row)
    except (OSError, ValueError) as error:
        what = "The table cannot be read"
        expected = "a Parquet file of measure-objects"
        raise InputError(what, where=table, expected=expected, found=error) from error
    missing = [name for name in _NAMES if name not in found]
    if missing:
        what = "The table is none of measure-objects: columns are missing"
        raise InputError(what, where=table, found=", ".join(missing))
    return dict(found)


def _chunks(labels: Path, row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the files of the full resolution of a label image that hold an object."""
    import zarr

    try:
        group = zarr.open_group(labels, mode="r")
        attributes: Any = group.attrs.asdict()
        multiscale = attributes.get("ome", attributes)["multiscales"][0]
        path = multiscale["datasets"][0]["path"]
        axes = [axis["name"].lower() for axis in multiscale["axes"]]
        array: Any = group[path]
        found = tuple(f"{path}/{key}" for key in _holding(array, axes, row))
    except DAMAGE as error:
        what = "The label image cannot be read"
        remedy = "'parfocal verify-run' tells whether it was changed."
        raise InputError(what, where=labels, found=error, remedy=remedy) from error
    if not found:
        what = "The object is not in the label image"
        remedy = "'parfocal verify-run' tells whether it was changed."
        raise VerificationError(what, where=labels, found=f"label {row['label']}", remedy=remedy)
    return found


def _holding(array: Any, axes: list[str], row: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys of the chunks, or shards, that hold the label, one in memory at a time."""
    bounds = [_bounds(axis, row, length) for axis, length in zip(axes, array.shape, strict=True)]
    sizes = array.shards or array.chunks
    places = [
        range(first // size, -(-end // size))
        for (first, end), size in zip(bounds, sizes, strict=True)
    ]
    for place in itertools.product(*places):
        inside = tuple(
            slice(max(first, at * size), min(end, (at + 1) * size))
            for at, size, (first, end) in zip(place, sizes, bounds, strict=True)
        )
        if np.any(array[inside] == row["label"]):
            yield array.metadata.encode_chunk_key(place)


def _bounds(axis: str, row: Mapping[str, Any], length: int) -> tuple[int, int]:
    if axis == "t":
        return int(row["t"]), int(row["t"]) + 1
    first, end = row.get(f"bbox_{axis}0"), row.get(f"bbox_{axis}1")
    return (0, length) if first is None or end is None else (int(first), int(end))


def _attempt(record: Record) -> dict[str, Any]:
    names = {
        *("step", "step_version", "parfocal_version", "commit", "lock_digest", "image_digest"),
        *("parameters", "inputs", "outputs", "started", "engine", "host"),
    }
    return record.model_dump(mode="json", include=names) | {"record": record_path(record)}
