"""Writing that was interrupted and goes on: the same bytes, and whole shards are kept."""

import json
import os
import random

import numpy as np
import pytest

from memory_images import MemoryImage
from parfocal.errors import InputError
from parfocal.images import ZarrOptions, write_ome_zarr
from parfocal.images.writers.layout import plan_levels
from parfocal.images.writers.shards import LevelWriter, ShardFile, is_whole_shard
from parfocal.models.image import ImageMetadata

PIXELS = np.random.default_rng(5).integers(0, 500, (1, 2, 3, 150, 170)).astype(np.uint16)
METADATA = ImageMetadata(name="a", axes="CZYX", shape=PIXELS.shape[1:], dtype="uint16")
VARIANTS = {
    "sharded": ZarrOptions(chunk_px=16, shard_mib=1),
    "single": ZarrOptions(chunk_px=64, shard_mib=0),
    "0.4": ZarrOptions(chunk_px=32, shard_mib=1, ngff="0.4"),
    "halved along Z": ZarrOptions(chunk_px=16, shard_mib=1, halve_z=True),
}


class Failing(MemoryImage):
    """An image that breaks off after some reads."""

    def __init__(self, pixels, reads):
        super().__init__(pixels)
        self.left = reads

    def read(self, region):
        self.left -= 1
        if self.left < 0:
            raise InputError("interrupted")
        return super().read(region)


def tree(path):
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


@pytest.fixture(params=VARIANTS)
def options(request):
    return VARIANTS[request.param]


@pytest.fixture
def whole_tree(tmp_path, options):
    write_ome_zarr(tmp_path / "whole", METADATA, MemoryImage(PIXELS), options)
    return tree(tmp_path / "whole")


@pytest.mark.parametrize("threads", [1, 3])
def test_after_any_number_of_reads_the_result_is_the_same(tmp_path, options, whole_tree, threads):
    counting = Failing(PIXELS, 1000)
    write_ome_zarr(tmp_path / "counted", METADATA, counting, options)
    kept = []
    for tenths in (0, 4, 9):
        path = tmp_path / str(tenths)
        reads = (1000 - counting.left) * tenths // 10
        with pytest.raises(InputError, match="interrupted"):
            write_ome_zarr(path, METADATA, Failing(PIXELS, reads), options, threads=threads)
        assert not (path / "zarr.json").exists()
        source = MemoryImage(PIXELS)
        kept.append(
            write_ome_zarr(path, METADATA, source, options, threads=threads, resume=True).kept
        )
        assert tree(path) == whole_tree
    assert kept[0] == 0
    assert kept == sorted(kept)
    assert kept[-1] > 0 or options.shard_mib == 0  # a block of 32 MiB holds all of it


def test_a_finished_one_is_not_read_again(tmp_path, options, whole_tree):
    path = tmp_path / "whole"
    files = sum("json" not in name and not name.startswith(".z") for name in whole_tree)
    files -= sum("/.z" in name for name in whole_tree)
    written = write_ome_zarr(path, METADATA, Failing(PIXELS, 0), options, resume=True)
    assert written.kept == files
    assert tree(path) == whole_tree


def chunk_files(path):
    return [p for p in path.rglob("*") if p.is_file() and p.name.isdecimal()]


def test_what_is_torn_or_strange_is_made_anew(tmp_path, options, whole_tree):
    path = tmp_path / "whole"
    chooser = random.Random(1)
    chosen = chooser.sample(chunk_files(path), 3)
    for number, file in enumerate(chosen):
        os.truncate(file, [0, 0, 0][number])
    (chosen[0].parent / ".0.abcdef.tmp").write_bytes(b"half a shard")
    (path / "0" / "zarr.json.__lock").write_bytes(b"{")
    write_ome_zarr(path, METADATA, MemoryImage(PIXELS), options, resume=True)
    assert tree(path) == whole_tree


def test_chunks_of_another_array_are_not_kept(tmp_path, options, whole_tree):
    path = tmp_path / "other"
    other = PIXELS + np.uint16(1)
    write_ome_zarr(path, METADATA, MemoryImage(other), options.model_copy(update={"level": 7}))
    assert write_ome_zarr(path, METADATA, MemoryImage(PIXELS), options, resume=True).kept == 0
    assert tree(path) == whole_tree


def test_without_being_asked_nothing_is_kept(tmp_path, options, whole_tree):
    with pytest.raises(InputError, match="cannot be written"):
        write_ome_zarr(tmp_path / "whole", METADATA, MemoryImage(PIXELS), options)


@pytest.fixture
def shard(tmp_path):
    layout = plan_levels((1, 1, 2, 64, 64), 2, VARIANTS["sharded"], rgb=False)[0]
    file = ShardFile(tmp_path / "s", layout, "t")
    places = [(0, 0, z, y, x) for z in range(2) for y in range(4) for x in range(4)]
    file.write([(place, bytes([n + 1]) * (n + 5)) for n, place in enumerate(places)])
    file.finish()
    return tmp_path / "s", layout


def test_a_whole_shard_is_known_by_its_index(shard):
    path, layout = shard
    assert is_whole_shard(path, layout)
    content = path.read_bytes()
    tail = 32 * 16 + 4
    for damaged in (
        content[:-1],
        content[1:],
        b"",
        content[:-tail] + b"\0" * tail,
        content[:-tail] + bytes([content[-tail] ^ 1]) + content[-tail + 1 :],
    ):
        path.write_bytes(damaged)
        assert not is_whole_shard(path, layout)
    path.unlink()
    assert not is_whole_shard(path, layout)


def test_a_writer_whose_folder_was_taken_over_cannot_touch_it(tmp_path):
    options = VARIANTS["sharded"]
    layout = plan_levels((1, 1, 1, 64, 64), 2, options, rgb=False)[0]
    region = tuple(slice(0, size) for size in layout.shape)

    def start(path, data):
        writer = LevelWriter(path, layout, "YX", lambda _: data, version="0.5", sharded=True)
        output = writer.open(region)
        output.write(writer.encode(region, np.zeros(layout.shape, np.uint16)).chunks)
        return output

    zombie = start(tmp_path / "old/0", b"old")
    (tmp_path / "old").rename(tmp_path / "new")
    mine = start(tmp_path / "new/0", b"new")
    zombie.write([((0, 0, 0, 0, 0), b"more of the old")])
    with pytest.raises(FileNotFoundError):
        zombie.finish()
    mine.finish()
    content = (tmp_path / "new/0/c/0/0").read_bytes()
    assert content.startswith(b"new" * 16)
    assert b"old" not in content


def test_all_documents_are_valid_json(tmp_path, options, whole_tree):
    documents = [name for name in whole_tree if name.endswith(("json", ".zarray", ".zattrs"))]
    assert documents
    for name in documents:
        json.loads(whole_tree[name])
