"""NIfTI files that the test writes with nibabel."""

import gzip
import json
import struct

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parfocal.core.blocks import whole
from parfocal.errors import InputError
from parfocal.images.opening import list_images, open_image, other_files

TYPES = "int8 uint8 int16 uint16 int32 uint32 int64 uint64 float32 float64".split()  # noqa: SIM905
KINDS = {
    1: (nibabel.Nifti1Image, nibabel.Nifti1Header),
    2: (nibabel.Nifti2Image, nibabel.Nifti2Header),
}


def write_nifti(path, pixels, order="<", version=1, affine=None, **fields):
    """Write `pixels` (T, C, Z, Y, X), without the axes of size 1 at the end of NIfTI's order."""
    stored = pixels.transpose(4, 3, 2, 0, 1)
    while stored.ndim > 2 and stored.shape[-1] == 1:
        stored = stored[..., 0]
    image_kind, header_kind = KINDS[version]
    header = header_kind(endianness=order)
    header.set_data_dtype(pixels.dtype)
    image = image_kind(stored, np.eye(4) if affine is None else affine, header, dtype=pixels.dtype)
    units = fields.pop("units", ("micron", "sec"))
    image.header.set_xyzt_units(*units)
    slope = fields.pop("slope", None)
    if slope:
        image.header.set_slope_inter(*slope)
    for name, value in fields.items():
        image.header[name] = value
    image.to_filename(path)
    return path


def numbered(shape, dtype="uint16"):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.tuples(*[st.integers(1, 4)] * 5),
    dtype=st.sampled_from(TYPES),
    order=st.sampled_from("<>"),
    version=st.sampled_from([1, 2]),
    suffix=st.sampled_from([".nii", ".nii.gz"]),
    data=st.data(),
)
def test_every_shape_type_and_byte_order(tmp_path, shape, dtype, order, version, suffix, data):
    pixels = numbered(shape, dtype)
    path = write_nifti(tmp_path / f"a{suffix}", pixels, order, version)
    region = []
    for size in shape:
        start = data.draw(st.integers(0, size - 1))
        region.append(slice(start, data.draw(st.integers(start + 1, size))))
    with open_image(path) as image:
        assert not image.warnings
        assert image.shape5 == shape
        assert image.dtype == pixels.dtype
        found = image.read(tuple(region))
    np.testing.assert_array_equal(found, pixels[tuple(region)])


def test_metadata(tmp_path):
    step = (1, 0.002, 0.003, 0.004, 250, 1, 1, 1)
    units = ("mm", "msec")
    path = write_nifti(tmp_path / "a.nii", numbered((3, 1, 2, 4, 5)), units=units, pixdim=step)
    with open_image(path) as image:
        found = image.metadata
        texts = image.original_metadata
    assert found.axes == "TZYX"
    assert (found.x_um, found.y_um, found.z_um) == pytest.approx((2, 3, 4))
    assert found.time_increment_s == pytest.approx(0.25)
    assert json.loads(texts["nifti.json"])["dim"] == [4, 5, 4, 2, 3, 1, 1, 1]
    assert [entry.metadata for entry in list_images(path)] == [found]
    assert other_files(path) == []


def test_sizes_without_a_unit_are_left_out(tmp_path):
    path = write_nifti(
        tmp_path / "a.nii",
        numbered((1, 1, 2, 4, 5)),
        units=("unknown", "unknown"),
        pixdim=(1, 2, 3, 4, 0, 0, 0, 0),
    )
    with open_image(path) as image:
        assert image.metadata.x_um is None
        assert "2, 3, 4 without a unit" in image.warnings[0]


