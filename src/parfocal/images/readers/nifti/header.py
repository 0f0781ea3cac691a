"""What the header of a NIfTI file states.

Source: the NIfTI-1 and NIfTI-2 data formats (nifti1.h, nifti2.h).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from parfocal.errors import InputError

__all__ = ["NiftiHeader", "parse_header"]

_TYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}
_SAMPLES = {128: 3, 2304: 4}
_COMPLEX = {32, 1792, 2048}
_MAGIC = {348: b"n+1", 540: b"n+2"}
_UNITS_UM = {1: 1e6, 2: 1e3, 3: 1.0}
_UNITS_S = {8: 1.0, 16: 1e-3, 24: 1e-6}
_SPECTRAL = {32: "a frequency in Hz", 40: "a chemical shift in ppm", 48: "an angular frequency"}
_DAMAGED = "The file is truncated or damaged: copy or download it again."


@dataclass(frozen=True)
class NiftiHeader:
    """The header.

    Parameters
    ----------
    fields : dict
        All fields by their names in the standard.
    size : int
        Bytes of the header itself.
    offset : int
        Where the voxels start.
    dtype : numpy.dtype
        Data type as it is stored, with its byte order.
    samples : int
        Values a voxel: 3 or 4 for colours.
    sizes : tuple of int
        Of up to seven axes: X, Y, Z, time, and others.
    steps : tuple of float
        Distance of voxels along each of these.
    unit_um, unit_s : float, optional
        The units of distances and times; None where they are not stated.
    spectral : str, optional
        What the fourth axis is, if not time.
    """

    fields: dict[str, Any]
    size: int
    offset: int
    dtype: np.dtype[Any]
    samples: int
    sizes: tuple[int, ...]
    steps: tuple[float, ...]
    unit_um: float | None
    unit_s: float | None
    spectral: str | None

    def notes(self, name: str) -> list[str]:
        """Return what is not applied to the voxels, for the warnings about file `name`."""
        notes = []
        slope, intercept = float(self.fields["scl_slope"]), float(self.fields["scl_inter"])
        scaled = math.isfinite(slope) and slope != 0 and (slope, intercept) != (1.0, 0.0)
        if scaled:
            notes.append(
                f"{name} states a slope of {slope:g} and an intercept of {intercept:g}: values are "
                "kept as they are stored, not scaled"
            )
        rows = np.array([self.fields[f"srow_{axis}"][:3] for axis in "xyz"])
        turned = self.fields["sform_code"] > 0 and (rows != np.diag(np.abs(np.diag(rows)))).any()
        angles = [self.fields[f"quatern_{axis}"] for axis in "bcd"]
        turned |= self.fields["qform_code"] > 0 and any(angle != 0 for angle in angles)
        if turned:
            notes.append(
                f"{name} states an orientation (in OME/nifti.json): voxels are kept in the order "
                "in which they are stored, not turned"
            )
        return notes


def parse_header(content: bytes, path: Path) -> NiftiHeader:
    """Read a header from the first bytes of a file.

    Parameters
    ----------
    content : bytes
        At least 544 bytes, unless the file has fewer.
    path : Path
        The file, for errors.

    Raises
    ------
    InputError
        If it is damaged, or states what is not supported.
    """
    fields, size, order = _fields(content, path)
    magic = bytes(content[344:347] if size == 348 else content[4:7])
    if magic != _MAGIC[size]:
        what = "The file is no NIfTI file that holds its voxels itself"
        remedy = "Save the pair of .hdr and .img as one .nii file."
        raise InputError(what, where=path, expected=_MAGIC[size], found=magic, remedy=remedy)
    dtype, samples = _dtype(fields, path)
    rank = fields["dim"][0]
    sizes = tuple(fields["dim"][1 : rank + 1]) if 1 <= rank <= 7 else ()
    offset = fields["vox_offset"]
    whole = math.isfinite(offset) and offset == int(offset) and offset >= size + 4
    if not sizes or min(sizes) < 1 or not whole:
        what = "The header of the NIfTI file is damaged"
        found = f"sizes {fields['dim']}, voxels from byte {offset:g}"
        raise InputError(what, where=path, found=found, remedy=_DAMAGED)
    units = fields["xyzt_units"]
    return NiftiHeader(
        fields,
        size,
        int(offset),
        np.dtype(f"{order}{dtype.str[1:]}"),
        samples,
        sizes,
        tuple(fields["pixdim"][1 : rank + 1]),
        _UNITS_UM.get(units & 7),
        _UNITS_S.get(units & 56),
        _SPECTRAL.get(units & 56),
    )


def _fields(content: bytes, path: Path) -> tuple[dict[str, Any], int, str]:
    """Return the fields as plain values, the size of the header, and its byte order."""
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    kinds = {348: Nifti1Header, 540: Nifti2Header}
    for order, name in (("<", "little"), (">", "big")):
        size = int.from_bytes(content[:4], name)  # type: ignore[arg-type]
        if size in kinds and len(content) >= size:
            header = kinds[size](content[:size], endianness=order, check=False)
            fields = {key: _plain(header[key].tolist()) for key in header.keys()}  # noqa: SIM118
            return fields, size, order
    what = "The file is no NIfTI file, or its header is damaged"
    found = f"{len(content)} bytes that start with {content[:4].hex()}"
    raise InputError(what, where=path, found=found, remedy=_DAMAGED)


def _plain(value: Any) -> Any:
    return value.decode("latin-1").rstrip("\0") if isinstance(value, bytes) else value


def _dtype(fields: dict[str, Any], path: Path) -> tuple[np.dtype[Any], int]:
    code = fields["datatype"]
    samples = _SAMPLES.get(code, 1)
    if samples == 1 and code not in _TYPES:
        what = "The values of the NIfTI file are of a type that is not supported"
        found = "complex numbers" if code in _COMPLEX else f"data type {code}"
        expected = "integers or floats of up to 64 bits, or colours"
        remedy = "Save real and imaginary part, or magnitude and phase, as separate channels."
        raise InputError(what, where=path, expected=expected, found=found, remedy=remedy)
    dtype = np.dtype(_TYPES.get(code, "u1"))
    bits = dtype.itemsize * 8 * samples
    if fields["bitpix"] != bits:
        what = "The header of the NIfTI file contradicts itself"
        found = f"{fields['bitpix']} bits a voxel, and data type {code}"
        expected = f"{bits} bits"
        raise InputError(what, where=path, expected=expected, found=found, remedy=_DAMAGED)
    return dtype, samples
