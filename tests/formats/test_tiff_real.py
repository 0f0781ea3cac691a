"""TIFF as Bio-Formats reads it: encodings, data types, OME-TIFF in any order, several files."""

import cProfile
import itertools
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile

from parfocal.core.blocks import whole
from parfocal.errors import InputError
from parfocal.images import list_images, open_image, other_files
from parfocal.remote.filesets import named_files

SHARED = Path(__file__).parents[3] / "shared/data"
RNG = np.random.default_rng(5)
STACK = RNG.integers(0, 60000, (3, 40, 50)).astype(np.uint16)
RGB = RNG.integers(0, 255, (40, 50, 3)).astype(np.uint8)

ENCODINGS = {
    "plain": {},
    "big-endian": {"byteorder": ">"},
    "BigTIFF": {"bigtiff": True},
    "big-endian BigTIFF in tiles": {"bigtiff": True, "byteorder": ">", "tile": (16, 32)},
    "strips": {"rowsperstrip": 7},
    "LZW": {"compression": "lzw"},
    "LZW, predictor": {"compression": "lzw", "predictor": True},
    "big-endian LZW, predictor": {"compression": "lzw", "predictor": True, "byteorder": ">"},
    "deflate in tiles": {"compression": "zlib", "tile": (16, 16)},
    "deflate, predictor in tiles": {"compression": "zlib", "predictor": True, "tile": (16, 16)},
    "zstd": {"compression": "zstd"},
    "PackBits": {"compression": "packbits"},
    "JPEG 2000": {"compression": "jpeg2000", "compressionargs": {"level": 0}},
}
TYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]


def write(path, data, **options):
    options = {"photometric": "minisblack"} | options
    tifffile.imwrite(path, data, **options)
    return path


def read(image):
    return image.read(whole(image.shape5))


@pytest.mark.parametrize("kind", ENCODINGS)
def test_encodings(tmp_path, kind, assert_same_as_bio_formats):
    path = write(tmp_path / "a.ome.tif", STACK, metadata={"axes": "ZYX"}, **ENCODINGS[kind])
    with open_image(path) as image:
        np.testing.assert_array_equal(read(image)[0, 0], STACK)
    assert_same_as_bio_formats(path)


@pytest.mark.parametrize("dtype", TYPES)
def test_data_types(tmp_path, dtype, assert_same_as_bio_formats):
    data = RNG.integers(0, 2**31, (3, 40, 50)).astype(dtype)
    path = write(tmp_path / "a.ome.tif", data, metadata={"axes": "TYX"}, compression="zlib")
    assert_same_as_bio_formats(path)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_with_their_predictor(tmp_path, dtype):
    data = RNG.normal(size=(3, 40, 50)).astype(dtype)
    options = {"compression": "zlib", "predictor": 3, "metadata": {"axes": "ZYX"}}
    with open_image(write(tmp_path / "a.tif", data, **options)) as image:
        np.testing.assert_array_equal(read(image)[0, 0], data)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="pixel by pixel"),
        pytest.param({"tile": (16, 16), "compression": "lzw"}, id="tiles"),
        pytest.param({"planarconfig": "separate"}, id="planes"),
        pytest.param({"planarconfig": "separate", "compression": "zlib"}, id="coded planes"),
    ],
)
def test_colours(tmp_path, options, assert_same_as_bio_formats):
    data = np.moveaxis(RGB, -1, 0) if "planarconfig" in options else RGB
    path = write(tmp_path / "a.tif", data, photometric="rgb", metadata=None, **options)
    with open_image(path) as image:
        np.testing.assert_array_equal(read(image)[0, :, 0], np.moveaxis(RGB, -1, 0))
    # Without a unit of resolution Bio-Formats takes one pixel to be a micrometre.
    assert_same_as_bio_formats(path, explained=["y_um", "x_um"])


def write_ome(path, pages, tiff_data, sizes=(2, 2, 3), order="XYZCT", planes="", **options):
    """Write pages with an OME-XML of sizes (T, C, Z) that says which plane each page is."""
    t, c, z = sizes
    channels = "".join(f'<Channel ID="Channel:0:{n}" SamplesPerPixel="1"/>' for n in range(c))
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        f'<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="{order}" Type="uint8" '
        f'SizeX="{pages.shape[2]}" SizeY="{pages.shape[1]}" SizeZ="{z}" SizeC="{c}" SizeT="{t}">'
        f"{channels}{tiff_data}{planes}</Pixels></Image></OME>"
    )
    described = {"description": text.encode(), "metadata": None, "ome": False}
    return write(path, pages, **described, **options)


