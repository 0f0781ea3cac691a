"""Names of images for paths, made from the names of their sources."""

from __future__ import annotations

import hashlib
import re
import unicodedata

__all__ = ["image_id_of"]

_LONGEST = 100


def image_id_of(name: str, place: str, *, at_home: bool = True, series: str = "") -> str:
    """Return the image_id of an image, which no other image has a say in.

    It is the file name without ``.tif`` where that is a valid image_id and the file lies in
    the folder that was listed first. In all other cases, 8 hex digits of the sha256 of
    `place` and `series` follow the name, so that it is unique. Only ``.tif`` is taken off:
    ``a.tif`` and ``a.tiff`` in one folder are two images.

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

    Returns
    -------
    str
        As the sample sheet asks for: letters, digits, dot, underscore, hyphen.
    """
    plain = name.removesuffix(".tif")
    ascii_only = unicodedata.normalize("NFKD", f"{plain}_{series}" if series else plain)
    ascii_only = "".join(letter for letter in ascii_only if not unicodedata.combining(letter))
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", ascii_only).lstrip(".")[:_LONGEST]
    if at_home and safe and safe == plain and not series:
        return safe
    digest = hashlib.sha256(f"{place}\0{series}".encode(errors="surrogateescape")).hexdigest()
    return f"{safe.rstrip('._-') or 'image'}-{digest[:8]}"
