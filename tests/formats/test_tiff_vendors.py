"""TIFFs of microscopes and scanners: Zeiss LSM, MetaMorph STK, Hamamatsu NDPI."""

import json
import struct

import numpy as np
import pytest
import tifffile

from ndpi_slide import write_ndpi
from parfocal.core.blocks import whole
from parfocal.errors import InputError
from parfocal.images import list_images, open_image

RNG = np.random.default_rng(9)
LSM_INFO, UIC1, UIC2, UIC3 = 34412, 33628, 33629, 33630
LETTERS = {"u4": "I", "i4": "i", "f8": "d", "u2": "H", "16i4": "16i", "9u4": "9I"}


def read(image):
    return image.read(whole(image.shape5))


def write_lsm(path, data, **stated):
    """Write data (T, Z, C, Y, X): a page of planar samples and a thumbnail for each T and Z."""
    t, z, c, y, x = data.shape
    layout = "<" + "".join(LETTERS[kind] for _, kind in tifffile.TIFF.CZ_LSMINFO)
    sizes = {"DimensionX": x, "DimensionY": y, "DimensionZ": z, "DimensionTime": t}
    stated = sizes | {"DimensionChannels": c, "MagicNumber": 67127628, "ScanType": 6} | stated
    stated["StructureSize"] = struct.calcsize(layout)
    values = []
    for name, kind in tifffile.TIFF.CZ_LSMINFO:
        values += [0] * int(kind[:-2]) if len(kind) > 2 else [stated.get(name, 0)]
    info = struct.pack(layout, *values)
    pages = data.reshape(t * z, c, y, x)
    with tifffile.TiffWriter(path, byteorder="<") as writer:
        for number, page in enumerate(pages):
            tags = [] if number else [(LSM_INFO, 1, len(info), info, True)]
            options = {"metadata": None, "contiguous": False, "planarconfig": "separate"}
            writer.write(page, photometric="rgb", extratags=tags, **options)
            small = np.zeros((3, 8, 8), np.uint8)
            writer.write(small, photometric="rgb", subfiletype=1, **options)
    return path


def write_stk(path, planes, distance=1.5, times=False, waves=None):
    """Write planes that follow each other after a single page, as MetaMorph does."""
    count = len(planes)
    times = [1000 * number if times else 0 for number in range(count)]
    dates = [(int(distance * 1000), 1000, 2450000, time, 2450000, 0) for time in times]
    waves = [(wave, 1) for wave in (waves or [500] * count)]
    flat = [[number for one in values for number in one] for values in (dates, waves)]
    tags = [
        (UIC1, 4, 2, (0, 0), True),
        (UIC2, 5, 3 * count, tuple(flat[0]), True),
        (UIC3, 5, count, tuple(flat[1]), True),
    ]
    options = {"photometric": "minisblack", "metadata": None, "byteorder": "<"}
    tifffile.imwrite(path, planes[0], extratags=tags, **options)
    content = bytearray(path.read_bytes() + planes[1:].tobytes())
    # MetaMorph counts planes here, each of which has six numbers.
    place = content.index(struct.pack("<HHI", UIC2, 5, 3 * count))
    struct.pack_into("<I", content, place + 4, count)
    path.write_bytes(content)
    return path


def test_zeiss_lsm(tmp_path, assert_same_as_bio_formats):
    data = RNG.integers(0, 255, (2, 4, 3, 20, 30)).astype(np.uint8)
    sizes = {"VoxelSizeX": 1e-7, "VoxelSizeY": 2e-7, "VoxelSizeZ": 5e-7, "TimeIntervall": 2.5}
    path = write_lsm(tmp_path / "a.lsm", data, **sizes)
    (entry,) = list_images(path)
    assert entry.metadata.shape == (2, 3, 4, 20, 30)
    assert not entry.metadata.rgb
    assert entry.metadata.channel_names() == ["channel_0", "channel_1", "channel_2"]
    with open_image(path) as image:
        found = image.metadata
        assert (found.z_um, found.y_um, found.x_um) == pytest.approx((0.5, 0.2, 0.1))
        assert found.time_increment_s == 2.5
        np.testing.assert_array_equal(read(image), data.swapaxes(1, 2))
        assert json.loads(image.original_metadata["lsm.json"])["DimensionTime"] == 2
        assert image.warnings == ()
    # Bio-Formats takes the increment from time stamps, of which there are none.
    assert_same_as_bio_formats(path, explained=["time_increment_s"])