def one_by_one(order):
    """Say for each page of its own which plane it is; the last plane comes first."""
    places = list(itertools.product(range(2), range(2), range(3)))[::-1]
    return "".join(
        f'<TiffData FirstT="{t}" FirstC="{c}" FirstZ="{z}" IFD="{number}" PlaneCount="1"/>'
        for number, (t, c, z) in enumerate(places)
    )


PAGES = RNG.integers(0, 255, (12, 8, 9)).astype(np.uint8)
TIFF_DATA = {
    "nothing said": "<TiffData/>",
    "all at once": '<TiffData IFD="0" PlaneCount="12"/>',
    "in runs, the last first": (
        '<TiffData IFD="0" PlaneCount="6" FirstT="1"/><TiffData IFD="6" PlaneCount="6" FirstT="0"/>'
    ),
    "one by one, without a count": "".join(
        f'<TiffData FirstT="{t}" FirstC="{c}" FirstZ="{z}" IFD="{(t * 2 + c) * 3 + z}"/>'
        for t, c, z in itertools.product(range(2), range(2), range(3))
    ),
    "one by one, backwards": one_by_one("XYZCT"),
}


@pytest.mark.parametrize("order", ["XYZCT", "XYCZT", "XYTZC", "XYZTC", "XYCTZ", "XYTCZ"])
@pytest.mark.parametrize("kind", TIFF_DATA)
def test_pages_of_an_ome_tiff_in_any_order(tmp_path, kind, order, assert_same_as_bio_formats):
    if kind.startswith("in runs") and not order.endswith("T"):
        order = "XYCZT"  # a run of the other orders would not be one time point
    path = write_ome(tmp_path / "a.ome.tif", PAGES, TIFF_DATA[kind], order=order)
    assert_same_as_bio_formats(path)


def write_companion(folder, names=("a.tif", "b.tif"), binary_only=True):
    """Write two images of three planes each: the second plane of each lies in the second file."""
    ids = [f"urn:uuid:00000000-0000-0000-0000-00000000000{n}" for n in range(2)]
    pages = PAGES.reshape(2, 2, 3, 8, 9)[:, :, 0]  # file, image
    images = "".join(
        f'<Image ID="Image:{image}" Name="field {image}"><Pixels ID="Pixels:{image}" '
        'DimensionOrder="XYZCT" Type="uint8" SizeX="9" SizeY="8" SizeZ="2" SizeC="1" SizeT="1" '
        'PhysicalSizeX="0.5" PhysicalSizeY="0.25">'
        f'<Channel ID="Channel:{image}:0" SamplesPerPixel="1"/>'
        + "".join(
            f'<TiffData FirstZ="{file}" IFD="{image}" PlaneCount="1">'
            f'<UUID FileName="{names[file]}">{ids[file]}</UUID></TiffData>'
            for file in range(2)
        )
        + f'<Plane TheZ="0" TheC="0" TheT="0" PositionX="{image}.5" PositionXUnit="mm" '
        'PositionY="-3" PositionYUnit="µm"/></Pixels></Image>'
        for image in range(2)
    )
    space = 'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
    companion = folder / "set.companion.ome"
    uuid = "urn:uuid:00000000-0000-0000-0000-00000000000c"
    text = f'<?xml version="1.0" encoding="UTF-8"?><OME {space} UUID="{uuid}">{images}</OME>'
    companion.write_text(text)
    for file in range(2):
        only = f'<BinaryOnly MetadataFile="set.companion.ome" UUID="{uuid}"/>'
        own = f'<OME {space} UUID="{ids[file]}">{only}</OME>'
        described = {"description": own.encode()} if binary_only else {}
        options = {"metadata": None, "ome": False, **described}
        write(folder / names[file], pages[file], **options)
    return companion, pages.swapaxes(0, 1)


