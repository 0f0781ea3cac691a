"""Where everything lies in a results folder: the one place that makes paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from string import Formatter

from parfocal.core.step import Port, Step
from parfocal.errors import ConfigurationError
from parfocal.models.base import Parameters
from parfocal.models.sheet import COLUMNS, Row
from parfocal.models.source import source_key
from parfocal.provenance.verify_lists import LISTS

__all__ = [
    "digest_lists_of",
    "job_attempt_path",
    "outcome_path",
    "port_path",
    "relative_uri",
    "resolve_ports",
]


def port_path(results: Path, port: Port, params: Parameters, row: Row) -> Path | None:
    """Return where an input or output of one image lies in a batch.

    Returns
    -------
    Path or None
        Below `results`; or as it stands, when the whole path is a column of the sheet, and
        None when that column is empty or absent.

    Raises
    ------
    ConfigurationError
        If the path names something that neither the parameters nor the sheet have.
    """
    names = _fields(port)
    values = row.as_text() | {"source_key": source_key(row.source)}
    values |= {name: str(getattr(params, name)) for name in names if hasattr(params, name)}
    if names and names[0] and port.path == f"{{{names[0]}}}":
        column = values.get(names[0])
        return Path(column) if column else None
    unknown = [name for name in names if name not in values]
    if unknown:
        what = f"The path of '{port.name}' names unknown fields"
        expected = f"fields of the parameters or columns such as {', '.join(COLUMNS)}"
        raise ConfigurationError(what, where=port.path, expected=expected, found=unknown)
    return results / port.path.format_map(values)


def _fields(port: Port) -> list[str]:
    try:
        return [name for _, name, _, _ in Formatter().parse(port.path) if name is not None]
    except ValueError as error:
        what = f"The path of '{port.name}' is not well formed"
        remedy = "Write braces that stand for themselves twice."
        raise ConfigurationError(what, where=port.path, found=error, remedy=remedy) from error


def resolve_ports(
    results: Path, step: Step, params: Parameters, row: Row, replaced: Mapping[str, str]
) -> tuple[dict[str, Path], dict[str, Path]]:
    """Return the inputs and outputs of a step for one row, by the names of the ports.

    Parameters
    ----------
    replaced : mapping of str to str
        Paths of ports other than the step's own, such as ``{"image":
        "images/{image_id}/filtered.ome.zarr"}``.

    Raises
    ------
    ConfigurationError
        If the step has no such port, or a path names what neither parameters nor sheet have.
    """
    known = [port.name for port in (*step.inputs, *step.outputs)]
    unknown = sorted(set(replaced) - set(known))
    if unknown:
        what = f"{step.name} has no such input or output"
        raise ConfigurationError(what, where=", ".join(unknown), expected=", ".join(known))
    found: list[dict[str, Path]] = []
    for ports in (step.inputs, step.outputs):
        placed = [replace(port, path=replaced.get(port.name, port.path)) for port in ports]
        paths = {port.name: port_path(results, port, params, row) for port in placed}
        found.append({name: path for name, path in paths.items() if path is not None})
    return found[0], found[1]


def outcome_path(results: Path, step: Step, batch: int) -> Path:
    """Return where the outcome of a batch lies."""
    return results / "outcomes" / step.folder / f"{batch}.json"


def digest_lists_of(results: Path) -> Path:
    """Return where the digests of the files of each OME-Zarr lie, by the digest of the whole."""
    return results / LISTS


def job_attempt_path(results: Path, step: Step, name: str) -> Path:
    """Return where the last attempt at a batch is told of, `name` being that of its outcome."""
    return results / "attempts" / step.folder / f"{name}.json"


def relative_uri(path: Path, results: Path | None) -> str:
    """Return `path` relative to the results folder where it lies below it, else absolute."""
    if results is not None and path.absolute().is_relative_to(results.absolute()):
        return path.absolute().relative_to(results.absolute()).as_posix()
    return str(path.absolute())
