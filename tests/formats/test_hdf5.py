"""Imaris, BigDataViewer and other HDF5 files that the test writes with h5py."""

import json
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parfocal.core.blocks import iter_blocks, whole
from parfocal.errors import InputError
from parfocal.images.opening import list_images, open_image, other_files

FIXTURE = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


def numbered(shape, dtype="uint16"):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def letters(text):
    """Return a text as Imaris stores it: an array of single bytes."""
    return np.array([bytes([one]) for one in str(text).encode()], "S1")


def set_all(group, values):
    for name, value in values.items():
        group.attrs[name] = letters(value)


def write_ims(path, pixels, chunk=(2, 4, 8), **image):
    """Write `pixels` (T, C, Z, Y, X) in datasets that are padded to whole chunks."""
    t, c, z, y, x = pixels.shape
    extents = {f"ExtMin{n}": 10 for n in range(3)}
    extents |= {"ExtMax0": 10 + x * 0.5, "ExtMax1": 10 + y * 0.25, "ExtMax2": 10 + z * 2}
    with h5py.File(path, "w") as file:
        set_all(file, {"DataSetDirectoryName": "DataSet", "ImarisVersion": "5.5.0"})
        info = file.create_group("DataSetInfo")
        sizes = {"X": x, "Y": y, "Z": z, "Unit": "um", "Name": "cells"}
        set_all(info.create_group("Image"), sizes | extents | image)
        times = {f"TimePoint{n + 1}": f"2020-01-01 10:00:{n * 2:02}.500" for n in range(t)}
        set_all(info.create_group("TimeInfo"), times | {"FileTimePoints": t})
        for n in range(c):
            stated = {"Name": f"dye {n}", "Color": "1.000 0.500 0.000"}
            stated |= {"LSMEmissionWavelength": 525 + n, "LSMExcitationWavelength": "488.5"}
            set_all(info.create_group(f"Channel {n}"), stated)
        for i, j in np.ndindex(t, c):
            group = file.create_group(f"DataSet/ResolutionLevel 0/TimePoint {i}/Channel {j}")
            set_all(group, {"ImageSizeX": x, "ImageSizeY": y, "ImageSizeZ": z})
            padding = [(0, -size % part) for size, part in zip((z, y, x), chunk, strict=True)]
            padded = np.pad(pixels[i, j], padding, constant_values=77)
            group.create_dataset("Data", data=padded, chunks=chunk, compression="gzip")
            half = file.create_group(f"DataSet/ResolutionLevel 1/TimePoint {i}/Channel {j}")
            half.create_dataset("Data", data=padded[::2, ::2, ::2])
        file.create_dataset("Thumbnail/Data", data=np.zeros((256, 1024), "u1"))
    return path


@FIXTURE
@given(
    shape=st.tuples(*[st.integers(1, 3)] * 3, *[st.integers(1, 10)] * 2),
    dtype=st.sampled_from(["uint8", "uint16", "uint32", "float32"]),
    data=st.data(),
)
def test_imaris_of_every_shape(tmp_path, shape, dtype, data):
    pixels = numbered(shape, dtype)
    path = write_ims(tmp_path / "a.ims", pixels)
    region = []
    for size in shape:
        start = data.draw(st.integers(0, size - 1))
        region.append(slice(start, data.draw(st.integers(start + 1, size))))
    with open_image(path) as image:
        assert not image.warnings
        assert image.shape5 == shape
        found = image.read(tuple(region))
    assert found.dtype == pixels.dtype
    np.testing.assert_array_equal(found, pixels[tuple(region)])


def test_imaris_metadata(tmp_path):
    path = write_ims(tmp_path / "a.ims", numbered((3, 2, 3, 10, 13)))
    with open_image(path) as image:
        found = image.metadata
        texts = image.original_metadata
        assert image.block5 == (1, 1, 2, 4, 8)
    assert found.name == "cells"
    assert (found.x_um, found.y_um, found.z_um) == pytest.approx((0.5, 0.25, 2))
    assert found.time_increment_s == 2
    assert [c.name for c in found.channels] == ["dye 0", "dye 1"]
    assert [c.emission_nm for c in found.channels] == [525, 526]
    assert found.channels[0].excitation_nm == 488.5
    assert found.channels[0].color == "FF8000"
    assert json.loads(texts["imaris.json"])["Image"]["ExtMin0"] == "10"
    assert [entry.metadata for entry in list_images(path)] == [found]
    assert other_files(path) == []


