"""DICOM: whole slides and other images that the test writes, and one from a scanner."""

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from dicom_files import item, slide_tags, tile, write_dicom
from parfocal.core.blocks import whole
from parfocal.errors import InputError
from parfocal.images import list_images, open_image, other_files

SHARED = Path(__file__).parents[3] / "shared/data"
RNG = np.random.default_rng(11)
RGB = RNG.integers(0, 255, (70, 90, 3)).astype(np.uint8)
GRAY = RNG.integers(0, 60000, (70, 90)).astype(np.uint16)


def read(image):
    return image.read(whole(image.shape5))


def planes(rgb):
    return np.moveaxis(rgb, -1, 0)


def repack(path, frames, syntax, photometric=None, table=True):
    """Put compressed frames, each in one part or several, into a file."""
    found = pydicom.dcmread(path)
    found.file_meta.TransferSyntaxUID = syntax
    parts = 2 if table else 1
    found.PixelData = encapsulate(frames, fragments_per_frame=parts, has_bot=table)
    found["PixelData"].VR = "OB"
    found["PixelData"].is_undefined_length = True
    if photometric:
        found.PhotometricInterpretation = photometric
    pydicom.dcmwrite(path, found)


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian, RLELossless])
def test_a_full_slide_of_colours(tmp_path, syntax):
    options = {} if syntax is None else {"syntax": syntax}
    path = write_dicom(tmp_path / "a.dcm", tile(RGB, 32), **slide_tags((70, 90)), **options)
    with open_image(path) as image:
        assert image.metadata.shape == (3, 70, 90)
        assert image.metadata.axes == "CYX"
        assert image.metadata.rgb
        assert image.metadata.channel_names() == ["Red", "Green", "Blue"]
        assert (image.metadata.y_um, image.metadata.x_um) == (0.5, 0.5)
        np.testing.assert_array_equal(read(image)[0, :, 0], planes(RGB))
        part = (slice(0, 1), slice(1, 3), slice(0, 1), slice(20, 69), slice(31, 65))
        np.testing.assert_array_equal(image.read(part)[0, :, 0], planes(RGB)[1:, 20:69, 31:65])
        assert image.warnings == ()
        assert json.loads(image.original_metadata["dicom.json"])["00280010"]["Value"] == [32]


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, JPEGLosslessSV1])
def test_losslessly_compressed_slides_keep_all_bits(tmp_path, syntax):
    import imagecodecs

    encode = {
        JPEG2000Lossless: lambda frame: imagecodecs.jpeg2k_encode(frame, level=0),
        JPEGLSLossless: imagecodecs.jpegls_encode,
        JPEGLosslessSV1: lambda frame: imagecodecs.jpeg8_encode(frame, lossless=True),
    }[syntax]
    tiles = tile(GRAY, 32)
    path = write_dicom(tmp_path / "a.dcm", tiles, **slide_tags((70, 90)))
    repack(path, [encode(frame) for frame in tiles], syntax)
    with open_image(path) as image:
        assert image.metadata.axes == "YX"
        assert image.metadata.dtype == "uint16"
        np.testing.assert_array_equal(read(image)[0, 0, 0], GRAY)
        assert image.warnings == ()


@pytest.mark.parametrize(("photometric", "space"), [("RGB", "RGB"), ("YBR_FULL_422", "YCBCR")])
def test_jpeg_is_decoded_by_the_colours_that_the_header_states(tmp_path, photometric, space):
    import imagecodecs

    smooth = np.stack([np.add.outer(np.arange(70), np.arange(90)) + 20 * n for n in range(3)], -1)
    tiles = tile(smooth.astype(np.uint8), 32)
    path = write_dicom(tmp_path / "a.dcm", tiles, **slide_tags((70, 90)))
    frames = [
        imagecodecs.jpeg8_encode(one, level=99, colorspace="RGB", outcolorspace=space)
        for one in tiles
    ]
    repack(path, frames, JPEGBaseline8Bit, photometric, table=False)
    with open_image(path) as image:
        # The tiles at the ends are filled up with black, which tells on their last blocks.
        kept = read(image)[0, :, 0, :64, :64].astype(int)
        assert np.abs(kept - planes(smooth)[:, :64, :64]).max() <= 4
        assert any("with loss" in warning for warning in image.warnings)
        with open_image(path, reader="openslide") as slide:
            difference = read(slide).astype(int) - read(image)
            assert np.abs(difference).max() <= 2


