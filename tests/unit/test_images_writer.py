"""OME-Zarr written, and read again by ourselves and by others."""

from __future__ import annotations

import numpy as np
import ome_zarr_models.v05
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parfocal.core.blocks import iter_blocks, whole
from parfocal.errors import InputError, StorageError
from parfocal.images import ZarrOptions, open_image, write_ome_zarr
from parfocal.images.pyramid import halve, halve_labels
from parfocal.images.writers import chain
from parfocal.images.writers.layout import plan_levels
from written_images import (
    RNG,
    Memory,
    Thicker,
    assert_pyramid,
    attributes_of,
    describe,
    noise,
    tree,
)


@pytest.mark.parametrize("ngff", ["0.5", "0.4"])
@pytest.mark.parametrize("codec", ["blosc-zstd", "zstd", "lz4", "gzip", "none"])
def test_pixels_and_levels_come_back(tmp_path, ngff, codec):
    source = Memory(noise(2, 2, 3, 131, 77))
    options = ZarrOptions(ngff=ngff, codec=codec, chunk_px=32)
    write_ome_zarr(tmp_path / "a.ome.zarr", describe(source.pixels), source, options)
    assert assert_pyramid(tmp_path / "a.ome.zarr", source.pixels) == 4
    assert (source.reads == 1).all()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(
    size=st.tuples(*[st.integers(1, 3)] * 3, *[st.integers(1, 150)] * 2),
    chunk=st.sampled_from([16, 32]),
    threads=st.integers(1, 3),
    shard=st.integers(0, 1),
)
def test_any_size_gives_an_exact_pyramid(tmp_path_factory, size, chunk, threads, shard):
    path = tmp_path_factory.mktemp("any") / "a.ome.zarr"
    source = Memory(noise(*size))
    options = ZarrOptions(chunk_px=chunk, shard_mib=shard)
    write_ome_zarr(path, describe(source.pixels), source, options, threads=threads)
    assert_pyramid(path, source.pixels)
    assert (source.reads == 1).all()


@given(
    shape=st.tuples(*[st.integers(1, 40)] * 3, *[st.integers(1, 9000)] * 2),
    itemsize=st.sampled_from([1, 2, 4, 8]),
    rgb=st.booleans(),
)
def test_shards_hold_whole_chunks_and_stay_small(shape, itemsize, rgb):
    options = ZarrOptions()
    levels = plan_levels(shape, itemsize, options, rgb=rgb)
    for level in levels:
        for shard, chunk, size in zip(level.shard, level.chunk, level.shape, strict=True):
            assert shard % chunk == 0
            assert chunk <= size
        flat = level.shard[3] * level.shard[4] * itemsize
        assert np.prod(level.shard) * itemsize <= max(32 * 2**20, flat * (shape[1] if rgb else 1))
    assert max(levels[-1].shape[3:]) <= 512
    assert all(max(level.shape[3:]) > 512 for level in levels[:-1])


@pytest.mark.parametrize("ngff", ["0.5", "0.4"])
@pytest.mark.parametrize("codec", ["blosc-zstd", "zstd", "gzip"])
def test_bytes_do_not_depend_on_threads_or_on_the_run(tmp_path, ngff, codec):
    source = Memory(noise(2, 2, 4, 260, 300))
    options = ZarrOptions(ngff=ngff, codec=codec, chunk_px=64, shard_mib=1)
    trees = []
    for number, threads in enumerate((1, 2, 4, 2)):
        path = tmp_path / str(number) / "a.ome.zarr"
        write_ome_zarr(path, describe(source.pixels), source, options, threads=threads)
        trees.append(tree(path))
    assert len(trees[0]) > 10
    assert all(other == trees[0] for other in trees[1:])


@pytest.mark.parametrize(("halve_z", "planes", "most"), [(False, 5, 5), (True, 6, 4), (True, 1, 4)])
@pytest.mark.parametrize("threads", [1, 3])
def test_bytes_do_not_depend_on_how_many_planes_are_read_at_once(
    tmp_path, halve_z, planes, most, threads
):
    pixels = noise(1, 2, 13, 130, 150)
    options = ZarrOptions(chunk_px=64, halve_z=halve_z)
    write_ome_zarr(tmp_path / "a", describe(pixels), Memory(pixels), options)
    thick = Thicker(pixels, planes)
    write_ome_zarr(tmp_path / "b", describe(pixels), thick, options, threads=threads)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert max(thick.asked) == most


def test_parts_that_are_read_at_once_are_not_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(chain, "LARGEST_PART_BYTES", 3 * 130 * 150 * 2)
    thick = Thicker(noise(1, 1, 8, 130, 150), 8)
    write_ome_zarr(tmp_path / "a", describe(thick.pixels), thick)
    assert thick.asked == {3, 2}


def test_labels(tmp_path):
    pixels = noise(1, 1, 2, 40, 50, dtype="uint32")
    attributes = {"parfocal": {"source": {"digest": "sha256:0", "path": "image.ome.zarr"}}}
    write_ome_zarr(
        tmp_path / "a",
        describe(pixels, axes="ZYX"),
        Memory(pixels),
        ZarrOptions(chunk_px=16),
        labels=True,
        attributes=attributes,
    )
    assert assert_pyramid(tmp_path / "a", pixels, halve_labels) == 3
    found = attributes_of(tmp_path / "a")
    assert found["parfocal"] == attributes["parfocal"]
    assert "image-label" in found["ome"]
    assert "omero" not in found["ome"]
    ome_zarr_models.v05.ImageLabel.from_zarr(zarr.open_group(tmp_path / "a", mode="r"))


