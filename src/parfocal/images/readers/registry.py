"""Which formats there are, how to know them, and which module and library read each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

__all__ = [
    "BIO_FORMATS",
    "FORMATS",
    "HEAD_BYTES",
    "OME_ZARR",
    "Format",
    "ReadOptions",
    "find_format",
]

HEAD_BYTES = 512
"""How many bytes from the start of a file `find_format` looks at."""


@dataclass(frozen=True)
class ReadOptions:
    """How to read an image.

    Parameters
    ----------
    axes : str, optional
        The axes in their order, such as ``TZYX``, where the file does not say.
    threads : int
        How many threads the reader may use to decode.
    alone : bool
        Whether the file stands for itself, so that no others are to be taken for parts of it.
    """

    axes: str | None = None
    threads: int = 1
    alone: bool = False


@dataclass(frozen=True)
class Format:
    """A format, or a family of formats that one library reads.

    Parameters
    ----------
    name : str
        What users call it.
    module : str
        Module of `parfocal.images.readers` that reads it.
    suffixes : tuple of str
        Endings of names, in lower case, longer ones first; those without a dot are whole names.
    signatures : tuple of (int, bytes)
        Offset and bytes, each of which is a sign of it.
    extra : str, optional
        The extra of the package that must be installed for it.
    needs : tuple of str
        Modules that the extra brings.
    library : str
        Name of the library and its licence, for the documentation.
    second : tuple of str
        Modules of readers that can prove a conversion, the best first.
    """

    name: str
    module: str
    suffixes: tuple[str, ...] = ()
    signatures: tuple[tuple[int, bytes], ...] = ()
    extra: str | None = None
    needs: tuple[str, ...] = ()
    library: str = ""
    second: tuple[str, ...] = ("bioformats",)

    @property
    def installed(self) -> bool:
        """Whether all that its reader needs can be imported."""
        return all(find_spec(name) is not None for name in self.needs)


# TIFFs by their signatures, of which our reader would show a preview or a part.
_BY_BIO_FORMATS = (".flex", ".dng", ".nef", ".cr2", ".fff")
_HDF5 = (0, b"\x89HDF\r\n\x1a\n")

# A signature decides before a suffix does, and what comes first decides among equals.
FORMATS = (
    Format(
        "Nikon ND2",
        "nd2",
        (".nd2",),
        ((0, b"\xda\xce\xbe\x0a"),),
        extra="nd2",
        needs=("nd2",),
        library="nd2 (BSD-3-Clause)",
    ),
    Format(
        "Zeiss CZI",
        "czi",
        (".czi",),
        ((0, b"ZISRAWFILE"),),
        extra="czi",
        needs=("pylibCZIrw",),
        library="pylibCZIrw (LGPL-3.0)",
        second=("czi_segments", "bioformats"),
    ),
    Format(
        "Zeiss CZI without libCZI",  # a second reader: no file is of this format
        "czi_segments",
        library="imagecodecs (BSD-3-Clause)",
        second=(),
    ),
    Format(
        "Leica LIF",
        "lif",
        (".lif", ".lof", ".xlef"),
        ((0, b"\x70\0\0\0"),),
        extra="lif",
        needs=("liffile",),
        library="liffile (BSD-3-Clause)",
    ),
    Format(
        "Olympus OIB or OIF",
        "olympus",
        (".oib", ".oif"),
        extra="olympus",
        needs=("oiffile",),
        library="oiffile (BSD-3-Clause)",
    ),
    Format(
        "Olympus VSI",  # a TIFF by its signature, which would show an overview only
        "vsi",
        (".vsi",),
        library="Bio-Formats (GPL-2.0-or-later)",
        second=(),
    ),
    Format(
        "Imaris IMS or HDF5",
        "hdf5",
        (".ims", ".h5", ".hdf5", ".hdf"),
        (_HDF5,),
        extra="hdf5",
        needs=("h5py",),
        library="h5py (BSD-3-Clause)",
    ),
    Format(
        "DICOM",
        "dicom",
        (".dcm",),
        ((128, b"DICM"),),
        extra="dicom",
        needs=("pydicom",),
        library="pydicom (MIT)",
        second=("openslide", "bioformats"),
    ),
    Format(
        "NIfTI",
        "nifti",
        (".nii", ".nii.gz"),
        ((344, b"n+1\0"), (4, b"n+2\0")),
        extra="nifti",
        needs=("nibabel",),
        library="nibabel (MIT)",
    ),
    Format(
        "a whole slide of OpenSlide",
        "openslide",
        (".mrxs", ".vms", ".vmu", ".scn", ".bif", ".svslide"),
        extra="slides",
        needs=("openslide",),
        library="OpenSlide (LGPL-2.1)",
    ),
    Format(
        "ImageXpress plate",
        "imagexpress",
        (".htd",),
        library="tifffile (BSD-3-Clause)",
        second=("pillow", "bioformats"),
    ),
    Format(
        "Operetta or Harmony plate",
        "operetta",
        ("index.idx.xml", "index.xml", "index.ref.xml"),
        library="tifffile (BSD-3-Clause)",
        second=("pillow", "bioformats"),
    ),
    Format(
        "Yokogawa CellVoyager plate",
        "cellvoyager",
        (".mlf", ".wpi"),
        library="tifffile (BSD-3-Clause)",
        second=("pillow", "bioformats"),
    ),
    Format(
        "a set of files by their names",
        "fileset",
        (".fileset.yaml",),
        library="tifffile (BSD-3-Clause)",
        second=("pillow",),
    ),
    Format(
        "OME-TIFF companion",
        "tiff",
        (".companion.ome",),
        library="tifffile (BSD-3-Clause)",
        second=("pillow", "bioformats"),
    ),
    Format(
        "TIFF",
        "tiff",
        (".tif", ".tiff", ".btf", ".tf2", ".tf8", ".svs", ".ndpi", ".lsm", ".stk", ".qptiff"),
        ((0, b"II*\0"), (0, b"MM\0*"), (0, b"II+\0"), (0, b"MM\0+")),
        library="tifffile (BSD-3-Clause)",
        second=("pillow", "openslide", "bioformats"),
    ),
    Format(
        "PNG",
        "bitmap",
        (".png",),
        ((0, b"\x89PNG\r\n\x1a\n"),),
        library="imagecodecs (BSD-3-Clause)",
        second=("pillow", "bioformats"),
    ),
    Format(
        "JPEG",
        "bitmap",
        (".jpg", ".jpeg"),
        ((0, b"\xff\xd8\xff"),),
        library="imagecodecs (BSD-3-Clause)",
        second=("pillow", "bioformats"),
    ),
    Format(
        "DeltaVision",
        "deltavision",
        (".dv", ".r3d", ".r3d_d3d"),
        ((96, b"\xa0\xc0"), (96, b"\xc0\xa0")),
        library="Parfocal itself (BSD-3-Clause)",
    ),
)

OME_ZARR = Format(
    "OME-Zarr",
    "ome_zarr",
    library="tensorstore (Apache-2.0)",
    second=("zarr_python",),
)
"""A folder, known by what is in it."""

BIO_FORMATS = Format(
    "a format of Bio-Formats",
    "bioformats",
    extra="bioformats",
    needs=("jpype",),
    library="Bio-Formats (GPL-2.0-or-later)",
    second=(),
)
"""What is asked about all other files."""


def find_format(path: Path, head: bytes) -> Format | None:
    """Tell the format of a file, None where it is none of `FORMATS`.

    Parameters
    ----------
    path : Path
        The file; only its name counts.
    head : bytes
        Its first `HEAD_BYTES` bytes.
    """
    name = path.name.lower()
    if name.endswith(_BY_BIO_FORMATS):
        return None
    of_name = [one for one in FORMATS if any(_fits(name, end) for end in one.suffixes)]
    of_head = [
        one for one in FORMATS if any(head.startswith(sign, at) for at, sign in one.signatures)
    ]
    of_head = [one for one in of_head if one.module != "deltavision" or _is_deltavision(head)]
    both = [one for one in of_head if one in of_name]
    if both or of_head:
        # A slide of some kinds is a TIFF or HDF5 by its signature, and more by its name.
        return (both or _special(of_name) or of_head)[0]
    return of_name[0] if of_name else None


def _is_deltavision(head: bytes) -> bool:
    """Whether sizes and the type of pixels may be those of DeltaVision, whose mark is short."""
    order: Literal["little", "big"] = "little" if head[96:98] == b"\xa0\xc0" else "big"
    *sizes, kind = (int.from_bytes(head[n : n + 4], order) for n in (0, 4, 8, 12))
    return all(0 < size < 2**24 for size in sizes) and kind < 8


def _fits(name: str, end: str) -> bool:
    """Whether a name has an ending; one without a dot is a whole name."""
    return name.endswith(end) if end.startswith(".") else name == end


def _special(formats: Sequence[Format]) -> Sequence[Format]:
    """Return those that are known by their names alone."""
    return [one for one in formats if not one.signatures]
