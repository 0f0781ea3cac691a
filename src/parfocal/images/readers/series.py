"""Which of the images of a source is meant."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from parfocal.errors import InputError

__all__ = ["choose_series"]

_SHOWN = 20


def choose_series(
    path: Path, series: str, available: Sequence[str], names: Sequence[str] = ()
) -> int:
    """Return which of the images to open; the only one where none is stated.

    Parameters
    ----------
    path : Path
        The source, for errors.
    series : str
        What the user asks for; may be empty.
    available : sequence of str
        How the images are called, as `list_series` does.
    names : sequence of str
        What each shows, for errors.

    Returns
    -------
    int
        Its place in `available`.

    Raises
    ------
    InputError
        If there is no such image, or several and `series` is empty.
    """
    if series in available:
        return list(available).index(series)
    if len(available) == 1 and (not series or (series == "0" and available[0] == "")):
        return 0
    shown = [
        f"{one} is {names[n]!r}" if n < len(names) and names[n] else one
        for n, one in enumerate(available[:_SHOWN])
    ]
    more = ", ..." if len(available) > _SHOWN else ""
    what = "The source has no such image" if series else "The source holds several images"
    example = f"--set series={available[-1]}, or in the sheet's column" if available else "none"
    remedy = f"State one, such as {example}. There are: {', '.join(shown)}{more}."
    found = repr(series) if series else f"{len(available)} images"
    raise InputError(what, where=path, expected="one image", found=found, remedy=remedy)
