"""What the axes of a TIFF mean in Parfocal, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from parfocal.core.blocks import Shape
from parfocal.errors import InputError

__all__ = ["TiffLayout", "interpret_axes"]

_UNKNOWN = "QI"
_SUPPORTED = "TCZYXS"
_WORDS = {"Q": "unknown", "I": "pages"}


@dataclass(frozen=True)
class TiffLayout:
    """Where the planes of an image lie in a TIFF series.

    Parameters
    ----------
    axes : str
        Letters of the series, a permutation of some of TCZYXS.
    sizes : tuple of int
        One a letter.
    """

    axes: str
    sizes: tuple[int, ...]

    def size(self, axis: str) -> int:
        """Return the size along `axis`, 1 where there is none."""
        return self.sizes[self.axes.index(axis)] if axis in self.axes else 1

    @property
    def shape5(self) -> Shape:
        """Size along T, C (samples included), Z, Y, X."""
        channels = self.size("C") * self.size("S")
        return self.size("T"), channels, self.size("Z"), self.size("Y"), self.size("X")

    def plane(self, t: int, c: int, z: int) -> int:
        """Return the number of a plane: the index over all axes but Y, X and S."""
        index = {"T": t, "C": c, "Z": z}
        number = 0
        for axis, size in zip(self.axes, self.sizes, strict=True):
            if axis in index:
                number = number * size + index[axis]
        return number

    def strides(self) -> dict[str, int]:
        """Return the distance in pixels between neighbours along each axis, in one array."""
        return {
            axis: math.prod(self.sizes[position + 1 :]) for position, axis in enumerate(self.axes)
        }


def interpret_axes(
    axes: str, sizes: Sequence[int], stated: str | None, where: Path, warn: list[str]
) -> TiffLayout:
    """Give the axes of a TIFF series a meaning.

    Axes of size 1 other than Y and X are dropped. Pages of which the file does not say
    what they are (tifffile's Q and I) are taken as Z where that is the only such axis
    and there is no Z; a warning says so. With `stated`, the user names the axes.

    Parameters
    ----------
    axes : str
        Letters as tifffile names them.
    sizes : sequence of int
        One a letter.
    stated : str or None
        The user's letters for all axes longer than 1, and Y and X; without S.
    where : Path
        The file, for errors.
    warn : list of str
        Where warnings are added.

    Returns
    -------
    TiffLayout

    Raises
    ------
    InputError
        If an axis has no meaning here, or `stated` has not as many letters as axes.
    """
    pairs = [(a, int(s)) for a, s in zip(axes, sizes, strict=True) if s != 1 or a in "YX"]
    pairs = _restate(pairs, stated, where) if stated else _guess_pages(pairs, where, warn)
    letters = "".join(axis for axis, _ in pairs)
    strange = [axis for axis in letters if axis not in _SUPPORTED]
    if strange or len(set(letters)) != len(letters) or not {"Y", "X"} <= set(letters):
        what = "The axes of the image are not supported"
        found = ", ".join(f"{axis}={size}" for axis, size in pairs)
        expected = "T, C, Z, Y, X and samples (S), each once at most"
        raise InputError(what, where=where, expected=expected, found=found, remedy=_remedy(letters))
    return TiffLayout(letters, tuple(size for _, size in pairs))


def _remedy(letters: str) -> str:
    axes = "".join(letter for letter in letters if letter != "S")
    return (
        f"Save them as separate images, or state what the {len(axes)} axes {axes} are, "
        "such as --set axes=TZYX."
    )


def _guess_pages(
    pairs: list[tuple[str, int]], where: Path, warn: list[str]
) -> list[tuple[str, int]]:
    unknown = [(axis, size) for axis, size in pairs if axis in _UNKNOWN]
    if len(unknown) != 1 or any(axis == "Z" for axis, _ in pairs):
        return pairs
    axis, size = unknown[0]
    warn.append(
        f"{where.name} does not say what its {size} pages are: they are taken as Z. "
        "State the axes to change that, such as --set axes=TYX or axes=CYX."
    )
    return [("Z", s) if a == axis else (a, s) for a, s in pairs]


def _restate(pairs: list[tuple[str, int]], stated: str, where: Path) -> list[tuple[str, int]]:
    named = [pair for pair in pairs if pair[0] != "S"]
    fits = len(named) == len(stated) and stated.endswith("YX") == (
        "".join(a for a, _ in named).endswith("YX")
    )
    if not fits:
        what = "The stated axes do not fit the image"
        found = ", ".join(f"{_WORDS.get(axis, axis)}={size}" for axis, size in named)
        expected = f"{len(named)} axes longer than 1, of which the file knows: {found}"
        remedy = (
            f"State {len(named)} letters of TCZYX, such as --set axes={'TCZYX'[-len(named) :]}."
        )
        raise InputError(what, where=where, expected=expected, found=stated, remedy=remedy)
    letters = iter(stated)
    return [(axis, size) if axis == "S" else (next(letters), size) for axis, size in pairs]