DTYPES = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
DTYPES += ["float16", "float32", "float64"]


@settings(max_examples=30)
@given(data=st.data())
def test_data_types_axes_and_chunks_are_kept(tmp_path_factory, data):
    """Read by zarr-python, which had no part in the writing."""
    dtype = np.dtype(data.draw(st.sampled_from(DTYPES)))
    axes = data.draw(st.sampled_from(["YX", "ZYX", "CYX", "TYX", "CZYX", "TZYX", "TCZYX"]))
    shape = [data.draw(st.integers(1, 4)) if a in axes else 1 for a in "TCZ"]
    shape += [data.draw(st.integers(1, 70)) for _ in "YX"]
    options = ZarrOptions(
        ngff=data.draw(st.sampled_from(["0.5", "0.4"])),
        codec=data.draw(st.sampled_from(["blosc-zstd", "zstd", "lz4", "gzip", "none"])),
        chunk_px=data.draw(st.sampled_from([16, 24, 64])),
        shard_mib=data.draw(st.sampled_from([0, 1])),
        halve_z=data.draw(st.booleans()),
    )
    pixels = RNG.integers(0, 256, (*shape[:4], shape[4] * dtype.itemsize), dtype=np.uint8)
    pixels = pixels.view(dtype)  # all bits, infinity and NaN too
    path = tmp_path_factory.mktemp("any") / "a.ome.zarr"
    threads = data.draw(st.integers(1, 2))
    write_ome_zarr(path, describe(pixels, axes=axes), Memory(pixels), options, threads=threads)
    group = zarr.open_group(path, mode="r")
    expected = pixels
    for number in range(len(group)):
        found = group[str(number)][...].reshape(expected.shape)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, expected)
        expected = halve(expected, along_z=options.halve_z)
    assert max(found.shape[3:]) <= options.chunk_px


def test_zeros_are_stored_so_that_a_lost_file_is_noticed(tmp_path):
    pixels = np.zeros((1, 1, 1, 64, 64), np.uint8)
    options = ZarrOptions(ngff="0.4", chunk_px=32)
    write_ome_zarr(tmp_path / "a", describe(pixels, axes="YX"), Memory(pixels), options)
    assert (tmp_path / "a/0/1/1").is_file()


def test_blocks_that_the_reader_asks_for_are_those_of_the_file(tmp_path):
    pixels = noise(1, 1, 3, 100, 100)
    write_ome_zarr(tmp_path / "a", describe(pixels, axes="ZYX"), Memory(pixels))
    with open_image(tmp_path / "a") as image:
        assert image.block5 == (1, 1, 1, 100, 100)
        for region in iter_blocks(whole(image.shape5), image.block5):
            np.testing.assert_array_equal(image.read(region), pixels[region])


def test_pixels_that_cannot_be_stored_are_refused(tmp_path):
    pixels = np.zeros((1, 1, 1, 4, 4), np.complex64)
    with pytest.raises(InputError, match="data type"):
        write_ome_zarr(tmp_path / "a", describe(pixels, axes="YX"), Memory(pixels))


def test_metadata_of_other_pixels_are_a_bug(tmp_path):
    pixels = noise(1, 1, 1, 4, 4)
    with pytest.raises(ValueError, match="not those of the pixels"):
        write_ome_zarr(tmp_path / "a", describe(pixels[..., :3], axes="YX"), Memory(pixels))


def test_a_place_that_cannot_be_written_is_an_error_of_storage(tmp_path):
    (tmp_path / "file").write_text("in the way")
    pixels = noise(1, 1, 1, 4, 4)
    with pytest.raises(StorageError):
        write_ome_zarr(tmp_path / "file" / "a", describe(pixels, axes="YX"), Memory(pixels))


def test_an_error_of_the_source_ends_the_writing_in_threads_too(tmp_path):
    class Broken(Memory):
        def read(self, region):
            if region[4].start >= 16:
                raise InputError("broken")
            return super().read(region)

    source = Broken(noise(1, 1, 8, 100, 300))
    options = ZarrOptions(chunk_px=16, shard_mib=0)
    metadata = describe(source.pixels, axes="ZYX")
    for threads in (1, 2):
        path = tmp_path / str(threads)
        with pytest.raises(InputError, match="broken"):
            write_ome_zarr(path, metadata, source, options, threads=threads)
        assert not (path / "zarr.json").exists()


def test_progress_ends_at_the_total(tmp_path):
    calls = []
    source = Memory(noise(1, 1, 2, 70, 90))
    write_ome_zarr(
        tmp_path / "a",
        describe(source.pixels, axes="ZYX"),
        source,
        ZarrOptions(chunk_px=16),
        progress=lambda done, total: calls.append((done, total)),
    )
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert calls[-1][0] == calls[-1][1] > source.pixels.size


def test_a_damaged_chunk_is_an_error(tmp_path):
    pixels = noise(1, 1, 1, 64, 64)
    write_ome_zarr(tmp_path / "a", describe(pixels, axes="YX"), Memory(pixels))
    (chunk,) = (p for p in (tmp_path / "a/0").rglob("*") if p.is_file() and p.name != "zarr.json")
    content = bytearray(chunk.read_bytes())
    content[0:60] = b"\xff" * 60
    chunk.write_bytes(content)
    with open_image(tmp_path / "a") as image, pytest.raises(InputError, match="chunk"):
        image.read(whole(image.shape5))
