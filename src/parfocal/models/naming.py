"""Names of images for paths, made from the names of their sources."""

from __future__ import annotations

import hashlib
import re
import unicodedata

__all__ = [
    "IMAGE_ID",
    "WHOLE_RUN",
    "can_name_file",
    "earlier_names",
    "image_id_of",
    "is_image_id",
    "well_name",
]

IMAGE_ID = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
"""What an image_id looks like; it names folders, and leads out of none."""

WHOLE_RUN = "_run"
"""What records have in place of an image_id that are about a whole run: no image is called so."""

_LONGEST_ID = 128
_LONGEST = 100
_SUFFIXES = (".tif", ".tiff", ".TIF", ".TIFF", ".Tif", ".Tiff")


def is_image_id(text: str) -> bool:
    """Return whether a text may be an image_id, as that of a whole run is, too."""
    return len(text) <= _LONGEST_ID and re.fullmatch(IMAGE_ID, text) is not None


def can_name_file(name: str) -> bool:
    """Return whether a file can have a name: without NUL, and with no half of a character."""
    return "\0" not in name and not any("\ud800" <= each <= "\udfff" for each in name)


def earlier_names(name: str) -> list[str]:
    """Return the names that have the same image_id as `name` and a better claim to it.

    They differ in the spelling of the suffix alone: ``.tif`` comes before ``.tiff``, and both
    before capitals. The later of two such files keeps its suffix in its image_id.
    """
    stem, suffix = _split(name)
    place = _SUFFIXES.index(suffix) if suffix in _SUFFIXES else len(_SUFFIXES)
    return [stem + other for other in _SUFFIXES[:place]] if suffix else []


def _split(name: str) -> tuple[str, str]:
    """Return a file name without the suffix of TIFF, and that suffix or nothing."""
    stem, dot, suffix = name.rpartition(".")
    return (stem, dot + suffix) if suffix.lower() in ("tif", "tiff") and dot else (name, "")


def image_id_of(
    name: str, place: str, *, at_home: bool = True, series: str = "", keep_suffix: bool = False
) -> str:
    """Return the image_id of an image, which no other image has a say in.

    It is the file name without the suffix of TIFF, in any spelling, where that is a valid
    image_id and the file lies in the folder that was listed first. In all other cases, 8 hex
    digits of the sha256 of `place` and `series` follow the name, so that it is unique.

    Parameters
    ----------
    name : str
        File name, or path below the listed folder.
    place : str
        The whole source.
    at_home : bool
        Whether it lies in the folder that was listed first.
    series : str
        Which image of several; empty for the only one.
    keep_suffix : bool
        Whether one of the `earlier_names` is there.

    Returns
    -------
    str
        As the sample sheet asks for: letters, digits, dot, underscore, hyphen; neither dot
        nor hyphen first.
    """
    plain = name if keep_suffix else _split(name)[0]
    ascii_only = unicodedata.normalize("NFKD", f"{plain}_{series}" if series else plain)
    ascii_only = "".join(letter for letter in ascii_only if not unicodedata.combining(letter))
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", ascii_only).lstrip(".-")[:_LONGEST]
    if at_home and safe and safe == plain and not series and safe != WHOLE_RUN:
        return safe
    digest = hashlib.sha256(f"{place}\0{series}".encode(errors="surrogateescape")).hexdigest()
    return f"{safe.rstrip('._-') or 'image'}-{digest[:8]}"


def well_name(row: int, column: int) -> str:
    """Return what a well is called, such as ``B02``, from its row and column from 0 on."""
    letters = ""
    row += 1
    while row:
        row, rest = divmod(row - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return f"{letters}{column + 1:02}"