def test_imaris_from_several_threads(tmp_path):
    pixels = numbered((2, 2, 4, 40, 40))
    path = write_ims(tmp_path / "a.ims", pixels)
    with open_image(path) as image, ThreadPoolExecutor(4) as pool:
        regions = list(iter_blocks(whole(image.shape5), (1, 1, 2, 16, 16)))
        for region, block in zip(regions, pool.map(image.read, regions), strict=True):
            np.testing.assert_array_equal(block, pixels[region])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "float32"])
def test_bio_formats_reads_the_same_of_imaris(tmp_path, assert_same_as_bio_formats, dtype):
    """Bio-Formats does not read the times of Imaris, from which the increment comes."""
    path = write_ims(tmp_path / "a.ims", numbered((3, 2, 3, 10, 13), dtype))
    assert_same_as_bio_formats(path, explained={"time_increment_s"})


def test_imaris_extents_in_other_units(tmp_path):
    path = write_ims(tmp_path / "a.ims", numbered((1, 1, 3, 10, 13)), Unit="nm")
    with open_image(path) as image:
        assert image.metadata.x_um == pytest.approx(0.0005)
    path = write_ims(tmp_path / "b.ims", numbered((1, 1, 3, 10, 13)), Unit="parsec")
    with open_image(path) as image:
        assert image.metadata.x_um is None
        assert "'parsec'" in image.warnings[0]


def change_ims(path, change):
    with h5py.File(path, "r+") as file:
        change(file)
    return path


LEVEL = "DataSet/ResolutionLevel 0"


def _drop_time(file):
    del file[f"{LEVEL}/TimePoint 1"]


def _drop_last_time(file):
    del file[f"{LEVEL}/TimePoint 2"]


def _drop_channel(file):
    del file[f"{LEVEL}/TimePoint 1/Channel 1"]


def _drop_data(file):
    del file[f"{LEVEL}/TimePoint 1/Channel 1/Data"]


def _other_type(file):
    _drop_data(file)
    file[f"{LEVEL}/TimePoint 1/Channel 1/Data"] = np.zeros((4, 12, 16), "uint8")


def _too_small(file):
    _drop_data(file)
    file[f"{LEVEL}/TimePoint 1/Channel 1/Data"] = np.zeros((2, 12, 16), "uint16")


def _drop_size(file):
    del file["DataSetInfo/Image"].attrs["Y"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (_drop_time, "missing"),
        (_drop_last_time, "missing"),
        (_drop_channel, "missing"),
        (_drop_data, "missing"),
        (_other_type, "do not fit"),
        (_too_small, "do not fit"),
        (_drop_size, "state its size"),
    ],
)
def test_imaris_that_lacks_something_is_refused(tmp_path, change, text):
    path = change_ims(write_ims(tmp_path / "a.ims", numbered((3, 2, 3, 10, 13))), change)
    with pytest.raises(InputError, match=text):
        open_image(path)