def test_a_companion_file_stands_for_its_tiffs(tmp_path, assert_same_as_bio_formats):
    companion, images = write_companion(tmp_path)
    for path in (companion, tmp_path / "a.tif", tmp_path / "b.tif"):
        entries = list_images(path)
        assert [entry.metadata.name for entry in entries] == ["field 0", "field 1"]
        for number, entry in enumerate(entries):
            assert entry.metadata.stage_x_um == number * 1000 + 500
            assert entry.metadata.stage_y_um == -3
            assert entry.metadata.stage_z_um is None
            with open_image(path, entry.series) as image:
                assert image.metadata.x_um == 0.5
                np.testing.assert_array_equal(read(image)[0, 0], images[number])
                assert image.original_metadata["METADATA.ome.xml"] == companion.read_bytes()
    names = ["a.tif", "b.tif", "set.companion.ome"]
    assert other_files(companion) == [tmp_path / name for name in names[:2]]
    assert other_files(tmp_path / "a.tif") == [tmp_path / name for name in names[1:]]
    assert named_files(companion) == ("a.tif", "b.tif")
    assert named_files(tmp_path / "a.tif") == ("set.companion.ome", "b.tif")
    assert_same_as_bio_formats(companion)


def test_the_tiffs_of_a_companion_may_say_nothing_and_lie_in_folders(tmp_path):
    (tmp_path / "b").mkdir()
    companion, images = write_companion(tmp_path, ("a.tif", "b/b.tif"), binary_only=False)
    with open_image(companion, "1") as image:
        np.testing.assert_array_equal(read(image)[0, 0], images[1])
    assert other_files(companion) == [tmp_path / "a.tif", tmp_path / "b/b.tif"]


def test_missing_files_of_a_companion_are_told(tmp_path):
    companion, _ = write_companion(tmp_path)
    (tmp_path / "b.tif").unlink()
    with pytest.raises(InputError, match="missing"):
        open_image(companion, "0")
    assert tmp_path / "b.tif" in other_files(companion)
    (tmp_path / "a.tif").rename(tmp_path / "c.tif")
    with pytest.raises(InputError, match="no TIFF that is there"):
        open_image(companion, "0")
    companion.unlink()
    with pytest.raises(InputError, match="companion file, which is missing"):
        open_image(tmp_path / "c.tif", "0")


@pytest.mark.parametrize("text", ["<OME", "<OME/>", "", "\x00\xff"])
def test_a_damaged_companion_is_told(tmp_path, text):
    path = tmp_path / "a.companion.ome"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError):
        list_images(path)


def test_images_that_the_pages_do_not_make_up_are_told(tmp_path):
    pixels = 'SizeX="9" SizeY="8" SizeZ="1" SizeC="1" SizeT="1"'
    other = (
        '</Pixels></Image><Image ID="Image:1"><Pixels ID="Pixels:1" DimensionOrder="XYZCT" '
        f'Type="uint8" {pixels}><Channel ID="Channel:1:0"/><TiffData IFD="40" PlaneCount="1"/>'
    )
    path = write_ome(tmp_path / "a.ome.tif", PAGES, TIFF_DATA["all at once"] + other)
    with pytest.raises(InputError, match="missing, or do not fit") as caught:
        list_images(path)
    assert "2 images" in caught.value.expected