def test_all_files_of_a_series_are_one_slide(tmp_path):
    full = write_dicom(tmp_path / "b.dcm", tile(RGB, 32), **slide_tags((70, 90)))
    half = slide_tags((35, 45), spacing_mm=0.001)
    write_dicom(tmp_path / "a.dcm", tile(RGB[::2, ::2], 32), **half)
    label = slide_tags((20, 20), "LABEL")
    write_dicom(tmp_path / "c.dcm", RGB[np.newaxis, :20, :20], **label)
    other = slide_tags((140, 180)) | {"SeriesInstanceUID": "1.2.3"}
    write_dicom(tmp_path / "d.dcm", tile(np.tile(RGB, (2, 2, 1)), 32), **other)
    for name in ("a.dcm", "b.dcm", "c.dcm"):
        (entry,) = list_images(tmp_path / name)
        assert entry.metadata.shape == (3, 70, 90)
        assert entry.aside == ("LABEL",)
        with open_image(tmp_path / name) as image:
            np.testing.assert_array_equal(read(image)[0, :, 0], planes(RGB))
            assert "left out: LABEL" in image.warnings[0]
    assert other_files(full) == [tmp_path / "a.dcm", tmp_path / "c.dcm"]
    full.unlink()
    (tmp_path / "a.dcm").unlink()
    with pytest.raises(InputError, match="only pictures"):
        open_image(tmp_path / "c.dcm")


def test_optical_paths_are_channels_and_focal_planes_are_z(tmp_path):
    stack = RNG.integers(0, 60000, (2, 3, 70, 90)).astype(np.uint16)
    tiles = np.concatenate([tile(plane, 32) for plane in stack.reshape(-1, 70, 90)])
    tags = slide_tags((70, 90), paths=2) | {"TotalPixelMatrixFocalPlanes": 3}
    tags["SharedFunctionalGroupsSequence"][0].PixelMeasuresSequence[0].SpacingBetweenSlices = 0.002
    path = write_dicom(tmp_path / "a.dcm", tiles, **tags)
    with open_image(path) as image:
        assert image.metadata.axes == "CZYX"
        assert image.metadata.z_um == 2
        assert image.metadata.channel_names() == ["0", "1"]
        assert [channel.excitation_nm for channel in image.metadata.channels] == [400, 500]
        np.testing.assert_array_equal(read(image)[0], stack)


