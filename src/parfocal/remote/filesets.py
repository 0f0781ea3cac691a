"""Which files an image consists of: an OME-TIFF may name others that hold some of its planes."""

from __future__ import annotations

import re
import struct
from html import unescape
from pathlib import Path
from typing import BinaryIO

__all__ = ["named_files"]

_NAMED = re.compile(r"<UUID\b[^>]*\bFileName\s*=\s*[\"']([^\"']+)[\"'][^>]*>([^<]*)<")
_COMPANION = re.compile(r"<BinaryOnly\b[^>]*\bMetadataFile\s*=\s*[\"']([^\"']+)[\"']")
_IMAGE_DESCRIPTION = 270
_LONGEST = 1 << 26
# By signature: byte order, where the offset of the first page stands, and the layouts of an
# offset, of the number of tags, and of a tag (TIFF 6.0 and BigTIFF).
_LAYOUTS = {
    b"II*\0": ("<", 4, "I", "H", "HHII"),
    b"MM\0*": (">", 4, "I", "H", "HHII"),
    b"II+\0": ("<", 8, "Q", "Q", "HHQQ"),
    b"MM\0+": (">", 8, "Q", "Q", "HHQQ"),
}


def named_files(path: Path) -> tuple[str, ...]:
    """Return the names of the other files that the OME-XML of a TIFF or companion names, in order.

    Where a TIFF names a companion that lies beside it, those that this names come too.

    Parameters
    ----------
    path : Path
        Any file or folder; what is no TIFF or companion, or damaged, names no files.

    Returns
    -------
    tuple of str
        Names without folder; the files lie beside `path`, or should.

    Source: OME-TIFF specification, ``TiffData/UUID/@FileName``, ``BinaryOnly/@MetadataFile``.
    """
    text = _description(path)
    names = _names(text)
    for companion in map(_base, _COMPANION.findall(text)):
        names += [companion, *_names(_description(path.with_name(companion)))]
    return tuple(dict.fromkeys(name for name in names if name not in ("", ".", "..", path.name)))


def _names(text: str) -> list[str]:
    """Return the names that an OME-XML gives to files other than its own."""
    own = re.search(r"<OME\b[^>]*\bUUID\s*=\s*[\"']([^\"']+)[\"']", text)
    return [
        _base(name)
        for name, uuid in _NAMED.findall(text)
        # A file that was renamed goes by its UUID.
        if not own or uuid.strip() != own[1].strip()
    ]


def _base(name: str) -> str:
    return unescape(name).replace("\\", "/").rsplit("/", 1)[-1]


def _description(path: Path) -> str:
    """Return the description of the first page of a TIFF, or a companion; else nothing."""
    if not path.is_file():
        return ""
    with path.open("rb") as stream:
        if path.name.lower().endswith(".companion.ome"):
            return stream.read(_LONGEST).decode(errors="replace")
        layout = _LAYOUTS.get(stream.read(4))
        if layout is None:
            return ""
        try:
            return _read_description(stream, *layout)
        except (struct.error, OverflowError, OSError):
            return ""  # the file is cut off; its reader will tell


def _read_description(
    stream: BinaryIO, order: str, start: int, offset: str, count: str, entry: str
) -> str:
    def read(layout: str) -> tuple[int, ...]:
        packed = struct.Struct(order + layout)
        return packed.unpack(stream.read(packed.size))

    stream.seek(start)
    stream.seek(*read(offset))
    for _ in range(*read(count)):
        tag, _, length, where = read(entry)
        if tag == _IMAGE_DESCRIPTION:
            stream.seek(where)
            # Texts too short to have an offset are no OME-XML; one of this size is not read.
            return stream.read(min(length, _LONGEST)).decode(errors="replace")
    return ""
