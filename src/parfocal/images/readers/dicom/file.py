"""One DICOM file: its header, and frames that are read window by window."""

from __future__ import annotations

import struct
import threading
import warnings
from bisect import bisect_right
from collections import OrderedDict
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import InputError
from parfocal.images.rawfile import RawFile
from parfocal.images.readers.dicom.codecs import decode_frame
from parfocal.images.readers.listening import listening

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["DAMAGE", "DAMAGED", "READ_OTHERWISE", "DicomFile"]

DAMAGE = (
    ValueError,
    RuntimeError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    NotImplementedError,
    EOFError,
    struct.error,
)
"""What pydicom and imagecodecs raise when a file is damaged or of an unknown kind."""

DAMAGED = "The file is truncated or damaged: copy or export it again."
READ_OTHERWISE = "Export it uncompressed, or read it with --set reader=bioformats."
_CACHE_BYTES = 32 * 2**20
_ITEM, _END = 0xFFFEE000, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_FLOATS: dict[int, np.dtype[Any]] = {
    0x7FE00008: np.dtype(np.float32),
    0x7FE00009: np.dtype(np.float64),
}
_DEFLATED = "1.2.840.10008.1.2.1.99"


class DicomFile:
    """A DICOM file whose header is read, and whose frames can be.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    InputError
        If it is damaged, holds no image, or its pixels cannot be kept.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header, self.json, self.warnings, self._start = _read_header(path)
        with ExitStack() as undo:
            undo.callback(self.close)
            try:
                self._read_layout()
            except DAMAGE as error:
                what = "The DICOM file does not say what its pixels are"
                raise InputError(what, where=path, found=error, remedy=DAMAGED) from error
            undo.pop_all()
        self._cache: OrderedDict[int, NDArray[Any]] = OrderedDict()
        self._cached_bytes = 0
        self._lock = threading.Lock()

    def _read_layout(self) -> None:
        header = self.header
        self.syntax = header.file_meta.TransferSyntaxUID
        self.rows, self.columns = int(header.Rows), int(header.Columns)
        self.samples = int(header.get("SamplesPerPixel", 1))
        self.frames = int(header.get("NumberOfFrames", 1) or 1)
        self.photometric = str(header.PhotometricInterpretation)
        self.bits = int(header.BitsAllocated)
        self.planar = self.samples > 1 and int(header.get("PlanarConfiguration", 0) or 0) == 1
        self.tag, self._data, self._length = self._find_pixels()
        self.dtype = self._data_type()
        if min(self.rows, self.columns, self.samples, self.frames) < 1:
            what = "The image has no pixels"
            found = f"{self.frames} frames of {self.rows} x {self.columns}"
            raise InputError(what, where=self.path, found=found, remedy=DAMAGED)
        if not self.syntax.is_encapsulated:
            self._check_native()

    @cached_property
    def file(self) -> RawFile:
        """The open file."""
        return RawFile(self.path)

    def close(self) -> None:
        """Close the file."""
        if "file" in self.__dict__:
            self.file.close()

    @property
    def stored_bits(self) -> int:
        """How many bits of a sample count."""
        return int(self.header.get("BitsStored", self.bits))

    @property
    def signed(self) -> bool:
        """Whether samples are signed integers."""
        return self.dtype.kind == "i"

    def read(self, frame: int, rows: slice, columns: slice) -> NDArray[Any]:
        """Return a window of a frame as an array (samples, Y, X) in native byte order.

        Raises
        ------
        InputError
            If the file is damaged there.
        """
        if self.syntax.is_encapsulated or self.bits == 1:
            return np.moveaxis(self._decoded(frame)[rows, columns], -1, 0)
        pixels = self._read_native(frame, rows)[..., columns]
        return self._extended(pixels.astype(self.dtype, copy=False))

    def _find_pixels(self) -> tuple[int, int, int]:
        """Return the tag of the pixels, where they start, and their length."""
        order = "<" if self.syntax.is_little_endian else ">"
        implicit = self.syntax.is_implicit_VR
        head = self.file.read_bytes(self._start, 8 if implicit else 12)
        group, element = struct.unpack_from(f"{order}HH", head)
        (length,) = struct.unpack_from(f"{order}I", head, len(head) - 4)
        return group << 16 | element, self._start + len(head), length

    def _data_type(self) -> np.dtype[Any]:
        if self.tag in _FLOATS:
            return _FLOATS[self.tag]
        signed = int(self.header.get("PixelRepresentation", 0)) == 1
        if self.bits == 1:
            return np.dtype(np.uint8)
        high = int(self.header.get("HighBit", self.stored_bits - 1))
        if self.tag != 0x7FE00010 or self.bits not in (8, 16, 32) or high != self.stored_bits - 1:
            what = "The pixels of the DICOM file are not supported"
            found = f"{self.stored_bits} of {self.bits} bits up to bit {high}"
            expected = "8, 16 or 32 bits, of which the lowest count"
            raise InputError(
                what, where=self.path, expected=expected, found=found, remedy=READ_OTHERWISE
            )
        return np.dtype(f"{'i' if signed else 'u'}{self.bits // 8}")

    def _check_native(self) -> None:
        """Refuse uncompressed pixels that are laid out in an unusual way, or cut off."""
        swapped = self.bits == 8 and not self.syntax.is_little_endian
        if swapped or "YBR" in self.photometric:
            what = "The pixels of the DICOM file are stored in an unusual way"
            found = f"{self.photometric}, {self.bits} bits, {self.syntax.name}"
            raise InputError(what, where=self.path, found=found, remedy=READ_OTHERWISE)
        bits = self.frames * self.rows * self.columns * self.samples * self.bits
        needed = self._data + -(-bits // 8)
        size = self.file.size()
        if needed > size or self._length < -(-bits // 8):
            what = "The DICOM file ends before its pixels do"
            expected = f"at least {needed} bytes"
            found = f"{min(size, self._data + self._length)} bytes"
            raise InputError(what, where=self.path, expected=expected, found=found, remedy=DAMAGED)

    def _read_native(self, frame: int, rows: slice) -> NDArray[Any]:
        """Return whole rows of a frame (samples, Y, X) as they are stored."""
        count = rows.stop - rows.start
        stored = self.dtype.newbyteorder("<" if self.syntax.is_little_endian else ">")
        first = frame * self.rows * self.samples
        if self.planar:
            planes = np.empty((self.samples, count, self.columns), stored)
            starts = [first + n * self.rows + rows.start for n in range(self.samples)]
            for plane, start in zip(planes, starts, strict=True):
                self.file.read_into(plane, self._data + start * self.columns * stored.itemsize)
            return planes
        pixels = np.empty((count, self.columns, self.samples), stored)
        start = first + rows.start * self.samples
        self.file.read_into(pixels, self._data + start * self.columns * stored.itemsize)
        return np.moveaxis(pixels, -1, 0)

    def _read_bits(self, frame: int) -> NDArray[np.uint8]:
        """Return a frame of single bits, which follow each other without gaps."""
        size = self.rows * self.columns * self.samples
        first, shift = divmod(frame * size, 8)
        data = self.file.read_bytes(self._data + first, -(-(shift + size) // 8))
        values = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
        return values[shift : shift + size].reshape(self.rows, self.columns, self.samples)

    def _extended(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Carry the sign of samples with unused bits into these."""
        unused = self.bits - self.stored_bits
        return (pixels << unused) >> unused if self.signed and unused else pixels

    def _decoded(self, frame: int) -> NDArray[Any]:
        """Return a frame (Y, X, samples) from the cache of the latest, or decode it."""
        with self._lock:
            if frame in self._cache:
                self._cache.move_to_end(frame)
                return self._cache[frame]
            parts = self._fragments[frame] if self.syntax.is_encapsulated else []
        pixels = self._read_bits(frame) if self.bits == 1 else self._decode(frame, parts)
        with self._lock:
            if frame not in self._cache:
                self._cache[frame] = pixels
                self._cached_bytes += pixels.nbytes
            while self._cached_bytes > _CACHE_BYTES and len(self._cache) > 1:
                self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes
        return pixels

    def _decode(self, frame: int, parts: list[tuple[int, int]]) -> NDArray[Any]:
        where = f"{self.path}, frame {frame + 1}"
        data = b"".join(self.file.read_bytes(offset, count) for offset, count in parts)
        shape = (self.rows, self.columns, self.samples)
        try:
            pixels = decode_frame(data, self.syntax, self.photometric, shape, self.dtype)
        except DAMAGE as error:
            what = "A frame of the DICOM file cannot be decoded"
            raise InputError(
                what, where=where, expected=self.syntax.name, found=error, remedy=DAMAGED
            ) from error
        return self._extended(pixels)

    @cached_property
    def _fragments(self) -> list[list[tuple[int, int]]]:
        """For each frame the places (offset, bytes) of its parts."""
        items = self._items()
        table, parts = items[0], items[1:]
        if len(parts) == self.frames:
            return [[part] for part in parts]
        if self.frames == 1:
            return [parts]
        starts = np.frombuffer(self.file.read_bytes(*table), "<u4").tolist() if table[1] else []
        if len(starts) != self.frames or not parts:
            what = "The DICOM file does not say which parts make up its frames"
            found = f"{len(parts)} parts, {len(starts)} offsets"
            raise InputError(
                what,
                where=self.path,
                expected=f"{self.frames} frames",
                found=found,
                remedy=READ_OTHERWISE,
            )
        base = parts[0][0] - 8
        grouped: list[list[tuple[int, int]]] = [[] for _ in starts]
        for offset, count in parts:
            grouped[bisect_right(starts, offset - 8 - base) - 1].append((offset, count))
        return grouped

    def _items(self) -> list[tuple[int, int]]:
        """List the items of encapsulated pixels, the table of offsets first."""
        items: list[tuple[int, int]] = []
        offset = self._data
        while True:
            group, element, length = struct.unpack("<HHI", self.file.read_bytes(offset, 8))
            tag = group << 16 | element
            if tag == _END and items:
                return items
            if tag != _ITEM or length == _UNDEFINED:
                what = "The compressed pixels of the DICOM file are damaged"
                found = f"tag {tag:08X}"
                raise InputError(
                    what, where=self.path, expected="an item", found=found, remedy=DAMAGED
                )
            items.append((offset + 8, length))
            offset += 8 + length