BLOCKS = np.kron(RNG.integers(0, 255, (8, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
LOSSY = {
    "gray": (BLOCKS[..., 0], {"tile": (32, 32)}),
    "RGB": (BLOCKS, {"tile": (32, 32), "photometric": "rgb"}),
    "YCbCr": (BLOCKS, {"tile": (32, 32), "photometric": "ycbcr"}),
    "strips": (BLOCKS, {"photometric": "ycbcr", "rowsperstrip": 16}),
}


@pytest.mark.parametrize("kind", LOSSY)
def test_jpeg_is_decoded_to_the_bit_as_bio_formats_does(tmp_path, kind, assert_same_as_bio_formats):
    data, options = LOSSY[kind]
    path = write(tmp_path / "a.tif", data, compression="jpeg", metadata=None, **options)
    with open_image(path) as image:
        assert image.lossy
    assert_same_as_bio_formats(path, explained=["y_um", "x_um"])


def test_where_bio_formats_reads_other_pixels(tmp_path, assert_same_as_bio_formats):
    """Ours are those that were written."""
    lossless = {"compression": "jpeg2000", "compressionargs": {"level": 0}, "tile": (32, 32)}
    written = {
        # Bio-Formats mixes up the samples of colours in JPEG 2000.
        "colours.tif": (BLOCKS, {"photometric": "rgb", **lossless}),
        # Bio-Formats inverts pixels of which 0 means white.
        "white.tif": (BLOCKS[..., 0], {"photometric": "miniswhite"}),
    }
    for name, (data, options) in written.items():
        path = write(tmp_path / name, data, metadata=None, **options)
        with open_image(path) as image:
            expected = np.moveaxis(np.atleast_3d(data), -1, 0)
            np.testing.assert_array_equal(read(image)[0, :, 0], expected)
        assert_same_as_bio_formats(path, explained=["pixels", "y_um", "x_um"])


def test_single_bits_of_colours(tmp_path, assert_same_as_bio_formats):
    bits = RNG.integers(0, 2, (16, 24, 3)).astype(np.uint8)
    data = np.packbits(bits.reshape(16, 72), axis=1).tobytes()
    values = {256: 24, 257: 16, 259: 1, 262: 2, 277: 3, 278: 16, 279: len(data)}
    start = 8 + 2 + 9 * 12 + 4
    entries = {tag: struct.pack("<HHII", tag, 4, 1, value) for tag, value in values.items()}
    entries[258] = struct.pack("<HHII", 258, 3, 3, start)
    entries[273] = struct.pack("<HHII", 273, 4, 1, start + 6)
    body = b"".join(entries[tag] for tag in sorted(entries))
    content = b"II*\0" + struct.pack("<IH", 8, 9) + body + struct.pack("<IHHH", 0, 1, 1, 1) + data
    path = tmp_path / "a.tif"
    path.write_bytes(content)
    with open_image(path) as image:
        np.testing.assert_array_equal(read(image)[0, :, 0], np.moveaxis(bits, -1, 0))
        assert image.metadata.rgb
        assert "1 bit" in image.warnings[0]
    assert_same_as_bio_formats(path)


def test_a_huge_sparse_plane_costs_what_is_in_it(tmp_path):
    across = 391
    stored = {(0, 5): 7, (200, 3): 9}

    def tiles():
        for row, column in itertools.product(range(across), repeat=2):
            value = stored.get((row, column))
            yield b"" if value is None else zlib.compress(bytes([value]) * 256**2)

    path = tmp_path / "a.tif"
    size = {"shape": (100_000, 100_000), "dtype": np.uint8, "tile": (256, 256)}
    write(path, tiles(), compression="zlib", bigtiff=True, metadata=None, **size)
    tracemalloc.start()
    (entry,) = list_images(path)
    assert entry.metadata.shape == (100_000, 100_000)
    with open_image(path) as image:
        assert f"{across**2 - 2} strips or tiles are not stored" in image.warnings[0]
        rows, columns = slice(200 * 256 - 8, 200 * 256 + 8), slice(2 * 256, 5 * 256)
        window = image.read((slice(0, 1), slice(0, 1), slice(0, 1), rows, columns))[0, 0, 0]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    expected = np.zeros((16, 768), np.uint8)
    expected[8:, 256:512] = 9
    np.testing.assert_array_equal(window, expected)
    assert peak < 64 * 2**20


def test_listing_many_pages_and_images_takes_no_square_of_them(tmp_path):
    def calls(path):
        """Count the calls of Python functions, which do not depend on the machine."""
        profile = cProfile.Profile()
        profile.runcall(list_images, path)
        return sum(entry.callcount for entry in profile.getstats())

    found = {"pages": [], "images": []}
    for count in (100, 400):
        path = write(tmp_path / "a.tif", np.zeros((count, 8, 9), np.uint8), metadata=None)
        found["pages"].append(calls(path))
        with tifffile.TiffWriter(tmp_path / "b.ome.tif", ome=True) as writer:
            for number in range(count):
                plane = np.zeros((8, 9 + number % 3), np.uint8)
                writer.write(plane, metadata={"axes": "YX"}, photometric="minisblack")
        found["images"].append(calls(tmp_path / "b.ome.tif"))
    for few, many in found.values():
        assert many < 6 * few


@pytest.mark.skipif(not SHARED.exists(), reason="the shared data are not here")
@pytest.mark.parametrize("name", ["4D-series.ome.tiff", "bbbc007", "CMU-1-Small-Region.svs"])
def test_real_files_agree_with_bio_formats(name, assert_same_as_bio_formats):
    path = SHARED / name
    for one in sorted(path.glob("*.tif")) if path.is_dir() else [path]:
        with tifffile.TiffFile(one) as tiff:
            unit = tiff.pages.first.tags.valueof("ResolutionUnit")
        # Without a unit of resolution Bio-Formats takes one pixel to be a micrometre.
        assert_same_as_bio_formats(one, explained=["y_um", "x_um"] if unit == 1 else [])
