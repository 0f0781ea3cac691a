"""The container of a TIFF: data appended in any order, directories at the end."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.closing import Closing

__all__ = ["CLASSIC_LIMIT", "Directory", "TiffFile", "Value"]

CLASSIC_LIMIT = 2**32 - 2**20
"""Bytes that surely fit into a classic TIFF, whose offsets have 32 bits."""

_TYPES = {"H": 3, "I": 4, "Q": 16, "s": 2, "R": 5}
_SUB_IFDS = 330

Value = bytes | int | Sequence[int] | Fraction | NDArray[Any]
"""The value of a tag: text, a number, numbers, or a ratio."""


@dataclass
class Directory:
    """An image file directory: tags, and the reduced images below it.

    `tags` has for each number a type, of ``H`` (16 bits), ``I`` (32 bits), ``Q`` (32 bits, 64 in
    a BigTIFF), ``s`` (text) and ``R`` (a ratio), and a value.
    """

    tags: dict[int, tuple[str, Value]]
    below: list[Directory] = field(default_factory=list)


class TiffFile(Closing):
    """A little-endian TIFF that is written; a context manager, which closes it.

    Parameters
    ----------
    path : Path
        The file to make; it must not exist.
    big : bool
        Whether to write a BigTIFF.

    Raises
    ------
    OSError
        If the disk does not take it.

    Source: TIFF revision 6.0, Adobe; Tech Note 1 on SubIFDs; the BigTIFF design.
    """

    def __init__(self, path: Path, *, big: bool) -> None:
        self.big = big
        self._word = "Q" if big else "I"
        self._count = "Q" if big else "H"
        self._file = path.open("xb", buffering=2**20)
        head = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0) if big else b"II*\0\0\0\0\0"
        self._file.write(head)
        self._end = len(head)

    def append(self, data: bytes) -> int:
        """Write `data` at the end; return where it lies, at an even offset."""
        if self._end % 2:
            self._file.write(b"\0")
            self._end += 1
        offset = self._end
        self._file.write(data)
        self._end += len(data)
        return offset

    def finish(self, pages: Iterable[Directory]) -> None:
        """Write the directories of all pages, each with those below it, and the way to them."""
        link = 8 if self.big else 4
        links = []
        for page in pages:
            offset, after = self._write(page)
            links.append((link, struct.pack(f"<{self._word}", offset)))
            link = after
        self._file.flush()
        for place, data in links:
            os.pwrite(self._file.fileno(), data, place)

    def _write(self, directory: Directory) -> tuple[int, int]:
        """Write a directory; return where it lies, and where the offset of the next one goes."""
        tags = dict(directory.tags)
        if directory.below:
            tags[_SUB_IFDS] = ("Q", [self._write(each)[0] for each in directory.below])
        entries = [self._entry(tag, *tags[tag]) for tag in sorted(tags)]
        head = struct.pack(f"<{self._count}", len(entries))
        body = head + b"".join(entries)
        offset = self.append(body + struct.pack(f"<{self._word}", 0))
        return offset, offset + len(body)

    def _entry(self, tag: int, kind: str, value: Value) -> bytes:
        """Return the entry of a tag, whose value is appended where the entry cannot hold it."""
        code, count, data = self._encoded(kind, value)
        room = struct.calcsize(self._word)
        if len(data) > room:
            data = struct.pack(f"<{self._word}", self.append(data))
        return struct.pack(f"<HH{self._word}", tag, code, count) + data.ljust(room, b"\0")

    def _encoded(self, kind: str, value: Value) -> tuple[int, int, bytes]:
        """Return the code of the type, the number of values, and their bytes."""
        if isinstance(value, bytes):
            return _TYPES["s"], len(value) + 1, value + b"\0"
        if isinstance(value, Fraction):
            return _TYPES["R"], 1, struct.pack("<II", value.numerator, value.denominator)
        kind = self._word if kind == "Q" else kind
        if isinstance(value, int):
            return _TYPES[kind], 1, struct.pack(f"<{kind}", value)
        numbers = np.asarray(value, f"<u{struct.calcsize(kind)}")
        return _TYPES[kind], len(numbers), numbers.tobytes()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
