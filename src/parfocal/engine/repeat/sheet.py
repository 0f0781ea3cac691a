"""The sample sheet of a run that is repeated: where its files lie now."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from parfocal.core.step import Step
from parfocal.errors import ConfigurationError
from parfocal.models.sheet import Row, read_sheet
from parfocal.models.source import is_uri
from parfocal.provenance.crate_copies import copied_name
from parfocal.provenance.read_crate import Action, Crate
from parfocal.provenance.verify_places import Places

__all__ = ["PlacedSheet", "place_rows"]

logger = logging.getLogger(__name__)


@dataclass
class PlacedSheet:
    """Rows of a sheet whose paths are absolute and lead to where things lie on this machine.

    Attributes
    ----------
    base : Path
        What relative paths of the run were relative to.
    rows : list of Row
    absent : set of str
        Paths at which nothing lies.
    files : set of Path
        Paths of this machine.
    fetches : bool
        Whether a source is on none.
    """

    base: Path
    rows: list[Row] = field(default_factory=list)
    absent: set[str] = field(default_factory=set)
    files: set[Path] = field(default_factory=set)
    fetches: bool = False


def place_rows(
    text: str,
    crate: Crate,
    actions: Sequence[Action],
    steps: Mapping[str, Step],
    places: Places,
) -> PlacedSheet:
    """Return the rows of the copy of a sheet, with paths of this machine.

    Parameters
    ----------
    text : str
        The copy.
    actions : sequence of Action
        The attempts that counted.
    steps : mapping of str to Step
        By their names; their inputs tell which columns are paths.
    places : Places
        Where things lie now.

    Raises
    ------
    ConfigurationError
        If the copy is no sheet.
    """
    rows = _rows(text, crate)
    columns = {port.path[1:-1] for step in steps.values() for port in step.from_sheet} | {"source"}
    base = _working_folder(rows, columns, _taken(crate, actions))
    placed = PlacedSheet(base)
    for row in rows:
        cells = row.as_text()
        changed = {
            column: _place(cells[column], placed, places)
            for column in columns & cells.keys()
            if cells[column]
        }
        placed.rows.append(Row.model_validate(cells | changed))
    return placed


def _rows(text: str, crate: Crate) -> list[Row]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "sheet.tsv"
        path.write_text(text, encoding="utf-8", newline="")
        try:
            return read_sheet(path)
        except ConfigurationError as error:
            copy = f"{crate.path}, {copied_name(crate, 'sheet') or 'sheet'}"
            where = str(error.where).replace(str(path), copy)
            remedy = "Run it by hand, with a sheet of your own."
            raise ConfigurationError(
                error.what, where=where, expected=error.expected, found=error.found, remedy=remedy
            ) from error


def _place(cell: str, placed: PlacedSheet, places: Places) -> str:
    """Return where the file of a cell lies now; addresses that nothing maps stay as they are."""
    known = cell if is_uri(cell) else str(placed.base / cell)
    found = places.of(known)
    if found is None:
        placed.fetches = True
        return cell
    placed.files.add(found)
    if not found.exists():
        placed.absent.add(str(found))
    return str(found)


def _taken(crate: Crate, actions: Iterable[Action]) -> Mapping[str, set[str]]:
    """Return the absolute paths that attempts took in, by images."""
    taken: dict[str, set[str]] = defaultdict(set)
    for action in actions:
        data = (crate.data[name] for name in action.used if name in crate.data)
        taken[action.image_id] |= {datum.name for datum in data if datum.name.startswith("/")}
    return taken


def _working_folder(
    rows: Iterable[Row], columns: Iterable[str], taken: Mapping[str, set[str]]
) -> Path:
    """Return the folder that relative paths of a sheet were relative to.

    It is told by the first of them that an attempt on its image took in: the crate has its
    absolute path. Where no relative path was taken in, it is the folder that one is in now,
    which is logged where there are relative paths.
    """
    wanted = [
        (row.image_id, PurePosixPath(cell).parts)
        for row in rows
        for column, cell in row.as_text().items()
        if column in columns and cell and not is_uri(cell) and not cell.startswith("/")
    ]
    for image_id, parts in wanted:
        for name in sorted(taken.get(image_id, ())):
            path = PurePosixPath(name).parts
            for start in range(len(path) - len(parts), 0, -1):
                if path[start : start + len(parts)] == parts:
                    return Path(*path[:start])
    if wanted:
        logger.warning(
            "The crate does not tell which folder the paths of its sheet are relative to: taken is "
            "the present one, %s",
            Path.cwd(),
        )
    return Path.cwd()
