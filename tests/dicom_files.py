"""DICOM files of slides and other images, as small as they may be."""

import zlib
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian

SLIDE = UID("1.2.840.10008.5.1.4.1.1.77.1.6")
STACK = UID("1.2.840.10008.5.1.4.1.1.7.3")
_ROOT = "1.2.826.0.1.3680043.8.498."


def item(**values) -> Dataset:
    """Return an item of a sequence."""
    found = Dataset()
    for key, value in values.items():
        setattr(found, key, value)
    return found


def write_dicom(path: Path, frames: np.ndarray, syntax=ExplicitVRLittleEndian, **tags) -> Path:
    """Write frames (N, Y, X) or (N, Y, X, 3); `tags` go before those that are derived."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SLIDE if "TotalPixelMatrixRows" in tags else STACK
    meta.MediaStorageSOPInstanceUID = UID(f"{_ROOT}{zlib.crc32(path.name.encode())}")
    meta.TransferSyntaxUID = syntax
    colored = frames.ndim == 4
    bits = frames.dtype.itemsize * 8
    found = item(
        SOPClassUID=meta.MediaStorageSOPClassUID,
        SOPInstanceUID=meta.MediaStorageSOPInstanceUID,
        StudyInstanceUID=UID(f"{_ROOT}1"),
        SeriesInstanceUID=UID(f"{_ROOT}2"),
        Modality="SM" if "TotalPixelMatrixRows" in tags else "OT",
        NumberOfFrames=len(frames),
        Rows=frames.shape[1],
        Columns=frames.shape[2],
        SamplesPerPixel=3 if colored else 1,
        PhotometricInterpretation="RGB" if colored else "MONOCHROME2",
        BitsAllocated=bits,
        BitsStored=bits,
        HighBit=bits - 1,
        PixelRepresentation=int(frames.dtype.kind == "i"),
    )
    if colored:
        found.PlanarConfiguration = 0
    for key, value in tags.items():
        setattr(found, key, value)
    found.file_meta = meta
    order = "<" if syntax.is_little_endian else ">"
    found.PixelData = frames.astype(frames.dtype.newbyteorder(order)).tobytes()
    if syntax.is_encapsulated:
        # Pixels that are not compressed yet are said to be little endian.
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        found["PixelData"].VR = "OW"
        found.compress(syntax, generate_instance_uid=False)
    found["PixelData"].VR = "OB" if syntax.is_encapsulated else "OW"
    pydicom.dcmwrite(path, found, enforce_file_format=True)
    return path


def tile(plane: np.ndarray, size: int) -> np.ndarray:
    """Cut a plane (Y, X) or (Y, X, 3) into tiles, row by row; those at the ends are filled up."""
    down, across = -(-plane.shape[0] // size), -(-plane.shape[1] // size)
    padding = [(0, down * size - plane.shape[0]), (0, across * size - plane.shape[1])]
    full = np.pad(plane, padding + [(0, 0)] * (plane.ndim - 2))
    return np.stack(
        [
            full[row * size : row * size + size, column * size : column * size + size]
            for row in range(down)
            for column in range(across)
        ]
    )


def slide_tags(shape, kind: str = "VOLUME", spacing_mm: float = 0.0005, paths: int = 1) -> dict:
    """Return the tags of a slide of a size (Y, X)."""
    measures = item(PixelSpacing=[spacing_mm, spacing_mm], SliceThickness=0.001)
    optical = [
        item(OpticalPathIdentifier=str(n), IlluminationWaveLength=400.0 + 100 * n)
        for n in range(paths)
    ]
    return {
        "ImageType": ["ORIGINAL", "PRIMARY", kind, "NONE"],
        "TotalPixelMatrixRows": shape[0],
        "TotalPixelMatrixColumns": shape[1],
        "TotalPixelMatrixFocalPlanes": 1,
        "NumberOfOpticalPaths": paths,
        "OpticalPathSequence": Sequence(optical),
        "DimensionOrganizationType": "TILED_FULL",
        "SharedFunctionalGroupsSequence": Sequence(
            [item(PixelMeasuresSequence=Sequence([measures]))]
        ),
    }