def test_positions_of_zeiss_lsm_are_refused(tmp_path):
    data = RNG.integers(0, 255, (2, 4, 3, 20, 30)).astype(np.uint8)
    path = write_lsm(tmp_path / "a.lsm", data, DimensionTime=1, DimensionP=2)
    with pytest.raises(InputError, match="axes") as caught:
        open_image(path)
    assert "P=2" in caught.value.found


@pytest.mark.parametrize(
    ("options", "axes", "told"),
    [
        ({}, "ZYX", "distances of planes"),
        ({"distance": 0, "times": True}, "TYX", None),
        ({"distance": 0}, "ZYX", "taken as Z"),
        ({"distance": 0, "times": True, "waves": [400, 500, 400, 500]}, "ZYX", "taken as Z"),
    ],
)
def test_metamorph_stk(tmp_path, options, axes, told):
    planes = RNG.integers(0, 60000, (4, 20, 30)).astype(np.uint16)
    path = write_stk(tmp_path / "a.stk", planes, **options)
    with open_image(path) as image:
        assert image.metadata.axes == axes
        np.testing.assert_array_equal(read(image).squeeze(), planes)
        assert "NumberPlanes" in json.loads(image.original_metadata["stk.json"])
        assert told in image.warnings[0] if told else image.warnings == ()
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(InputError, match="ends before"):
        open_image(path)


@pytest.mark.parametrize("count", [1, 3])
def test_hamamatsu_ndpi(tmp_path, count, assert_same_as_bio_formats):
    blocks = RNG.integers(0, 255, (count, 6, 8, 3))
    planes = [np.kron(one, np.ones((8, 16, 1))).astype(np.uint8) for one in blocks]
    path = write_ndpi(tmp_path / "a.ndpi", planes)
    (entry,) = list_images(path)
    assert entry.aside == ("Macro",)
    with open_image(path) as image:
        assert image.metadata.shape == ((3, 48, 128) if count == 1 else (3, 3, 48, 128))
        assert image.metadata.z_um == (None if count == 1 else 1.5)
        assert (image.metadata.y_um, image.metadata.x_um) == (0.5, 0.25)
        assert image.lossy
        pixels = np.moveaxis(read(image)[0], 0, -1).astype(int)
        assert np.abs(pixels - np.stack(planes)).max() <= 2
        if count == 1:
            with open_image(path, reader="openslide") as slide:
                np.testing.assert_array_equal(read(slide), read(image))
        else:
            with pytest.raises(InputError, match="OpenSlide reads one"):
                open_image(path, reader="openslide")
    # Bio-Formats reads the places of focal planes, and no distance of them.
    assert_same_as_bio_formats(path, explained=["z_um"] if count > 1 else [])


KINDS = ["strips.tif", "tiles.ome.tif", "imagej.tif", "a.lsm", "a.stk", "a.ndpi"]


def write_kind(path):
    stack = RNG.integers(0, 60000, (3, 40, 50)).astype(np.uint16)
    if path.suffix == ".lsm":
        return write_lsm(path, RNG.integers(0, 255, (2, 2, 3, 20, 30)).astype(np.uint8))
    if path.suffix == ".stk":
        return write_stk(path, stack)
    if path.suffix == ".ndpi":
        return write_ndpi(path, [RNG.integers(0, 255, (48, 128, 3)).astype(np.uint8)] * 2)
    options = {
        "strips.tif": {"compression": "zlib", "metadata": {"axes": "ZYX"}},
        "tiles.ome.tif": {"compression": "lzw", "tile": (16, 16), "metadata": {"axes": "ZYX"}},
        "imagej.tif": {"imagej": True, "metadata": {"axes": "ZYX"}},
    }
    tifffile.imwrite(path, stack, photometric="minisblack", **options[path.name])
    return path


@pytest.mark.parametrize("name", KINDS)
def test_flipped_bits_of_tags_raise_nothing_but_our_error(tmp_path, name):
    path = write_kind(tmp_path / name)
    content = path.read_bytes()
    with tifffile.TiffFile(path) as tiff:
        places = [place for page in tiff.pages for place in range(page.offset, page.offset + 240)]
    places = [place for place in places if place < len(content)]
    refused = 0
    for place in RNG.choice(places, 60):
        broken = bytearray(content)
        broken[place] ^= 1 << int(RNG.integers(8))
        path.write_bytes(broken)
        try:
            for entry in list_images(path):
                if np.prod(entry.metadata.shape, dtype=float) < 1e7:
                    with open_image(path, entry.series) as image:
                        read(image)
        except InputError:
            refused += 1
    assert refused