def write_sparse(path, stack, left_out=(), **more):
    """Write a slide (path, Z, Y, X) of which each frame states its place, in a mixed order."""
    tags = slide_tags(stack.shape[-2:], paths=len(stack))
    tags |= {"DimensionOrganizationType": "TILED_SPARSE"} | more
    frames, groups = [], []
    for p, z in np.ndindex(*stack.shape[:2]):
        for number, pixels in enumerate(tile(stack[p, z], 32)):
            row, column = divmod(number, -(-stack.shape[-1] // 32))
            place = item(
                RowPositionInTotalImagePixelMatrix=row * 32 + 1,
                ColumnPositionInTotalImagePixelMatrix=column * 32 + 1,
                ZOffsetInSlideCoordinateSystem=z * 1.5,
                XOffsetInSlideCoordinateSystem=0,
                YOffsetInSlideCoordinateSystem=0,
            )
            identity = item(OpticalPathIdentifier=str(p))
            group = item(
                PlanePositionSlideSequence=Sequence([place]),
                OpticalPathIdentificationSequence=Sequence([identity]),
            )
            if (p, z, row, column) not in left_out:
                frames.append(pixels)
                groups.append(group)
    order = RNG.permutation(len(frames))
    tags["PerFrameFunctionalGroupsSequence"] = Sequence([groups[n] for n in order])
    return write_dicom(path, np.stack([frames[n] for n in order]), **tags)


def test_a_sparse_slide_has_each_tile_where_it_says(tmp_path):
    stack = RNG.integers(1, 60000, (2, 3, 70, 90)).astype(np.uint16)
    path = write_sparse(tmp_path / "a.dcm", stack, left_out=[(1, 2, 0, 1), (0, 0, 2, 2)])
    stack[1, 2, :32, 32:64] = 0
    stack[0, 0, 64:, 64:] = 0
    with open_image(path) as image:
        assert image.metadata.z_um == 1.5
        assert sorted(image.metadata.channel_names()) == ["0", "1"]
        order = [image.metadata.channel_names().index(name) for name in ("0", "1")]
        np.testing.assert_array_equal(read(image)[0][order], stack)
        assert image.warnings == ("2 tiles of a.dcm are not stored: they are read as 0",)


def test_tiles_at_one_place_or_missing_ones_are_refused(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", tile(RGB, 32)[:-1], **slide_tags((70, 90)))
    with pytest.raises(InputError, match="Tiles of the slide are missing"):
        open_image(path)
    write_dicom(path, tile(RGB, 32), **slide_tags((70, 90)))
    write_dicom(tmp_path / "b.dcm", tile(RGB, 32), **slide_tags((70, 90)))
    with pytest.raises(InputError, match="same place"):
        open_image(path)


def test_a_slide_in_pieces_is_put_together(tmp_path):
    tiles = tile(RGB, 32)
    for name, part, start in (("a.dcm", tiles[:4], 0), ("b.dcm", tiles[4:], 4)):
        tags = slide_tags((70, 90)) | {"ConcatenationFrameOffsetNumber": start}
        write_dicom(tmp_path / name, part, **tags)
    with open_image(tmp_path / "b.dcm") as image:
        np.testing.assert_array_equal(read(image)[0, :, 0], planes(RGB))
    (tmp_path / "a.dcm").unlink()
    with pytest.raises(InputError, match="missing"):
        open_image(tmp_path / "b.dcm")


NATIVE = ["uint8", "int8", "uint16", "int16", "uint32", "int32"]


@pytest.mark.parametrize(
    ("syntax", "dtype"),
    [
        *((ImplicitVRLittleEndian, dtype) for dtype in NATIVE),
        *((ExplicitVRBigEndian, dtype) for dtype in NATIVE[2:]),
        *((RLELossless, dtype) for dtype in ("uint8", "uint16", "int16")),
    ],
)
def test_frames_of_any_integers(tmp_path, syntax, dtype):
    stack = RNG.integers(0, 2**32, (4, 30, 41)).astype(dtype)
    path = write_dicom(tmp_path / "a.dcm", stack, syntax, PixelSpacing=[0.25, 0.5])
    with open_image(path, axes="TYX") as image:
        assert image.metadata.axes == "TYX"
        assert (image.metadata.y_um, image.metadata.x_um) == (250, 500)
        assert image.metadata.dtype == dtype
        np.testing.assert_array_equal(read(image)[:, 0, 0], stack)
    with open_image(path) as image:
        assert image.metadata.axes == "ZYX"
        assert "taken as Z" in image.warnings[0]
    with pytest.raises(InputError, match="stated axes"):
        open_image(path, axes="TZYX")


def test_signs_of_samples_with_unused_bits(tmp_path):
    values = np.array([[[-2048, -1, 0, 2047]]], np.int16)
    tags = {"BitsStored": 12, "HighBit": 11}
    path = write_dicom(tmp_path / "a.dcm", values & 0x0FFF, **tags, PixelRepresentation=1)
    with open_image(path) as image:
        np.testing.assert_array_equal(read(image)[0, 0, 0], values[0])


def test_single_bits_follow_each_other_without_gaps(tmp_path):
    stack = RNG.integers(0, 2, (3, 5, 7)).astype(np.uint8)
    tags = {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}
    path = write_dicom(tmp_path / "a.dcm", stack, **tags)
    found = pydicom.dcmread(path)
    packed = np.packbits(stack.reshape(-1), bitorder="little").tobytes()
    found.PixelData = packed + b"\0" * (len(packed) % 2)
    pydicom.dcmwrite(path, found)
    with open_image(path, axes="ZYX") as image:
        np.testing.assert_array_equal(read(image)[0, 0], stack)
        assert any("1 bit" in warning for warning in image.warnings)


def test_planar_colours(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", RGB[np.newaxis], PlanarConfiguration=1)
    found = pydicom.dcmread(path)
    found.PixelData = planes(RGB).tobytes()
    pydicom.dcmwrite(path, found)
    with open_image(path) as image:
        assert image.metadata.rgb
        np.testing.assert_array_equal(read(image)[0, :, 0], planes(RGB))


def test_what_frames_are(tmp_path):
    stack = GRAY[np.newaxis].repeat(3, axis=0)
    path = tmp_path / "a.dcm"
    write_dicom(path, stack, FrameIncrementPointer=0x00181063, FrameTime=40)
    with open_image(path) as image:
        assert image.metadata.axes == "TYX"
        assert image.metadata.time_increment_s == 0.04
    places = [item(ImagePositionPatient=[0, 0, z]) for z in range(3)]
    groups = Sequence([item(PlanePositionSequence=Sequence([place])) for place in places])
    tags = {"PerFrameFunctionalGroupsSequence": groups, "SpacingBetweenSlices": 2}
    write_dicom(path, stack, **tags)
    with open_image(path) as image:
        assert image.metadata.axes == "ZYX"
        assert image.metadata.z_um == 2000
        assert image.warnings == ()


def test_what_the_display_would_change_is_told(tmp_path):
    tags = {
        "PhotometricInterpretation": "MONOCHROME1",
        "RescaleSlope": 2,
        "RescaleIntercept": -1024,
        "PatientName": "Nobody^No",
    }
    path = write_dicom(tmp_path / "a.dcm", GRAY[np.newaxis], **tags)
    with open_image(path) as image:
        np.testing.assert_array_equal(read(image)[0, 0, 0], GRAY)
        told = " ".join(image.warnings)
    for text in ("not inverted", "2 x pixel + -1024", "names a patient"):
        assert text in told


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, RLELossless])
def test_a_truncated_file_is_refused_or_whole(tmp_path, syntax):
    stack = RNG.integers(0, 60000, (3, 40, 50)).astype(np.uint16)
    path = write_dicom(tmp_path / "a.dcm", stack, syntax)
    content = path.read_bytes()
    refused = 0
    for size in range(1, len(content), len(content) // 40):
        path.write_bytes(content[:size])
        try:
            with open_image(path, axes="ZYX") as image:
                pixels = read(image)
        except InputError:
            refused += 1
        else:
            np.testing.assert_array_equal(pixels[0, 0], stack)
    assert refused > 35


def test_flipped_bits_of_the_header_raise_nothing_but_our_error(tmp_path, caplog):
    path = write_dicom(tmp_path / "a.dcm", tile(RGB, 32), **slide_tags((70, 90)))
    content = path.read_bytes()
    header = content.index(b"\xe0\x7f\x10\x00")
    for offset in RNG.integers(132, header + 12, 150):
        broken = bytearray(content)
        broken[offset] ^= 1 << int(RNG.integers(8))
        path.write_bytes(broken)
        try:
            with open_image(path) as image:
                if np.prod(image.shape5) < 1e7:
                    read(image)
        except InputError:
            continue
    assert not caplog.messages


@pytest.mark.skipif(not SHARED.exists(), reason="the shared data are not here")
def test_a_real_slide_has_the_pixels_that_openslide_reads():
    path = SHARED / "sm_image.dcm"
    with open_image(path) as image, open_image(path, reader="openslide") as slide:
        assert image.metadata.shape == slide.metadata.shape == (3, 50, 50)
        assert image.metadata.x_um == slide.metadata.x_um == 0.499
        np.testing.assert_array_equal(read(image), read(slide))


def test_a_slide_agrees_with_bio_formats(tmp_path, assert_same_as_bio_formats):
    path = write_dicom(tmp_path / "a.dcm", tile(RGB, 32), **slide_tags((70, 90)))
    assert_same_as_bio_formats(path)


def test_frames_agree_with_bio_formats(tmp_path, assert_same_as_bio_formats):
    stack = RNG.integers(-30000, 30000, (4, 30, 41)).astype(np.int16)
    path = write_dicom(tmp_path / "a.dcm", stack, PixelSpacing=[0.25, 0.5])
    assert_same_as_bio_formats(path)


@pytest.mark.skipif(not SHARED.exists(), reason="the shared data are not here")
def test_a_real_slide_agrees_with_bio_formats(assert_same_as_bio_formats):
    assert_same_as_bio_formats(SHARED / "sm_image.dcm")
