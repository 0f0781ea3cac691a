"""The directories of a TIFF as Pillow parses them: where the pixels of each page lie."""

from __future__ import annotations

import logging
import struct
import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from parfocal.core.closing import Closing
from parfocal.errors import InputError

logger = logging.getLogger(__name__)

__all__ = ["TiffDirectories", "TiffPage"]

_KIND, _WIDTH, _HEIGHT, _BITS, _COMPRESSION = 254, 256, 257, 258, 259
_STRIP_OFFSETS, _SAMPLES, _ROWS, _STRIP_BYTES = 273, 277, 278, 279
_PLANAR, _PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT = 284, 317, 322, 323
_TILE_OFFSETS, _TILE_BYTES, _SUB_IFDS, _FORMAT, _DEPTH = 324, 325, 330, 339, 32997
_KINDS = {1: "u", 2: "i", 3: "f"}
_PLAIN = 1
_LESSER = 1 | 4


@dataclass(frozen=True)
class TiffPage:
    """Where the pixels of a page lie, and how they are encoded.

    Parameters
    ----------
    path : Path
        The file.
    height, width, samples : int
        Its size in pixels, and samples a pixel.
    part_height, part_width : int
        Size of a strip or tile.
    tiled : bool
        Whether parts at the edges are stored whole, as tiles are.
    planar : bool
        Whether each sample has parts of its own.
    dtype : numpy.dtype
        Data type as stored, with its byte order.
    compression, predictor : int
        As in the tags.
    offsets, counts : tuple of int
        Place and size in bytes of each part.
    below : tuple of int
        Where the directories of the lower resolutions lie.
    reduced : bool
        Whether it is itself a lower resolution, or a mask, of another page.
    """

    path: Path
    height: int
    width: int
    samples: int
    part_height: int
    part_width: int
    tiled: bool
    planar: bool
    dtype: np.dtype[Any]
    compression: int
    predictor: int
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    below: tuple[int, ...]
    reduced: bool

    @property
    def form(self) -> tuple[int, int, int, np.dtype[Any]]:
        """Height, width, samples and data type, in native byte order."""
        return self.height, self.width, self.samples, self.dtype.newbyteorder("=")


class TiffDirectories(Closing):
    """Finds the directories of one file; a context manager, which closes it.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    InputError
        If it cannot be opened, or is no TIFF.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with ExitStack() as undo:
            try:
                self._file: BinaryIO = undo.enter_context(path.open("rb"))
                self._head = self._file.read(16)
                if self._head[2:3] != b"+" and self._head[3:4] != b"+":
                    self._head = self._head[:8]
                self._chain = [int(self._directory_type()(self._head).next)]
            except (OSError, SyntaxError, ValueError, IndexError, struct.error) as error:
                raise self._unreadable(0, error) from error
            undo.pop_all()

    @staticmethod
    def _directory_type() -> Any:
        from PIL import TiffImagePlugin

        return TiffImagePlugin.ImageFileDirectory_v2

    def page(self, number: int) -> TiffPage:
        """Return a page of the main chain.

        Raises
        ------
        InputError
            If there are not as many, or it is encoded in a way that is not known here.
        """
        while len(self._chain) <= number:
            self._chain.append(int(self._load(self._chain[-1]).next))
        return self.at(self._chain[number])

    def count_like(self, page: TiffPage) -> int:
        """Count the pages of the main chain that have the form of `page`.

        Raises
        ------
        InputError
            If a directory cannot be parsed.
        """
        count, offset = 0, self._chain[0]
        seen = set()
        while offset and offset not in seen:
            seen.add(offset)
            tags = self._load(offset)
            try:
                other = self._describe(tags)
                count += other.form == page.form and not other.reduced
            except (KeyError, ValueError, TypeError, IndexError, struct.error):
                logger.debug("A directory at byte %s is of another kind", offset)
            offset = int(tags.next)
        return count

    def at(self, offset: int) -> TiffPage:
        """Return the page whose directory lies at `offset`.

        Raises
        ------
        InputError
            As for `page`.
        """
        tags = self._load(offset)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                return self._describe(tags)
        except (KeyError, ValueError, TypeError, IndexError, UserWarning, struct.error) as error:
            raise self._unreadable(offset, error) from error

    def _load(self, offset: int) -> Any:
        directory = self._directory_type()(self._head)
        if not offset:
            what = "The TIFF has fewer pages than its metadata say"
            raise InputError(what, where=self._path, found=f"{len(self._chain) - 1} pages")
        try:
            self._file.seek(offset)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                directory.load(self._file)
        except (OSError, SyntaxError, ValueError, UserWarning, struct.error) as error:
            raise self._unreadable(offset, error) from error
        return directory

    def _describe(self, tags: Any) -> TiffPage:
        samples = int(tags.get(_SAMPLES, 1))
        bits = {int(bit) for bit in _several(tags.get(_BITS, 1))}
        kinds = {int(kind) for kind in _several(tags.get(_FORMAT, 1))}
        height, width = int(tags[_HEIGHT]), int(tags[_WIDTH])
        if len(bits) > 1 or len(kinds) > 1 or int(tags.get(_DEPTH, 1)) > 1:
            msg = f"samples of {sorted(bits)} bits and kinds {sorted(kinds)}"
            raise ValueError(msg)
        tiled = _TILE_WIDTH in tags
        order = "<" if self._head.startswith(b"II") else ">"
        names = (_TILE_OFFSETS, _TILE_BYTES) if tiled else (_STRIP_OFFSETS, _STRIP_BYTES)
        offsets, counts = (tuple(int(n) for n in _several(tags[name])) for name in names)
        rows = int(tags[_TILE_HEIGHT]) if tiled else min(int(tags.get(_ROWS, height)), height)
        return TiffPage(
            path=self._path,
            height=height,
            width=width,
            samples=samples,
            part_height=rows,
            part_width=int(tags[_TILE_WIDTH]) if tiled else width,
            tiled=tiled,
            planar=int(tags.get(_PLANAR, 1)) == 2 and samples > 1,
            dtype=_dtype(bits.pop(), kinds.pop(), order),
            compression=int(tags.get(_COMPRESSION, _PLAIN)),
            predictor=int(tags.get(_PREDICTOR, 1)),
            offsets=offsets,
            counts=counts,
            below=tuple(int(n) for n in _several(tags.get(_SUB_IFDS, ()))),
            reduced=bool(int(tags.get(_KIND, 0)) & _LESSER),
        )

    def _unreadable(self, offset: int, error: Exception) -> InputError:
        what = "Pillow cannot read the directories of the TIFF"
        return InputError(what, where=f"{self._path}, byte {offset}", found=error)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _several(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _dtype(bits: int, kind: int, order: str) -> np.dtype[Any]:
    if bits not in (8, 16, 32, 64) or kind not in _KINDS or (kind == 3 and bits == 8):
        msg = f"samples of {bits} bits and kind {kind}"
        raise ValueError(msg)
    return np.dtype(f"{order}{_KINDS[kind]}{bits // 8}")
