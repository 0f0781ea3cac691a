"""Names of the formats that are not read yet, by signature or else by suffix."""

from __future__ import annotations

from pathlib import Path

__all__ = ["HEAD_BYTES", "name_format"]

HEAD_BYTES = 256
"""How many bytes from the start of a file `name_format` looks at."""

# Offset, signature, name. The specific ones come first: containers say less than suffixes.
_SIGNATURES = (
    (0, b"\xda\xce\xbe\x0a", "Nikon ND2"),
    (0, b"ZISRAWFILE", "Zeiss CZI"),
    (128, b"DICM", "DICOM"),
    (96, b"\xa0\xc0", "DeltaVision"),
    (96, b"\xc0\xa0", "DeltaVision"),
    (208, b"MAP ", "MRC"),
    (0, b"GIF8", "GIF"),
    (0, b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"II\xbc", "JPEG XR"),
    (8, b"WEBP", "WebP"),
    (0, b"%PDF", "PDF"),
)
_SUFFIXES = {
    ".nd2": "Nikon ND2",
    ".czi": "Zeiss CZI",
    ".zvi": "Zeiss ZVI",
    ".lif": "Leica LIF",
    ".lof": "Leica LOF",
    ".xlef": "Leica XLEF",
    ".oib": "Olympus OIB",
    ".oif": "Olympus OIF",
    ".oir": "Olympus OIR",
    ".vsi": "Olympus VSI",
    ".dv": "DeltaVision",
    ".r3d": "DeltaVision",
    ".ims": "Imaris IMS",
    ".sld": "SlideBook SLD",
    ".mvd2": "Volocity MVD2",
    ".mrc": "MRC",
    ".mrxs": "MIRAX MRXS",
    ".dcm": "DICOM",
    ".ics": "ICS",
    ".ids": "ICS",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".jp2": "JPEG 2000",
    ".npy": "NumPy",
    ".nii": "NIfTI",
    ".nrrd": "NRRD",
}
_CONTAINERS = (
    (0, b"\x89HDF\r\n\x1a\n", "HDF5"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "OLE compound document"),
    (0, b"PK\x03\x04", "ZIP"),
    (0, b"\x1f\x8b", "gzip"),
)


def name_format(path: Path, head: bytes) -> tuple[str, str] | None:
    """Tell the format of a file that is not read here.

    Parameters
    ----------
    path : Path
        The file; only its suffix counts.
    head : bytes
        Its first `HEAD_BYTES` bytes.

    Returns
    -------
    tuple of str or None
        Name of the format, and ``signature`` or ``suffix``; None where neither is known.
    """
    name = _by_signature(head, _SIGNATURES)
    if name:
        return name, "signature"
    suffix = path.suffix.lower()
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix], "suffix"
    name = _by_signature(head, _CONTAINERS)
    return (name, "signature") if name else None


def _by_signature(head: bytes, table: tuple[tuple[int, bytes, str], ...]) -> str | None:
    for offset, signature, name in table:
        if head.startswith(signature, offset):
            return name
    return None
