"""Images that Bio-Formats is known to misread are converted, and told to be unproven."""

import json

import numpy as np
import pytest
import tifffile
from pydicom.uid import RLELossless

from dicom_files import write_dicom
from lif_files import LifImage, write_lif
from nd2_writer import write_nd2
from olympus_files import write_oif
from parfocal.core.step import Context
from parfocal.steps.convert_image import STEP, ConvertImageParams

RNG = np.random.default_rng(3)
GRAY = RNG.integers(0, 250, (32, 32)).astype(np.uint8)
STACK = RNG.integers(0, 250, (2, 3, 2, 8, 12)).astype(np.uint8)


def lif(*images):
    return lambda folder: write_lif(folder / "a.lif", [LifImage("a", *one) for one in images])


def tiff(data, **options):
    def write(folder):
        tifffile.imwrite(folder / "a.tif", data, metadata=None, **options)
        return folder / "a.tif"

    return write


def dicom(*args, **tags):
    return lambda folder: write_dicom(
        folder / "a.dcm", GRAY[np.newaxis].repeat(2, 0), *args, **tags
    )


LZW = {"compression": "lzw"}
CASES = {
    "white": (tiff(GRAY, photometric="miniswhite", **LZW), "0 means white"),
    "black": (tiff(GRAY, photometric="minisblack", **LZW), None),
    "half floats": (tiff(GRAY.astype("f2"), photometric="minisblack", **LZW), "floats of 16 bits"),
    "floats": (tiff(GRAY.astype("f4"), photometric="minisblack", **LZW), None),
    "inverted DICOM": (dicom(PhotometricInterpretation="MONOCHROME1"), "0 means white"),
    "run-length DICOM": (dicom(RLELossless), "run-length"),
    "times of DICOM": (dicom(FrameIncrementPointer=0x00181063, FrameTime=40), "time points"),
    "DICOM": (dicom(), None),
    "OIF in another order": (lambda f: write_oif(f, STACK, "CZTYX"), "listed by T, C and Z"),
    "OIF": (lambda f: write_oif(f, STACK, "TCZYX"), None),
    "wavelengths": (lif(("LYX", STACK[0, :, 0])), "wavelengths"),
    "LIF of wide integers": (lif(("YX", GRAY.astype("u4"))), "another type"),
    "LIF": (lif(("YX", GRAY)), None),
    "ND2 stopped": (
        lambda f: write_nd2(f / "a.nd2", STACK[:, None, :1], leave_out=(3,)),
        "stopped",
    ),
    "ND2": (lambda f: write_nd2(f / "a.nd2", STACK[:, None, :1]), None),
}


@pytest.mark.parametrize("case", CASES)
def test_what_bio_formats_misreads_is_told_and_not_refused(tmp_path, case):
    write, told = CASES[case]
    source = write(tmp_path)
    outputs = {"image": tmp_path / "i.ome.zarr", "certificate": tmp_path / "c.json"}
    STEP.run({"source": source}, outputs, ConvertImageParams(), Context(scratch=tmp_path))
    certificate = json.loads(outputs["certificate"].read_text())
    assert certificate["verdict"] == ("verified" if told is None else "self-consistent")
    assert told is None or told in certificate["reason"]
