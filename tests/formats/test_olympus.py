"""OIF and OIB that the tests write, read back, and compared with what was written."""

import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from olympus_files import write_oib, write_oif
from parfocal.core.blocks import whole
from parfocal.errors import InputError
from parfocal.images.opening import list_images, open_image, other_files


def noise(shape, dtype="uint16", seed=0):
    return np.random.default_rng(seed).integers(1, 250, shape).astype(dtype)


def write(folder, kind, *args, **kwargs):
    if kind == "oif":
        return write_oif(folder, *args, **kwargs)
    return write_oib(folder / "image.oib", *args, **kwargs)


def read(path, series=""):
    with open_image(path, series) as image:
        return image.read(whole(image.shape5))


def warnings_of(path):
    with open_image(path) as image:
        return " ".join(image.warnings)


@pytest.mark.parametrize("kind", ["oif", "oib"])
@pytest.mark.parametrize("axes", ["YX", "CYX", "ZYX", "CZTYX", "TYX", "CTYX"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_all_axes_are_read_as_written(tmp_path, kind, axes, dtype):
    pixels = noise(range(11, 11 + len(axes)), dtype)[(slice(0, 3),) * (len(axes) - 2)]
    path = write(tmp_path, kind, pixels, axes)
    present = [axis for axis in "TCZYX" if axis in axes]
    expected = pixels.transpose([axes.index(axis) for axis in present])
    with open_image(path) as image:
        assert image.metadata.axes == "".join(present)
        assert (image.dtype, image.warnings) == (np.dtype(dtype), ())
        found = image.read(whole(image.shape5))
        np.testing.assert_array_equal(found.reshape(expected.shape), expected)
        t, c, z, y, _ = image.shape5
        part = (*(slice(n - 1, n) for n in (t, c, z)), slice(2, y - 1), slice(1, 5))
        np.testing.assert_array_equal(image.read(part), found[part])


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.tuples(*[st.integers(1, 4)] * 3, st.integers(1, 90), st.integers(1, 90)))
def test_all_sizes_are_read_from_a_compound_file(tmp_path, sizes):
    pixels = noise(sizes)
    path = write_oib(tmp_path / "a.oib", pixels, "CZTYX")
    np.testing.assert_array_equal(read(path).transpose(1, 2, 0, 3, 4), pixels)


CHANNELS = (
    {"CH Name": "CH1", "CH Activate": 1, "DyeName": "DAPI", "ExcitationWavelength": 405}
    | {"EmissionWavelength": 461},
    {"CH Name": "CH2", "CH Activate": 0, "DyeName": "none"},
    {"CH Name": "CH3", "CH Activate": 1, "DyeName": "None"},
)


@pytest.mark.parametrize("kind", ["oif", "oib"])
def test_metadata_are_taken_with_their_units(tmp_path, kind):
    intervals = {"Z": 750.0, "T": 1500.0}
    path = write(
        tmp_path, kind, noise((2, 3, 2, 8, 9)), "CZTYX", intervals=intervals, channels=CHANNELS
    )
    with open_image(path) as image:
        found = image.metadata
        assert (found.x_um, found.y_um, found.z_um) == (0.25, 0.5, 0.75)
        assert found.time_increment_s == 1.5
        first, second = found.channels
        assert (first.name, first.excitation_nm, first.emission_nm) == ("DAPI", 405, 461)
        assert second.name == "CH3"
        assert image.original_metadata["olympus.oif"].startswith(b"\xff\xfe[\0")
        assert image.reader.startswith("oiffile ")


def test_channels_that_do_not_fit_are_told(tmp_path):
    path = write_oif(tmp_path, noise((3, 8, 9)), "CYX", channels=CHANNELS)
    assert "describe 2 active channels and there are 3" in warnings_of(path)
    with open_image(path) as image:
        assert image.metadata.channels == ()


def test_a_scan_along_x_and_z_is_a_plane(tmp_path):
    pixels = noise((2, 7, 9))
    path = write_oif(tmp_path, pixels, "CZX", order="XZCT", intervals={"Z": 500.0})
    with open_image(path) as image:
        assert (image.metadata.axes, image.metadata.shape) == ("CYX", pixels.shape)
        assert (image.metadata.x_um, image.metadata.y_um) == (0.25, 0.5)
    np.testing.assert_array_equal(read(path)[0, :, 0], pixels)
    assert "its Y is Z" in warnings_of(path)


def test_wavelengths_are_channels(tmp_path):
    pixels = noise((4, 7, 9))
    path = write_oif(tmp_path, pixels, "LYX", order="XYLCT")
    np.testing.assert_array_equal(read(path)[0, :, 0], pixels)
    assert "4 wavelengths (L) are read as channels" in warnings_of(path)


def test_axes_that_cannot_be_kept_are_refused(tmp_path):
    path = write_oif(tmp_path, noise((4, 7, 9)), "PYX", order="XYPCT")
    with pytest.raises(InputError, match="axes that the result cannot keep"):
        list_images(path)


def test_other_files_are_those_of_the_folder(tmp_path):
    path = write_oif(tmp_path / "a", noise((2, 7, 9)), "ZYX")
    folder = path.with_name("image.oif.files")
    names = ["image-Thumb.bmp", "s_Z001.pty", "s_Z001.tif", "s_Z002.pty", "s_Z002.tif"]
    assert other_files(path) == [folder / name for name in names]
    assert other_files(write_oib(tmp_path / "a.oib", noise((7, 9)), "YX")) == []


def test_pictures_beside_the_planes_are_told(tmp_path):
    path = write_oif(tmp_path, noise((2, 7, 9)), "CYX")
    picture = path.with_name("image.oif.files") / "s_C001-R001.tif"
    picture.write_bytes(picture.with_name("s_C001.tif").read_bytes())
    (entry,) = list_images(path)
    assert (entry.aside, entry.metadata.shape) == (("s_C001-R001.tif",), (2, 7, 9))
    assert "left out: s_C001-R001.tif" in warnings_of(path)


@pytest.mark.parametrize("kind", ["oif", "oib"])
@pytest.mark.parametrize("lost", ["s_C001Z002", "s_C002Z003"])
def test_a_missing_plane_is_refused(tmp_path, kind, lost):
    path = write(tmp_path, kind, noise((2, 3, 8, 9)), "CZYX", drop=(lost,))
    with pytest.raises(InputError, match=f"expected 6 planes; found 5 planes, not {lost}"):
        list_images(path)


def test_an_acquisition_that_was_stopped_is_told(tmp_path):
    path = write_oif(tmp_path, noise((2, 8, 9)), "TYX")
    text = path.read_bytes().decode("utf-16").replace("MaxSize=2", "MaxSize=5")
    path.write_bytes(text.encode("utf-16"))
    assert "was to have 5 along T and has 2" in warnings_of(path)


def test_a_missing_folder_is_refused(tmp_path):
    path = write_oif(tmp_path, noise((8, 9)), "YX")
    path.with_name("image.oif.files").rename(tmp_path / "elsewhere")
    for use in (list_images, other_files, read):
        with pytest.raises(InputError, match=r"folder .* missing.*image\.oif\.files"):
            use(path)


def test_a_plane_unlike_the_first_is_refused(tmp_path):
    path = write_oif(tmp_path / "a", noise((2, 8, 9)), "ZYX")
    other = write_oif(tmp_path / "b", noise((2, 8, 10)), "ZYX")
    name = "image.oif.files/s_Z002.tif"
    (path.parent / name).write_bytes((other.parent / name).read_bytes())
    with pytest.raises(InputError, match="unlike the first"):
        read(path)
    name = "image.oif.files/s_Z001.tif"
    (path.parent / name).write_bytes((other.parent / name).read_bytes())
    with pytest.raises(InputError, match="another size than the settings"):
        list_images(path)


def test_there_is_one_image(tmp_path):
    path = write_oif(tmp_path, noise((8, 9)), "YX")
    np.testing.assert_array_equal(read(path, "0"), read(path))
    with pytest.raises(InputError, match="no such image"):
        read(path, "1")


def test_threads_read_what_one_reads(tmp_path):
    pixels = noise((2, 5, 60, 70))
    path = write_oib(tmp_path / "a.oib", pixels, "CZYX")
    found = []
    with open_image(path) as image:

        def work():
            found.extend(
                np.array_equal(image.read(whole(image.shape5))[0], pixels) for _ in range(5)
            )

        threads = [threading.Thread(target=work) for _ in range(8)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    assert found == [True] * 40


@pytest.mark.parametrize("kept", [4, 300, 0.3, 0.7, 0.99])
def test_a_truncated_compound_file_is_refused(tmp_path, kept):
    path = write_oib(tmp_path / "a.oib", noise((2, 3, 60, 70)), "CZYX")
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(len(content) * kept)])
    for use in (list_images, other_files, read):
        with pytest.raises(InputError, match=r"cannot be (read|decoded)"):
            use(path)