def test_every_truncation_is_refused(tmp_path):
    path = write_ims(tmp_path / "a.ims", numbered((1, 1, 3, 10, 13)))
    content = path.read_bytes()
    for size in (9, 100, 1000, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(InputError):
            open_image(path)


def test_flipped_bits_are_refused_told_or_harmless(tmp_path):
    """Checksums of gzip find the damage in pixels, and the structure most of the rest."""
    pixels = numbered((1, 1, 2, 8, 8))
    path = write_ims(tmp_path / "a.ims", pixels)
    content = path.read_bytes()
    refused = 0
    used = [n for n, byte in enumerate(content) if byte]
    for n in used[:: len(used) // 40]:
        damaged = bytearray(content)
        damaged[n] ^= 1 << n % 8
        path.write_bytes(damaged)
        try:
            with open_image(path) as image:
                if image.shape5 == pixels.shape and not image.warnings:
                    np.testing.assert_array_equal(image.read(whole(image.shape5)), pixels)
        except InputError:
            refused += 1
    assert refused > 3


def write_h5(path, **datasets):
    with h5py.File(path, "w") as file:
        for name, value in datasets.items():
            file[name.replace("__", "/")] = value
    return path


@FIXTURE
@given(
    axes=st.permutations("TCZYX").map("".join),
    rank=st.integers(2, 5),
    dtype=st.sampled_from([">i2", "<u8", "f2", ">f8", "i1", "?"]),
    style=st.sampled_from(["tags", "labels", "stated"]),
)
def test_axes_in_every_order(tmp_path, axes, rank, dtype, style):
    kept = [axis for axis in axes if axis in "YX"] + [axis for axis in axes if axis not in "YX"]
    letters_ = "".join(axis for axis in axes if axis in kept[:rank])
    sizes = dict(zip("TCZYX", (2, 3, 4, 5, 6), strict=True))
    values = numbered([sizes[axis] for axis in letters_], dtype)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        made = file.create_dataset("image", data=values, chunks=(2,) * rank)
        if style == "tags":
            keys = [{"key": axis.lower(), "typeFlags": 2} for axis in letters_]
            made.attrs["axistags"] = json.dumps({"axes": keys})
        elif style == "labels":
            for dimension, axis in zip(made.dims, letters_, strict=True):
                dimension.label = axis.lower()
    order = [letters_.index(axis) for axis in "TCZYX" if axis in letters_]
    expected = values.transpose(order)
    with open_image(path, axes=letters_ if style == "stated" else None) as image:
        assert image.metadata.axes == "".join(axis for axis in "TCZYX" if axis in letters_)
        found = image.read(whole(image.shape5))
        assert len(image.warnings) == (dtype == "?")
    assert found.dtype.isnative
    np.testing.assert_array_equal(found.reshape(expected.shape), expected)


def test_each_dataset_is_an_image(tmp_path):
    path = write_h5(
        tmp_path / "a.h5", plane=numbered((4, 5)), deep__other=numbered((6, 7)), line=np.arange(9)
    )
    assert [entry.series for entry in list_images(path)] == ["deep/other", "plane"]
    with open_image(path, "/deep/other") as image:
        assert image.metadata.shape == (6, 7)
    with pytest.raises(InputError, match="several images"):
        open_image(path)
    with pytest.raises(InputError, match="no such image"):
        open_image(path, "line")


def test_axes_that_are_not_stated_are_not_guessed(tmp_path):
    path = write_h5(tmp_path / "a.h5", image=numbered((3, 4, 5)))
    with pytest.raises(InputError, match="axes=ZYX"):
        open_image(path)
    with pytest.raises(InputError, match="not supported"):
        open_image(path, axes="ZYXT")
    with pytest.raises(InputError, match="not supported"):
        open_image(path, axes="QYX")


def test_sizes_of_voxels(tmp_path):
    path = write_h5(tmp_path / "a.h5", image=numbered((3, 4, 5)))
    with h5py.File(path, "r+") as file:
        file["image"].attrs["element_size_um"] = (2, 0.5, 0.25)
    with open_image(path, axes="ZYX") as image:
        found = image.metadata
    assert (found.z_um, found.y_um, found.x_um) == (2, 0.5, 0.25)


def test_complex_numbers_are_refused(tmp_path):
    path = write_h5(tmp_path / "a.h5", image=np.zeros((4, 5), "complex64"))
    with pytest.raises(InputError, match="data type"):
        open_image(path)


def test_chunks_that_are_not_stored_are_told(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        made = file.create_dataset("image", (8, 8), "u2", chunks=(4, 4), fillvalue=7)
        made[:4, :4] = 1
    with open_image(path) as image:
        assert "3 chunks are not stored, read as 7" in image.warnings[0]
        found = image.read(whole(image.shape5))
    assert found.sum() == 16 + 48 * 7


def test_a_dataset_in_other_files_is_refused(tmp_path):
    write_h5(tmp_path / "b.h5", image=numbered((4, 5)))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        layout = h5py.VirtualLayout((4, 5), "u2")
        layout[:] = h5py.VirtualSource(str(tmp_path / "b.h5"), "image", (4, 5))
        file.create_virtual_dataset("image", layout)
    with pytest.raises(InputError, match="other files"):
        open_image(tmp_path / "a.h5")


def test_a_filter_that_is_not_installed_is_named(tmp_path, monkeypatch):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("image", data=numbered((8, 8)), chunks=(4, 4), compression="lzf")
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: False)
    with pytest.raises(InputError, match=r"lzf.*pip install hdf5plugin"):
        open_image(path)


def test_a_file_without_images_is_refused(tmp_path):
    with pytest.raises(InputError, match="no image"):
        open_image(write_h5(tmp_path / "a.h5", line=np.arange(5)))


XML = """<SpimData><SequenceDescription><ViewSetups>
<ViewSetup><id>0</id><name>left</name><voxelSize><unit>um</unit><size>0.5 0.5 2</size></voxelSize>
</ViewSetup><ViewSetup><id>1</id><voxelSize><unit>lumen</unit><size>1 1 1</size></voxelSize>
</ViewSetup></ViewSetups></SequenceDescription></SpimData>"""


def write_bdv(path, pixels, xml=XML, link=None):
    """Write `pixels` (T, setups, Z, Y, X), in `link` if that is a file; uint16 as int16."""
    with h5py.File(path, "w") as file:
        for setup in range(pixels.shape[1]):
            file[f"s{setup:02}/resolutions"] = np.ones((1, 3))
        for t, setup in np.ndindex(*pixels.shape[:2]):
            name = f"t{t:05}/s{setup:02}/0/cells"
            if link is None:
                file[name] = pixels[t, setup].view("i2")
                continue
            with h5py.File(link, "a") as other:
                other[name] = pixels[t, setup].view("i2")
            file[f"t{t:05}/s{setup:02}"] = h5py.ExternalLink(link.name, f"t{t:05}/s{setup:02}")
    if xml:
        path.with_suffix(".xml").write_text(xml)
    return path


def test_setups_of_bigdataviewer(tmp_path):
    pixels = numbered((3, 2, 4, 5, 6)) * np.uint16(90)
    path = write_bdv(tmp_path / "a.h5", pixels)
    first, second = list_images(path)
    assert (first.series, second.series) == ("s00", "s01")
    assert (first.metadata.name, second.metadata.name) == ("left", "s01")
    assert (first.metadata.z_um, second.metadata.z_um) == (2, None)
    with open_image(path, "s01") as image:
        assert image.metadata.axes == "TZYX"
        assert image.dtype == np.uint16
        np.testing.assert_array_equal(image.read(whole(image.shape5))[:, 0], pixels[:, 1])
        assert "registration" in image.warnings[-1]
        assert image.original_metadata["BigDataViewer.xml"] == XML.encode()
    assert other_files(path) == [tmp_path / "a.xml"]


def test_parts_of_bigdataviewer(tmp_path):
    pixels = numbered((2, 1, 4, 5, 6))
    part = tmp_path / "a-00.h5"
    path = write_bdv(tmp_path / "a.h5", pixels, xml=None, link=part)
    assert other_files(path) == [part]
    with open_image(path) as image:
        assert "no a.xml" in image.warnings[0]
        np.testing.assert_array_equal(image.read(whole(image.shape5)), pixels)
    part.unlink()
    with pytest.raises(InputError, match="time point is missing"):
        open_image(path)


def test_time_points_of_bigdataviewer_must_fit(tmp_path):
    path = write_bdv(tmp_path / "a.h5", numbered((2, 1, 4, 5, 6)))
    with h5py.File(path, "r+") as file:
        del file["t00001/s00/0/cells"]
        file["t00001/s00/0/cells"] = np.zeros((4, 5, 7), "i2")
    with pytest.raises(InputError, match="do not fit together"):
        open_image(path)