def test_values_are_kept_as_stored(tmp_path, assert_same_as_bio_formats):
    pixels = numbered((1, 1, 2, 4, 5), "int16")
    path = write_nifti(tmp_path / "a.nii", pixels, slope=(2.5, 1))
    with open_image(path) as image:
        np.testing.assert_array_equal(image.read(whole(image.shape5)), pixels)
        assert "slope of 2.5 and an intercept of 1" in image.warnings[0]
    # Bio-Formats states the fourth step as a time even where there is one time point.
    assert_same_as_bio_formats(path, explained={"time_increment_s"})


def test_an_orientation_is_told(tmp_path):
    affine = np.array([[0, 1, 0, 5], [-1, 0, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1.0]])
    path = write_nifti(tmp_path / "a.nii", numbered((1, 1, 2, 4, 5)), affine=affine)
    with open_image(path) as image:
        assert "orientation" in image.warnings[0]
        assert json.loads(image.original_metadata["nifti.json"])["srow_x"] == [0, 1, 0, 5]


def colored(path, samples):
    names = "RGBA"[:samples]
    pixels = numbered((1, samples, 3, 4, 5), "uint8")
    voxels = np.zeros((5, 4, 3), [(name, "u1") for name in names])
    for n, name in enumerate(names):
        voxels[name] = pixels[0, n].T
    nibabel.Nifti1Image(voxels, np.eye(4)).to_filename(path)
    return pixels


def test_colors(tmp_path):
    pixels = colored(tmp_path / "a.nii", 3)
    with open_image(tmp_path / "a.nii") as image:
        assert image.metadata.rgb
        assert [c.color for c in image.metadata.channels] == ["FF0000", "00FF00", "0000FF"]
        np.testing.assert_array_equal(image.read(whole(image.shape5)), pixels)


def test_colors_with_alpha(tmp_path):
    pixels = colored(tmp_path / "a.nii", 4)
    with open_image(tmp_path / "a.nii") as image:
        assert not image.metadata.rgb
        assert image.metadata.channels[3].name == "Alpha"
        np.testing.assert_array_equal(image.read(whole(image.shape5)), pixels)


def test_extensions_are_kept(tmp_path):
    image = nibabel.Nifti1Image(numbered((4, 5, 6)), np.eye(4))
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"seen"))
    image.to_filename(tmp_path / "a.nii")
    with open_image(tmp_path / "a.nii") as found:
        assert b"seen" in found.original_metadata["nifti-extensions.bin"]
        np.testing.assert_array_equal(found.read(whole(found.shape5))[0, 0], numbered((4, 5, 6)).T)


def test_axes_that_the_user_states(tmp_path):
    path = write_nifti(tmp_path / "a.nii", numbered((3, 1, 2, 4, 5)))
    with open_image(path, axes="CZYX") as image:
        assert image.shape5 == (1, 3, 2, 4, 5)


def test_a_spectrum_is_refused_unless_its_axis_is_stated(tmp_path):
    path = write_nifti(tmp_path / "a.nii", numbered((3, 1, 2, 4, 5)), units=("mm", "hz"))
    with pytest.raises(InputError, match="frequency in Hz"):
        open_image(path)
    with open_image(path, axes="CZYX") as image:
        assert image.shape5 == (1, 3, 2, 4, 5)


def test_a_sixth_axis_is_refused(tmp_path):
    nibabel.Nifti1Image(np.zeros((2,) * 6, np.uint8), np.eye(4)).to_filename(tmp_path / "a.nii")
    with pytest.raises(InputError, match="axes"):
        open_image(tmp_path / "a.nii")


def test_complex_values_are_refused(tmp_path):
    nibabel.Nifti1Image(np.zeros((2, 3, 4), np.complex64), np.eye(4)).to_filename(
        tmp_path / "a.nii"
    )
    with pytest.raises(InputError, match="complex"):
        open_image(tmp_path / "a.nii")


