"""Leica files that the tests write, read back, and compared with what was written."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lif_files import LifImage, write_lif, write_lof
from parfocal.core.blocks import iter_blocks, whole
from parfocal.errors import InputError
from parfocal.images.opening import list_images, open_image, other_files

DTYPES = ("uint8", "uint16", "uint32", "float32")


def noise(shape, dtype="uint16", seed=0):
    return np.random.default_rng(seed).integers(1, 250, shape).astype(dtype)


def read(path, series=""):
    with open_image(path, series) as image:
        return image.read(whole(image.shape5))


def warnings_of(path, series=""):
    with open_image(path, series) as image:
        return " ".join(image.warnings)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.permutations("TCZ"),
    sizes=st.tuples(*[st.integers(1, 3)] * 3, st.integers(2, 20), st.integers(2, 20)),
    dtype=st.sampled_from(DTYPES),
    padding=st.sampled_from([0, 3]),
    block=st.tuples(*[st.integers(1, 2)] * 3, st.integers(1, 20), st.integers(1, 20)),
)
def test_all_sizes_types_and_orders_are_read_as_written(
    tmp_path, order, sizes, dtype, padding, block
):
    axes = "".join(order) + "YX"
    pixels = noise([dict(zip("TCZYX", sizes, strict=True))[axis] for axis in axes], dtype)
    path = write_lif(tmp_path / "a.lif", [LifImage("one", axes, pixels, row_padding=padding)])
    with open_image(path) as image:
        assert (image.shape5, image.dtype, image.warnings) == (sizes, np.dtype(dtype), ())
        out = np.zeros(sizes, dtype)
        for region in iter_blocks(whole(sizes), block):
            out[region] = image.read(region)
    np.testing.assert_array_equal(out, pixels.transpose([axes.index(axis) for axis in "TCZYX"]))


@pytest.mark.parametrize("tags", [(1, 2, 3), (3, 2, 1)])
@pytest.mark.parametrize("padding", [0, 1])
def test_colour_comes_as_red_green_blue(tmp_path, tags, padding):
    pixels = noise((7, 9, 3), "uint8")
    image = LifImage("camera", "YXS", pixels, tags=tags, row_padding=padding)
    path = write_lif(tmp_path / "a.lif", [image])
    expected = np.stack([pixels[..., tags.index(tag)] for tag in (1, 2, 3)])
    with open_image(path) as opened:
        assert opened.metadata.rgb
        assert [one.name for one in opened.metadata.channels] == ["Red", "Green", "Blue"]
        np.testing.assert_array_equal(opened.read(whole(opened.shape5))[0, :, 0], expected)
        part = (slice(0, 1), slice(1, 3), slice(0, 1), slice(2, 6), slice(3, 8))
        np.testing.assert_array_equal(opened.read(part)[0, :, 0], expected[1:, 2:6, 3:8])


def test_every_image_is_a_series_named_by_its_folders(tmp_path):
    inner = noise((4, 5), seed=1)
    images = [
        LifImage("one", "YX", noise((6, 7)), children=(LifImage("inner", "YX", inner),)),
        ("folder", LifImage("one", "ZYX", noise((2, 3, 4), seed=2))),
        LifImage("one", "YX", noise((3, 9), seed=3)),  # a name may come twice
    ]
    path = write_lif(tmp_path / "a.lif", images)
    found = [(e.series, e.metadata.name, e.metadata.shape) for e in list_images(path)]
    assert found == [
        ("0", "one", (6, 7)),
        ("1", "one/inner", (4, 5)),
        ("2", "folder/one", (2, 3, 4)),
        ("3", "one", (3, 9)),
    ]
    np.testing.assert_array_equal(read(path, "1")[0, 0, 0], inner)
    np.testing.assert_array_equal(read(path, "3")[0, 0, 0], noise((3, 9), seed=3))
    with pytest.raises(InputError, match="several images"):
        read(path)
    with pytest.raises(InputError, match="no such image"):
        read(path, "4")


@pytest.mark.parametrize(
    ("axes", "shown"),
    [("ZX", "YX"), ("TZX", "TYX"), ("YZX", "ZYX"), ("TYZX", "TZYX"), ("TX", "YX")],
)
def test_a_scan_along_x_and_z_is_a_plane(tmp_path, axes, shown):
    pixels = noise(range(3, 3 + len(axes)))
    steps = {"X": 0.1, "Y": 0.2, "Z": 0.7, "T": 2.0}
    path = write_lif(tmp_path / "a.lif", [LifImage("xz", axes, pixels, steps=steps)])
    with open_image(path) as image:
        assert (image.metadata.axes, image.metadata.shape) == (shown, pixels.shape)
        assert image.metadata.x_um == pytest.approx(0.1)
        if "Z" in axes:
            assert image.metadata.y_um == pytest.approx(0.7)
        assert image.metadata.z_um == (pytest.approx(0.2) if axes.endswith("YZX") else None)
        expected = pixels.reshape(image.shape5)
        np.testing.assert_array_equal(image.read(whole(image.shape5)), expected)
    assert "planes were scanned along X and" in warnings_of(path)


def test_wavelengths_are_channels(tmp_path):
    pixels = noise((5, 4, 6))
    path = write_lif(tmp_path / "a.lif", [LifImage("lambda", "LYX", pixels)])
    np.testing.assert_array_equal(read(path)[0, :, 0], pixels)
    assert "5 emission wavelengths are read as channels" in warnings_of(path)


@pytest.mark.parametrize(("axes", "said"), [("LCYX", "wavelengths"), ("AYX", "rotations")])
def test_dimensions_that_cannot_be_kept_are_refused(tmp_path, axes, said):
    pixels = noise((2, 3, 4, 5)[: len(axes)])
    path = write_lif(tmp_path / "a.lif", [LifImage("odd", axes, pixels)])
    with pytest.raises(InputError, match=said):
        list_images(path)


TILES = (
    '<Attachment Name="TileScanInfo" FlipX="0"><Tile FieldX="0" FieldY="0" PosX="0.001" '
    'PosY="0.002" PosZ="0.0005"/><Tile FieldX="1" FieldY="0" PosX="0.0015" PosY="0.002" '
    'PosZ="0.0005"/></Attachment>'
)


def test_each_tile_of_a_mosaic_is_an_image_with_its_place(tmp_path):
    pixels = noise((2, 3, 4, 5))
    image = LifImage("scan", "MZYX", pixels, extra=TILES)
    path = write_lif(tmp_path / "a.lif", [image, LifImage("merged", "YX", noise((4, 9)))])
    first, second, merged = list_images(path)
    assert [one.metadata.name for one in (first, second)] == [
        "scan, tile 1 of 2",
        "scan, tile 2 of 2",
    ]
    assert second.metadata.stage_x_um == pytest.approx(1500)
    assert (merged.series, merged.metadata.shape) == ("2", (4, 9))
    for tile in (0, 1):
        np.testing.assert_array_equal(read(path, str(tile))[0, 0], pixels[tile])
    assert "each is an image of its own" in warnings_of(path, "1")
    assert warnings_of(path, "2") == ""


def test_metadata_are_taken_with_their_units(tmp_path):
    stamps = "".join(
        f'<TimeStamp HighInteger="{ticks >> 32}" LowInteger="{ticks & 0xFFFFFFFF}"/>'
        for ticks in (131000000000000000 + 15000000 * n for n in range(3 * 2))
    )
    image = LifImage(
        "cells",
        "TZCYX",
        noise((3, 1, 2, 4, 5)),
        steps={"X": 0.25, "Y": 0.5, "T": 7.0},
        luts=("Green", "Gradient (255, 0, 128)"),
        dyes=("GFP", ""),
        extra=TILES.replace('Tile FieldX="1"', 'Other Field="1"')
        + f"<TimeStampList>{stamps}</TimeStampList>",
    )
    path = write_lif(tmp_path / "a.lif", [image])
    with open_image(path) as opened:
        found = opened.metadata
        assert (found.x_um, found.y_um, found.z_um) == (pytest.approx(0.25), 0.5, None)
        assert found.time_increment_s == pytest.approx(3.0)  # the stamps, not the plan of 7 s
        assert [(one.name, one.color) for one in found.channels] == [
            ("GFP", "00FF00"),
            (None, "FF0080"),
        ]
        assert (found.stage_x_um, found.stage_y_um, found.stage_z_um) == pytest.approx(
            (1000, 2000, 500)
        )
        assert opened.original_metadata["leica.xml"].startswith(b"<LMSDataContainerHeader")
        assert opened.reader.startswith("liffile ")
    assert other_files(path) == []


def test_times_that_are_not_regular_give_no_increment(tmp_path):
    stamps = " ".join(f"{131000000000000000 + 10000000 * n * n:x}" for n in range(4))
    image = LifImage("a", "TYX", noise((4, 5, 6)), extra=f"<TimeStampList>{stamps}</TimeStampList>")
    path = write_lif(tmp_path / "a.lif", [image])
    with open_image(path) as opened:
        assert opened.metadata.time_increment_s is None
    assert "do not follow at one interval" in warnings_of(path)


def test_a_lof_is_one_image(tmp_path):
    pixels = noise((2, 3, 4, 5))
    path = write_lof(tmp_path / "a.lof", LifImage("object", "CZYX", pixels))
    np.testing.assert_array_equal(read(path)[0], pixels)


def write_xlef(folder, images):
    """Write an XLEF that names an XLIF for each image, which names a LOF."""
    references = ""
    for number, image in enumerate(images):
        write_lof(folder / f"{number}.lof", image)
        block = f'MemoryBlockID="MemBlock_0"><Block File="{number}.lof" Offset="0" '
        block += f'Size="{len(image.data())}"/></Memory>'
        xml = image.xml("MemBlock_0").replace('MemoryBlockID="MemBlock_0"/>', block)
        xml = f'<?xml version="1.0"?><LMSDataContainerHeader Version="2">{xml}'
        (folder / f"{number}.xlif").write_text(xml + "</LMSDataContainerHeader>")
        references += f'<Reference File="{number}.xlif"/>'
    path = folder / "all.xlef"
    path.write_text(
        '<?xml version="1.0"?><LMSDataContainerHeader Version="2"><Element Name="all"><Data>'
        f'<Experiment/></Data><Memory Size="0" MemoryBlockID="none"/><Children>{references}'
        "</Children></Element></LMSDataContainerHeader>"
    )
    return path


def test_an_xlef_names_its_files(tmp_path):
    arrays = [noise((2, 4, 5), seed=1), noise((2, 3, 6), seed=2)]
    images = [LifImage(f"i{n}", "ZYX", one) for n, one in enumerate(arrays)]
    path = write_xlef(tmp_path, images)
    assert [one.metadata.name for one in list_images(path)] == ["i0", "i1"]
    for number, pixels in enumerate(arrays):
        np.testing.assert_array_equal(read(path, str(number))[0, 0], pixels)
    names = sorted(["0.lof", "0.xlif", "1.lof", "1.xlif"])
    assert other_files(path) == [tmp_path / name for name in names]
    (tmp_path / "1.lof").unlink()
    with pytest.raises(InputError, match=r"1\.lof"):
        list_images(path)


def test_what_is_no_image_is_told(tmp_path):
    flim = '<Element Name="flim"><Data><SingleMoleculeDetection IsImage="true"/></Data></Element>'
    path = write_lif(tmp_path / "a.lif", [LifImage("one", "YX", noise((4, 5)))], extra=flim)
    (entry,) = list_images(path)
    assert entry.aside == ("flim",)
    assert "left out: flim" in warnings_of(path)


def test_an_image_cut_off_is_refused_and_those_before_are_not(tmp_path):
    images = [LifImage(name, "YX", noise((40, 50))) for name in "ab"]
    path = write_lif(tmp_path / "a.lif", images)
    path.write_bytes(path.read_bytes()[:-1])
    np.testing.assert_array_equal(read(path, "0")[0, 0, 0], noise((40, 50)))
    with pytest.raises(InputError, match="expected 4000 bytes; found 3999 bytes"):
        read(path, "1")
    path.write_bytes(path.read_bytes()[:-4100])
    with pytest.raises(InputError, match="missing or not complete"):
        read(path, "1")


@pytest.mark.parametrize("kept", [5, 13, 400, 1001])
def test_a_file_cut_off_in_its_xml_is_refused(tmp_path, kept):
    path = write_lif(tmp_path / "a.lif", [LifImage("a", "YX", noise((4, 5)))])
    path.write_bytes(path.read_bytes()[:kept])
    for use in (list_images, other_files, read):
        with pytest.raises(InputError, match="cannot be read"):
            use(path)


def test_flipped_bits_end_in_an_error_or_in_an_image(tmp_path):
    path = write_lif(tmp_path / "a.lif", [LifImage("a", "CYX", noise((2, 9, 8)), steps={"X": 1})])
    content = path.read_bytes()
    rng = np.random.default_rng(3)
    refused = 0
    for at in rng.integers(0, len(content), 300):
        broken = bytearray(content)
        broken[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        try:
            read(path)
        except InputError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('BytesInc="10"', 'BytesInc="4"'),
        ('NumberOfElements="5"', 'NumberOfElements="0"'),
        ('Resolution="16"', 'Resolution="99"'),
        ('DimID="2"', 'DimID="1"'),
        ('DimID="1"', 'DimID="9"'),
    ],
)
def test_a_layout_that_cannot_be_is_refused(tmp_path, old, new):
    path = write_lif(tmp_path / "a.lif", [LifImage("a", "YX", noise((4, 5)))])
    content = path.read_bytes()
    assert old.encode("utf-16-le") in content
    new = new.ljust(len(old))
    path.write_bytes(content.replace(old.encode("utf-16-le"), new.encode("utf-16-le")))
    with pytest.raises(InputError):
        list_images(path)


def test_text_that_is_called_lif_is_refused(tmp_path):
    path = tmp_path / "text.lif"
    path.write_text("no image at all " * 100)
    with pytest.raises(InputError, match="Leica file cannot be read"):
        list_images(path)


STEPS = {"X": 0.25, "Y": 0.5, "Z": 0.7}


@pytest.mark.parametrize("axes", ["YX", "CYX", "ZCYX", "CZYX", "ZX", "YZX", "CZX"])
def test_bio_formats_agrees_on_all_axes(tmp_path, assert_same_as_bio_formats, axes):
    image = LifImage("a", axes, noise(range(2, 2 + len(axes))), steps=STEPS)
    assert_same_as_bio_formats(write_lif(tmp_path / "a.lif", [image]))


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_bio_formats_agrees_on_types(tmp_path, assert_same_as_bio_formats, dtype):
    image = LifImage("a", "CYX", noise((2, 5, 7), dtype), steps=STEPS)
    assert_same_as_bio_formats(write_lif(tmp_path / "a.lif", [image]))


def test_bio_formats_agrees_on_many_images_tiles_and_colour(tmp_path, assert_same_as_bio_formats):
    colour = LifImage("rgb", "YXS", noise((8, 12, 3), "uint8"), tags=(3, 2, 1))
    images = [
        LifImage("one", "YX", noise((6, 8)), children=(LifImage("inner", "YX", noise((4, 4))),)),
        ("folder", LifImage("one", "ZYX", noise((2, 3, 4), seed=2), steps=STEPS), colour),
        LifImage("scan", "MZCYX", noise((2, 3, 2, 6, 8)), extra=TILES, steps=STEPS),
    ]
    assert_same_as_bio_formats(write_lif(tmp_path / "a.lif", images))


@pytest.mark.parametrize(
    ("image", "explained"),
    [
        # It takes time stamps only, not the plan of the experiment.
        (LifImage("t", "TYX", noise((3, 4, 8)), steps={"T": 2}), {"time_increment_s"}),
        # It takes the seconds of a line scan along X and T for micrometres along Y.
        (LifImage("xt", "TX", noise((3, 4)), steps={"T": 2}), {"y_um"}),
        # It takes wavelengths for time points.
        (LifImage("waves", "LYX", noise((2, 3, 4))), {"shape", "channels"}),
        # It takes all pixels of 32 bits for floats; the file says that they are integers.
        (LifImage("wide", "YX", noise((3, 4), "uint32")), {"dtype", "pixels"}),
        # It takes blue to be first always; the file says that red is.
        (LifImage("rgb", "YXS", noise((4, 8, 3), "uint8"), tags=(1, 2, 3)), {"pixels"}),
        # It does not read the names of dyes there.
        (LifImage("named", "CYX", noise((2, 3, 4)), dyes=("GFP", "RFP")), {"channels"}),
    ],
    ids=lambda value: value.name if isinstance(value, LifImage) else "",
)
def test_where_bio_formats_differs_and_why(tmp_path, assert_same_as_bio_formats, image, explained):
    path = write_lif(tmp_path / "a.lif", [image])
    assert_same_as_bio_formats(path, explained=explained)
