"""The header and the extended header of a DeltaVision file.

Source: the image format of IVE and softWoRx (D. Agard's IMSubs2), as mrc and Bio-Formats read it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import InputError
from parfocal.images.rawfile import RawFile
from parfocal.images.readers.dimensions import check_extent

__all__ = ["HEADER_BYTES", "DeltaVisionHeader", "read_header"]

HEADER_BYTES = 1024
_MARKS = {b"\xa0\xc0": "<", b"\xc0\xa0": ">"}
_FIELDS = "10i 6f 3i 3f i i 2h i 24s 4h 6f 6h 2f 2h 3f 6h 3f i 800s"
_NAMES = (
    "width height sections mode x_start y_start z_start mx my mz dx dy dz alpha beta gamma "
    "column_axis row_axis section_axis min max mean space_group extended_bytes mark n_blank "
    "t_start blank n_integers n_floats n_resolutions z_factor min2 max2 min3 max3 min4 max4 "
    "image_type lens n1 n2 v1 v2 min5 max5 times sequence x_tilt y_tilt z_tilt wavelengths "
    "wave1 wave2 wave3 wave4 wave5 z_origin x_origin y_origin n_titles titles"
)
_AXES = {0: "CTZ", 1: "TZC", 2: "TCZ"}  # the slowest first
_TYPES = {0: "u1", 1: "i2", 2: "f4", 5: "i2", 6: "u2", 7: "i4"}
_FLOATS = (
    "photosensor time_s stage_x_um stage_y_um stage_z_um min max mean exposure_s "
    "neutral_density excitation_nm emission_nm intensity_scaling energy_factor"
)
_DAMAGED = "The file is truncated or damaged: copy or download it again."


@dataclass(frozen=True)
class DeltaVisionHeader:
    """What the headers state.

    Parameters
    ----------
    fields : dict
        The fields of the header by name; texts are decoded.
    dtype : numpy.dtype
        Data type as it is stored, with its byte order.
    axes : str
        T, C, Z, Y and X, the slowest first.
    sizes : dict
        By axis.
    sections : dict of str to (T, C, Z) float32, or empty
        What the extended header states about each section, by name.
    """

    fields: dict[str, Any]
    dtype: np.dtype[Any]
    axes: str
    sizes: dict[str, int]
    sections: dict[str, NDArray[Any]]

    @property
    def offset(self) -> int:
        """Where the pixels start."""
        return HEADER_BYTES + int(self.fields["extended_bytes"])

    @property
    def pixel_bytes(self) -> int:
        """How many bytes the pixels have."""
        return int(np.prod([*self.sizes.values()], dtype=object)) * self.dtype.itemsize


def read_header(file: RawFile, warn: list[str]) -> DeltaVisionHeader:
    """Read both headers; what is left out is added to `warn`.

    Raises
    ------
    InputError
        If they are damaged, or state what is not supported.
    """
    content = file.read_bytes(0, HEADER_BYTES)
    order = _MARKS.get(content[96:98])
    if order is None:
        what = "The file is no DeltaVision file"
        raise InputError(
            what, where=file.path, expected="the mark C0A0", found=content[96:98].hex()
        )
    values = struct.unpack(order + _FIELDS, content)
    fields: dict[str, Any] = dict(zip(_NAMES.split(), values, strict=True))
    texts = fields.pop("titles")
    count = min(max(0, fields["n_titles"]), 10)
    titles = [texts[80 * n : 80 * n + 80].split(b"\0")[0] for n in range(count)]
    fields["titles"] = [title.decode("latin-1").strip() for title in titles]
    fields["blank"] = fields["blank"].hex()
    fields["byte_order"] = {"<": "little", ">": "big"}[order]
    dtype, axes = _kind(fields, file.path)
    sizes = _sizes(fields, axes, file.path)
    header = DeltaVisionHeader(fields, np.dtype(f"{order}{dtype.str[1:]}"), axes, sizes, {})
    if fields["extended_bytes"] < 0:
        what = "The header of the DeltaVision file is damaged"
        found = f"an extended header of {fields['extended_bytes']} bytes"
        raise InputError(what, where=file.path, found=found, remedy=_DAMAGED)
    plane_bytes = header.pixel_bytes // fields["sections"]
    check_extent(file, header.offset + header.pixel_bytes, plane_bytes, warn)
    header.sections.update(_sections(file, header, order))
    return header


def _kind(fields: dict[str, Any], path: Path) -> tuple[np.dtype[Any], str]:
    mode, sequence = fields["mode"], fields["sequence"]
    if mode not in _TYPES:
        what = "The pixels of the DeltaVision file are of a type that is not supported"
        found = "complex numbers" if mode in (3, 4) else f"mode {mode}"
        remedy = "Save real numbers: magnitude and phase as separate channels."
        expected = "integers of 8, 16 or 32 bits, or floats"
        raise InputError(what, where=path, expected=expected, found=found, remedy=remedy)
    if sequence not in _AXES:
        what = "The sequence of the sections of the DeltaVision file is not known"
        expected = "0 (ZTW), 1 (WZT) or 2 (ZWT)"
        raise InputError(what, where=path, expected=expected, found=sequence, remedy=_DAMAGED)
    return np.dtype(_TYPES[mode]), _AXES[sequence] + "YX"


def _sizes(fields: dict[str, Any], axes: str, path: Path) -> dict[str, int]:
    """Return the size along each axis; 0 time points or wavelengths stand for 1."""
    sections = fields["sections"]
    times, waves = fields["times"] or 1, fields["wavelengths"] or 1
    both = times * waves
    fits = min(fields["width"], fields["height"], sections, times, waves) > 0
    if not fits or sections % both:
        what = "The sizes in the header of the DeltaVision file do not fit together"
        found = (
            f"{fields['width']} x {fields['height']} pixels, {sections} sections, "
            f"{times} time points, {waves} wavelengths"
        )
        raise InputError(what, where=path, found=found, remedy=_DAMAGED)
    sizes = {"T": times, "C": waves, "Z": sections // both}
    sizes |= {"Y": fields["height"], "X": fields["width"]}
    return {axis: int(sizes[axis]) for axis in axes}


def _sections(file: RawFile, header: DeltaVisionHeader, order: str) -> dict[str, NDArray[Any]]:
    """Return the floats of the extended header; none if it does not hold one a section."""
    names = _FLOATS.split()
    fields, stacked = header.fields, tuple(header.sizes[a] for a in header.axes[:3])
    width = fields["n_integers"] + fields["n_floats"]
    size = fields["sections"] * width * 4
    if fields["n_floats"] < len(names) or fields["n_integers"] < 0:
        return {}
    if size > fields["extended_bytes"]:
        return {}
    table = np.frombuffer(file.read_bytes(HEADER_BYTES, size), f"{order}f4")
    table = table.reshape(*stacked, width)[..., fields["n_integers"] :]
    table = np.transpose(table, [*(header.axes.index(axis) for axis in "TCZ"), 3])
    return {name: table[..., number].astype(np.float32) for number, name in enumerate(names)}