@pytest.mark.parametrize("part", ["image.oif", "image.oif.files/s_Z002.tif"])
def test_a_truncated_file_of_an_oif_is_refused(tmp_path, part):
    path = write_oif(tmp_path, noise((2, 60, 70)), "ZYX")
    broken = tmp_path / part
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 3])
    with pytest.raises(InputError):
        read(path)


@pytest.mark.timeout(60)
def test_flipped_bits_end_in_an_error_or_in_an_image(tmp_path):
    path = write_oib(tmp_path / "a.oib", noise((2, 2, 20, 30)), "CZYX")
    content = path.read_bytes()
    rng = np.random.default_rng(5)
    refused = 0
    for at in (*rng.integers(0, 600, 60), *rng.integers(0, len(content), 300)):
        broken = bytearray(content)
        broken[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        try:
            read(path)
        except InputError:
            refused += 1
    assert refused > 30


def test_a_circle_of_sectors_is_refused(tmp_path):
    path = write_oib(tmp_path / "a.oib", noise((60, 70)), "YX")
    content = bytearray(path.read_bytes())
    table = len(content) - 512
    content[table : table + 4 * 8] = bytes(4 * 8)  # the first eight sectors lead to the first
    path.write_bytes(content)
    with pytest.raises(InputError, match="no end"):
        read(path)


def test_text_that_is_called_oif_is_refused(tmp_path):
    for name in ("text.oif", "text.oib"):
        path = tmp_path / name
        path.write_text("no image at all " * 100)
        (tmp_path / f"{name}.files").mkdir()
        with pytest.raises(InputError, match="Olympus file cannot be read"):
            list_images(path)


# Where the file states no distance along Z, or no time, it says 1.
@pytest.mark.parametrize("kind", ["oif", "oib"])
@pytest.mark.parametrize(
    ("axes", "explained"),
    [
        ("YX", {"z_um", "time_increment_s"}),
        ("CYX", {"z_um", "time_increment_s"}),
        ("CZYX", {"time_increment_s"}),
        ("TCZYX", set()),  # it goes by the order of the list, FluoView by T, C and Z
    ],
)
def test_bio_formats_agrees(tmp_path, assert_same_as_bio_formats, kind, axes, explained):
    pixels = noise((2, 3, 2, 10, 12)[5 - len(axes) :])
    path = write(tmp_path, kind, pixels, axes, intervals={"Z": 750.0, "T": 1500.0})
    assert_same_as_bio_formats(path, explained=explained)


def test_channels_are_named_by_their_dyes_where_bio_formats_names_detectors(
    tmp_path, assert_same_as_bio_formats
):
    path = write_oif(tmp_path, noise((2, 10, 12)), "CYX", channels=(CHANNELS[0], CHANNELS[2]))
    assert_same_as_bio_formats(path, explained={"channels", "z_um", "time_increment_s"})