def _read_header(path: Path) -> tuple[Dataset, dict[str, Any], list[str], int]:
    """Return the header, also as DICOM JSON, what is wrong with it, and where the pixels begin."""
    import pydicom

    with (
        path.open("rb") as stream,
        warnings.catch_warnings(record=True) as caught,
        listening("pydicom") as heard,
    ):
        warnings.simplefilter("always")
        try:
            header = pydicom.dcmread(stream, stop_before_pixels=True)
            deflated = header.file_meta.get("TransferSyntaxUID") == _DEFLATED
            start = stream.tell()
        except (pydicom.errors.InvalidDicomError, OSError, *DAMAGE) as error:
            what = "The DICOM file cannot be read"
            raise InputError(what, where=path, found=error, remedy=DAMAGED) from error
        content, damaged = _parse(header)
    if deflated:
        what = "The DICOM file is deflated as a whole"
        raise InputError(what, where=path, found=_DEFLATED, remedy=READ_OTHERWISE)
    # What it logs besides as errors are the tags that are told as invalid.
    texts = {f"{path.name}: {one}" for one in [*(one.message for one in caught), *heard.warnings]}
    if damaged:
        texts.add(f"{path.name}: invalid values are left out of the header: {', '.join(damaged)}")
    return header, content, sorted(texts), start


def _parse(header: Dataset) -> tuple[dict[str, Any], list[str]]:
    """Return all of a header as DICOM JSON, and the tags that are invalid.

    pydicom reads values when they are asked for; those that it cannot are taken away.
    """
    from pydicom.errors import BytesLengthException

    content, damaged = {}, []
    for tag in list(header.keys()):
        try:
            element = header[tag]
        except (BytesLengthException, *DAMAGE):
            del header[tag]
            damaged.append(str(tag))
            continue
        try:
            content[f"{tag:08X}"] = element.to_json_dict(None, 0)
        except BytesLengthException:  # of an item that pydicom could not read later either
            del header[tag]
            damaged.append(str(tag))
        except DAMAGE:
            damaged.append(str(tag))
    return content, damaged
