"""Sets of files whose names a description explains."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from parfocal.core.blocks import whole
from parfocal.errors import InputError
from parfocal.images import list_images, open_image, other_files
from plate_checks import assert_fails

SHARED = Path(__file__).parents[3] / "shared/data/sbs_plate"
PATTERN = 'pattern: "{well}_s{field}_w{channel}_z{z}_t{t}.tif"\n'


def plane(*numbers):
    return np.full((4, 5), int("".join(map(str, numbers))), np.uint16)


def write_set(folder, text=PATTERN):
    """Write 2 wells of 2 fields, 2 channels, 3 planes, 2 time points; return the description."""
    for well, field, c, z, t in product(("A1", "B12"), "12", "12", "123", "01"):
        name = f"{well}_s{field}_w{c}_z{z}_t{t}.tif"
        tifffile.imwrite(folder / name, plane(ord(well[0]) - 64, field, c, z, t))
    return describe(folder, text)


def describe(folder, text):
    path = folder / "mine.fileset.yaml"
    path.write_text(text)
    return path


def pixels(path, series=""):
    with open_image(path, series) as image:
        return image.read(whole(image.shape5))


def test_all_that_names_can_say(tmp_path):
    path = write_set(tmp_path)
    (tmp_path / "notes.tif").write_bytes(b"no match")
    entries = list_images(path)
    assert [entry.series for entry in entries] == ["A01/1", "A01/2", "B12/1", "B12/2"]
    assert [(one.plate, one.well, one.field) for one in entries[2:]] == [
        ("mine", "B12", "1"),
        ("mine", "B12", "2"),
    ]
    with open_image(path, "B12/2") as image:
        assert image.shape5 == (2, 2, 3, 4, 5)
        assert image.metadata.channel_names() == ["1", "2"]
        assert image.original_metadata == {"fileset.yaml": path.read_bytes()}
        assert image.plane_file(1, 0, 2) == (tmp_path / "B12_s2_w1_z3_t1.tif", 0)
        for t, c, z in np.ndindex(2, 2, 3):
            found = image.read(
                (slice(t, t + 1), slice(c, c + 1), slice(z, z + 1), slice(0, 4), slice(0, 5))
            )
            np.testing.assert_array_equal(found[0, 0, 0], plane(2, 2, c + 1, z + 1, t))
    assert len(other_files(path)) == 48


def test_a_regular_expression_says_the_same(tmp_path):
    path = write_set(tmp_path)
    expected = pixels(path, "A01/2")
    regex = r"(?P<well>[A-H]\d+)_s(?P<field>\d)_w(?P<channel>\d)_z(?P<z>\d)_t(?P<t>\d)[.]tif"
    again = describe(tmp_path, f"regex: '{regex}'\n")
    np.testing.assert_array_equal(pixels(again, "A01/2"), expected)


def test_what_the_description_adds(tmp_path):
    text = PATTERN + (
        "plate: P 7\nz_um: 2\ny_um: 0.5\nx_um: 0.25\ntime_increment_s: 30\n"
        "channels:\n  1: {name: DAPI, color: 0000FF, emission_nm: 460}\n"
    )
    path = write_set(tmp_path, text)
    with open_image(path, "A01/1") as image:
        metadata = image.metadata
    assert metadata.name == "P 7 A01/1"
    assert (metadata.z_um, metadata.y_um, metadata.x_um) == (2, 0.5, 0.25)
    assert metadata.time_increment_s == 30
    assert metadata.channel_names() == ["DAPI", "2"]
    assert (metadata.channels[0].color, metadata.channels[0].emission_nm) == ("0000FF", 460)
    assert list_images(path)[0].plate == "P 7"


def test_rows_columns_folders_and_what_does_not_count(tmp_path):
    for row, column, c in product("AB", ("01", "02"), ("DAPI", "GFP")):
        (tmp_path / f"day {column}").mkdir(exist_ok=True)
        name = tmp_path / f"day {column}" / f"{c} x{row}-{column}_{row}{column}.tif"
        tifffile.imwrite(name, plane(ord(row) - 64, column, len(c)))
    path = describe(tmp_path, 'pattern: "day {any}/{channel} x{row}-{column}_{any}.tif"\n')
    assert [entry.series for entry in list_images(path)] == ["A01", "A02", "B01", "B02"]
    assert {entry.field for entry in list_images(path)} == {"1"}
    np.testing.assert_array_equal(pixels(path, "B02")[0, 1, 0], plane(2, "02", 3))


def test_images_that_are_on_no_plate(tmp_path):
    for name, z in product(("left eye", "right eye"), range(8, 12)):
        tifffile.imwrite(tmp_path / f"{name} {z}.tif", plane(len(name), z))
    path = describe(tmp_path, 'pattern: "{image} {z}.tif"\n')
    assert [entry.series for entry in list_images(path)] == ["left eye", "right eye"]
    assert {entry.plate for entry in list_images(path)} == {""}
    assert pixels(path, "right eye")[0, 0, :, 0, 0].tolist() == [98, 99, 910, 911]
    one = describe(tmp_path, 'pattern: "left eye {z}.tif"\n')
    assert [entry.series for entry in list_images(one)] == ["0"]
    assert pixels(one).shape == (1, 1, 4, 4, 5)


@pytest.mark.parametrize("said", [False, True])
def test_files_of_several_planes(tmp_path, said):
    stack = np.arange(2 * 3 * 4 * 5, dtype=np.uint16).reshape(2, 3, 4, 5)
    for c in range(2):
        options = {"metadata": None} if said else {"ome": True, "metadata": {"axes": "ZYX"}}
        name = tmp_path / (f"w{c}.tif" if said else f"w{c}.ome.tif")
        tifffile.imwrite(name, stack[c], photometric="minisblack", **options)
    path = describe(tmp_path, 'pattern: "w{channel}.{any}"\n' + "axes: ZYX\n" * said)
    np.testing.assert_array_equal(pixels(path)[0], stack)
    with open_image(path) as image:
        assert image.plane_file(0, 1, 2) == (tmp_path / name.name, 2)
    part = (slice(0, 1), slice(0, 2), slice(1, 3), slice(1, 3), slice(0, 5))
    with open_image(path) as image:
        np.testing.assert_array_equal(image.read(part)[0], stack[:, 1:3, 1:3])


def test_an_axis_cannot_be_in_names_and_files(tmp_path):
    for z in range(2):
        tifffile.imwrite(tmp_path / f"{z}.tif", np.zeros((2, 4, 5), np.uint8), metadata=None)
    path = describe(tmp_path, 'pattern: "{z}.tif"\naxes: ZYX\n')
    with pytest.raises(InputError, match="axis Z"):
        list_images(path)


def test_rgb_files(tmp_path):
    rgb = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    tifffile.imwrite(tmp_path / "A1.tif", rgb, photometric="rgb")
    path = describe(tmp_path, 'pattern: "{well}.tif"\n')
    with open_image(path) as image:
        assert image.metadata.rgb
        assert image.metadata.channel_names() == ["Red", "Green", "Blue"]
    np.testing.assert_array_equal(pixels(path)[0, :, 0], np.moveaxis(rgb, -1, 0))


def test_a_missing_file(tmp_path):
    path = write_set(tmp_path)
    (tmp_path / "B12_s2_w2_z2_t1.tif").unlink()
    assert_fails(path, "B12/2", "missing", "B12", "field 2", "channel 2", "plane 2", "time point 1")
    told = {entry.series: entry.warnings for entry in list_images(path)}
    assert "will fail" in told["B12/2"][0]
    assert not told["A01/1"]


def test_a_doubled_well(tmp_path):
    path = write_set(tmp_path)
    twin = tmp_path / "A01_s1_w1_z1_t0.tif"
    tifffile.imwrite(twin, plane(9))
    assert_fails(path, "A01/1", "same plane", str(twin), "A1_s1_w1_z1_t0.tif")


def test_different_sizes(tmp_path):
    path = write_set(tmp_path)
    odd = tmp_path / "A1_s1_w2_z2_t1.tif"
    tifffile.imwrite(odd, np.zeros((4, 6), np.uint16))
    assert_fails(path, "A01/1", "differ in size or data type", str(odd), "well A01")


def test_a_gap(tmp_path):
    path = write_set(tmp_path)
    for file in tmp_path.glob("*_z2_*"):
        file.unlink()
    with pytest.raises(InputError, match="gap in their planes"):
        list_images(path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("null", "valid"),
        ("pattern: [", "valid"),
        ("- a", "valid"),
        ("plate: P", "either pattern or regex"),
        (PATTERN + "regex: x", "either pattern or regex"),
        ('pattern: "{wel}_{z}.tif"', "no wel"),
        ('pattern: "{}.tif"', "no _"),
        ('pattern: "{z}_{z}.tif"', "twice"),
        ('pattern: "{row}_{z}.tif"', "row"),
        ('pattern: "{well}{row}{column}.tif"', "row"),
        ("regex: '(?P<z>'", "regular expression"),
        ("regex: '(?P<z>[A-Z]).*'", "no number"),
        ('pattern: "{z}.tif"\nplate: P', "plate needs"),
        (PATTERN + "axes: QYX", "axes"),
        (PATTERN + "x_um: -1", "x_um"),
        (PATTERN + "colour: red", "colour"),
        (PATTERN + "channels: {9: {name: a}}", "channels that no file has"),
        ('pattern: "{well}.jpg"', "No file matches"),
    ],
)
def test_a_description_that_is_not_valid(tmp_path, text, told):
    path = write_set(tmp_path)
    path.write_text(text)
    with pytest.raises(InputError, match=told) as caught:
        list_images(path)
    assert caught.value.remedy


@settings(max_examples=30)
@given(
    sizes=st.tuples(*[st.integers(1, 3)] * 3),
    dtype=st.sampled_from(["uint8", "uint16", "int16", "float32"]),
    order=st.permutations(["t", "channel", "z"]),
    byteorder=st.sampled_from("<>"),
)
def test_any_sizes_in_any_order_of_names(tmp_path_factory, sizes, dtype, order, byteorder):
    folder = tmp_path_factory.mktemp("set")
    expected = np.arange(np.prod(sizes) * 6).reshape(*sizes, 2, 3).astype(dtype)
    for place in np.ndindex(*sizes):
        said = dict(zip(("t", "channel", "z"), place, strict=True))
        name = "-".join(str(said[key]) for key in order)
        tifffile.imwrite(folder / f"{name}.tif", expected[place], byteorder=byteorder)
    path = describe(folder, "pattern: '" + "-".join(f"{{{key}}}" for key in order) + ".tif'\n")
    found = pixels(path)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared/data")
def test_a_real_plate(tmp_path):
    for file in SHARED.glob("*.tif"):
        (tmp_path / file.name).symlink_to(file)
    path = describe(tmp_path, 'pattern: "Channel{channel}-{any}-{row}-{column}.tif"\n')
    assert [entry.series for entry in list_images(path)] == ["A01", "A02"]
    expected = tifffile.imread(SHARED / "Channel1-02-A-02.tif")
    np.testing.assert_array_equal(pixels(path, "A02")[0, 0, 0], expected)
