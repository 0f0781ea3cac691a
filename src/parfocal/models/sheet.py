"""The sample sheet: one row an image, tab-separated, checked before anything runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, ValidationError, field_validator

from parfocal.errors import ConfigurationError
from parfocal.models.base import Model, explain_validation
from parfocal.models.naming import IMAGE_ID, WHOLE_RUN
from parfocal.models.source import secret_in

__all__ = ["COLUMNS", "Row", "batch_count", "batch_of", "read_sheet", "rows_digest", "write_sheet"]

COLUMNS = ("image_id", "name", "source", "series", "plate", "well", "field")


class Row(Model):
    """One image of the sample sheet. Columns of any other name are kept as text."""

    model_config = ConfigDict(frozen=True, extra="allow")

    image_id: Annotated[str, Field(pattern=f"^{IMAGE_ID}$", max_length=128)] = Field(
        description="Unique name for paths: letters, digits, dot, underscore, hyphen."
    )
    name: str = Field(default="", description="Name of the image; any text.")
    source: str = Field(min_length=1, description="Path or URI of the file, set or OME-Zarr.")
    series: str = Field(default="", description="Which image in the source, or empty.")
    plate: str = Field(default="", description="Plate that the image belongs to.")
    well: str = Field(default="", description="Well, such as B03.")
    field: str = Field(default="", description="Field of the well.")

    @field_validator("image_id")
    @classmethod
    def _is_an_image(cls, image_id: str) -> str:
        if image_id == WHOLE_RUN:
            msg = f"{WHOLE_RUN} is what records of a whole run have in its place"
            raise ValueError(msg)
        return image_id

    @property
    def free(self) -> dict[str, str]:
        """The columns that Parfocal gives no meaning to."""
        return {key: str(value) for key, value in (self.__pydantic_extra__ or {}).items()}

    def as_text(self) -> dict[str, str]:
        """Return all columns as text, the known ones first."""
        return {column: getattr(self, column) for column in COLUMNS} | self.free


def read_sheet(path: Path) -> list[Row]:
    """Read and check a sample sheet.

    Relative sources are kept as they stand: they are relative to the working folder.

    Parameters
    ----------
    path : Path
        A UTF-8 file of tab-separated columns with a header.

    Returns
    -------
    list of Row
        In the order of the file.

    Raises
    ------
    ConfigurationError
        If the file is missing or empty, a column is missing or doubled, a value is
        not allowed, or an image_id occurs twice; it names file, row and column.
    """
    lines = _lines(path)
    if not lines:
        what = "The sample sheet is empty"
        raise ConfigurationError(what, where=path, expected="a header line", remedy=_REMEDY)
    header = [column.strip() for column in lines[0]]
    _check_header(path, header)
    rows: list[Row] = []
    first_seen: dict[str, int] = {}
    for number, values in enumerate(lines[1:], 2):
        if not any(value.strip() for value in values):
            continue
        row = _row(path, number, header, values)
        if row.image_id in first_seen:
            what = "An image_id occurs twice"
            where = f"{path}, row {number}, column image_id"
            found = f"{row.image_id!r}, also in row {first_seen[row.image_id]}"
            remedy = "Give each image an image_id of its own."
            raise ConfigurationError(
                what, where=where, expected="unique values", found=found, remedy=remedy
            )
        first_seen[row.image_id] = number
        rows.append(row)
    if not rows:
        what = "The sample sheet has no images"
        raise ConfigurationError(what, where=path, expected="a row an image", remedy=_REMEDY)
    return rows


_REMEDY = "Write one with 'parfocal list-images --set source=FOLDER --sheet samples.tsv'."


def _lines(path: Path) -> list[list[str]]:
    """Return the cells of each line; what ends a line in Unicode only may stand in a cell."""
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        what = "The sample sheet is not UTF-8 text"
        where = f"{path}, row {content.count(bytes([10]), 0, error.start) + 1}"
        remedy = "Save it as UTF-8, with columns separated by tabs."
        raise ConfigurationError(what, where=where, found=error, remedy=remedy) from error
    except OSError as error:
        what = "The sample sheet cannot be read"
        raise ConfigurationError(what, where=path, found=error, remedy=_REMEDY) from error
    lines = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")
    return [line.split("\t") for line in lines] if text.strip() else []


def _check_header(path: Path, header: Sequence[str]) -> None:
    missing = [column for column in ("image_id", "source") if column not in header]
    doubled = sorted({column for column in header if header.count(column) > 1})
    unnamed = "" in header
    if missing or doubled or unnamed:
        what = "The header of the sample sheet is not valid"
        found = f"missing {missing}, doubled {doubled}" + (", a column without name" * unnamed)
        expected = "tab-separated column names with image_id and source, each once"
        raise ConfigurationError(
            what, where=f"{path}, row 1", expected=expected, found=found, remedy=_REMEDY
        )


def _row(path: Path, number: int, header: Sequence[str], values: Sequence[str]) -> Row:
    if len(values) > len(header):
        what = "A row has more values than the header has columns"
        raise ConfigurationError(
            what,
            where=f"{path}, row {number}",
            expected=len(header),
            found=len(values),
            remedy="Separate columns by single tabs, and keep tabs out of values.",
        )
    cells = dict(zip(header, [*values, *[""] * (len(header) - len(values))], strict=True))
    for name, value in cells.items():
        if secret := secret_in(value):
            what = "A sample sheet must not hold a secret, since its rows go into records"
            where = f"{path}, row {number}, column {name}"
            remedy = "Use a public URL, or download the file first and name its path."
            raise ConfigurationError(what, where=where, found=secret, remedy=remedy)
    try:
        return Row.model_validate(cells)
    except ValidationError as error:
        column = error.errors()[0]["loc"][0]
        raise ConfigurationError(
            explain_validation(error, Row),
            where=f"{path}, row {number}, column {column}",
            remedy="Correct the value; the columns are described in docs/reference/sheet.md.",
        ) from error


def write_sheet(path: Path, rows: Iterable[Row]) -> None:
    """Write a sample sheet with all columns that any row has.

    Raises
    ------
    ConfigurationError
        If a value holds a tab or a line break, which the format cannot carry.
    """
    table = [row.as_text() for row in rows]
    columns = list(dict.fromkeys(column for row in table for column in row))
    lines = ["\t".join(columns)]
    for row in table:
        values = [row.get(column, "") for column in columns]
        for column, value in zip(columns, values, strict=True):
            if any(mark in value for mark in "\t\n\r"):
                what = "A value cannot stand in a sample sheet"
                raise ConfigurationError(
                    what,
                    where=f"image {row['image_id']}, column {column}",
                    expected="no tab and no line break",
                    found=repr(value),
                    remedy="Rename the file.",
                )
        lines.append("\t".join(values))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def batch_count(rows: int, batch_size: int) -> int:
    """Return into how many batches a sheet is divided: a power of two.

    Membership is by hash of image_id, so that adding, deleting or reordering rows
    moves no other row to another batch until the number of batches doubles.
    """
    wanted = -(-rows // batch_size)
    return 1 << max(0, wanted - 1).bit_length()


def batch_of(image_id: str, batches: int) -> int:
    """Return the batch of an image among a number of `batches`."""
    return int.from_bytes(hashlib.sha256(image_id.encode()).digest()[:8], "big") % batches


def rows_digest(rows: Iterable[Row]) -> str:
    """Return a short digest of all that the rows say."""
    text: Any = [row.as_text() for row in rows]
    return hashlib.sha256(json.dumps(text, ensure_ascii=False).encode()).hexdigest()[:16]