@pytest.mark.parametrize(
    ("offset", "content", "text"),
    [
        (0, b"\0\0\0\0", "no NIfTI file"),
        (40, struct.pack("<h", 9), "damaged"),
        (42, struct.pack("<h", -5), "damaged"),
        (42, struct.pack("<h", 3), "more planes"),
        (42, struct.pack("<h", 3000), "ends before"),
        (70, struct.pack("<h", 16), "contradicts"),
        (70, struct.pack("<h", 77), "data type 77"),
        (108, struct.pack("<f", 350), "damaged"),
        (108, struct.pack("<f", 352.5), "damaged"),
        (108, struct.pack("<f", float("nan")), "damaged"),
        (344, b"ni1\0", "pair of .hdr and .img"),
    ],
)
def test_damaged_headers_are_refused(tmp_path, offset, content, text):
    path = write_nifti(tmp_path / "a.nii", numbered((1, 1, 3, 4, 5)))
    data = bytearray(path.read_bytes())
    data[offset : offset + len(content)] = content
    path.write_bytes(data)
    with pytest.raises(InputError, match=text):
        open_image(path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_every_truncation_is_refused(tmp_path, suffix):
    path = write_nifti(tmp_path / f"a{suffix}", numbered((1, 1, 3, 4, 5)))
    content = path.read_bytes()
    sizes = (1, 5, 50, 347, 351, len(content) // 2, len(content) - 1)
    for size in (size for size in sizes if size < len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(InputError):
            open_image(path)


def test_every_flipped_bit_of_a_compressed_file_is_refused_or_harmless(tmp_path):
    pixels = numbered((1, 1, 3, 4, 5))
    path = write_nifti(tmp_path / "a.nii.gz", pixels)
    content = path.read_bytes()
    refused = 0
    for bit in range(0, len(content) * 8, 13):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            with open_image(path) as image:
                np.testing.assert_array_equal(image.read(whole(image.shape5)), pixels)
        except InputError:
            refused += 1
    assert refused > len(content) * 8 / 13 * 0.8


def test_no_temporary_file_is_left(tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    path = write_nifti(tmp_path / "a.nii.gz", numbered((1, 1, 3, 4, 5)))
    with open_image(path):
        assert list(scratch.iterdir()) == []
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()))[:-3])
    with pytest.raises(InputError):
        open_image(path)
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
def test_bio_formats_reads_the_same(tmp_path, assert_same_as_bio_formats, order, suffix, dtype):
    path = write_nifti(tmp_path / f"a{suffix}", numbered((3, 1, 4, 5, 6), dtype), order)
    assert_same_as_bio_formats(path)


def test_bio_formats_takes_channels_for_faster_than_times(tmp_path):
    """NIfTI stores time before the fifth axis; Bio-Formats reads the planes as XYCZT."""
    pixels = numbered((3, 2, 4, 5, 6))
    path = write_nifti(tmp_path / "a.nii", pixels)
    stored = np.asarray(nibabel.load(path).dataobj).transpose(3, 4, 2, 1, 0)
    with open_image(path) as ours, open_image(path, reader="bioformats") as theirs:
        np.testing.assert_array_equal(ours.read(whole(ours.shape5)), stored)
        assert theirs.shape5 == ours.shape5
        wrong = stored.transpose(1, 0, 2, 3, 4).reshape(3, 4, 2, 5, 6).transpose(0, 2, 1, 3, 4)
        np.testing.assert_array_equal(theirs.read(whole(theirs.shape5)), wrong)
        assert "bioformats" in ours.misread_by


def test_bio_formats_takes_colors_for_signed(tmp_path):
    """NIfTI's RGB24 has unsigned bytes; Bio-Formats reads the same bytes as int8."""
    colored(tmp_path / "a.nii", 3)
    with (
        open_image(tmp_path / "a.nii") as ours,
        open_image(tmp_path / "a.nii", reader="bioformats") as theirs,
    ):
        assert theirs.dtype == np.int8
        assert "bioformats" in ours.misread_by
        np.testing.assert_array_equal(
            ours.read(whole(ours.shape5)), theirs.read(whole(theirs.shape5)).view(np.uint8)
        )
