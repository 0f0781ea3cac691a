"""Describe the plate that the images of a collection are fields of."""

from __future__ import annotations

from collections.abc import Sequence

from parfocal.errors import InputError
from parfocal.images.image import ImageEntry
from parfocal.images.writers.ome_xml import OmePlate, OmeWell
from parfocal.images.writers.plate import parse_well

__all__ = ["ome_plate"]


def ome_plate(entries: Sequence[ImageEntry]) -> OmePlate | None:
    """Return the plate of all images of a source, in their order.

    Parameters
    ----------
    entries : sequence of ImageEntry
        As `list_images` lists them.

    Returns
    -------
    OmePlate or None
        None unless all of them lie in wells of one plate, which are a letter or two and a number.
    """
    plates = {entry.plate for entry in entries}
    if len(plates) != 1 or not all(entry.well for entry in entries):
        return None
    wells: dict[tuple[int, int], list[int]] = {}
    for number, entry in enumerate(entries):
        try:
            row, column = parse_well(entry.well)
        except InputError:
            return None
        wells.setdefault((_row_number(row), column - 1), []).append(number)
    return OmePlate(
        name=plates.pop(),
        rows=max(row for row, _ in wells) + 1,
        columns=max(column for _, column in wells) + 1,
        wells=tuple(OmeWell(*place, tuple(wells[place])) for place in sorted(wells)),
    )


def _row_number(letters: str) -> int:
    """Return 0 of A, 25 of Z, 26 of AA."""
    number = 0
    for letter in letters:
        number = 26 * number + ord(letter) - ord("A") + 1
    return number - 1
