"""All images of a source in one OME-Zarr: the layout of bioformats2raw."""

import json

import numpy as np
import ome_types
import ome_zarr.io
import ome_zarr.reader
import pytest
import zarr
from yaozarrs import validate_zarr_store

from memory_images import MemoryImage
from ngff_models import open_ome_zarr
from parfocal.core.digest import digest_path
from parfocal.images import Image, ImageEntry, ZarrOptions, list_images, open_image
from parfocal.images.writers.collection import write_collection
from parfocal.models.image import Channel, ImageMetadata

SHAPES = {"0": (1, 1, 1, 20, 30), "7": (2, 3, 1, 33, 17), "a": (1, 1, 4, 5, 6)}


def opened(name):
    shape = SHAPES[name]
    pixels = (np.arange(np.prod(shape)) % 251).astype(np.uint16).reshape(shape)
    axes = "".join(axis for axis, size in zip("TCZYX", shape, strict=True) if size > 1)
    metadata = ImageMetadata(
        name=f"image {name}",
        axes=axes,
        shape=tuple(size for size in shape if size > 1),
        dtype="uint16",
        x_um=0.5,
        y_um=0.5,
        channels=tuple(Channel(name=f"c{n}") for n in range(shape[1])),
    )
    return Image(metadata, (MemoryImage(pixels),), shape, "tests 1")


def write(path, ngff="0.5", texts=None, threads=1, progress=None):
    entries = [ImageEntry(name, opened(name).metadata) for name in SHAPES]
    options = ZarrOptions(ngff=ngff, chunk_px=16)
    return write_collection(
        path,
        entries,
        opened,
        options,
        original_metadata=texts,
        threads=threads,
        progress=progress,
    )


@pytest.mark.parametrize("ngff", ["0.5", "0.4"])
def test_a_collection_is_valid_and_all_its_images_are_read(tmp_path, ngff):
    path = tmp_path / "all.ome.zarr"
    written = write(path, ngff)
    # ome-zarr-models 1.6 knows collections of 0.4 only.
    for group in [path] * (ngff == "0.4") + [path / str(n) for n in range(len(SHAPES))]:
        open_ome_zarr(zarr.open_group(group, mode="r"))
    validate_zarr_store(str(path))
    entries = list_images(path)
    assert [entry.series for entry in entries] == ["0", "1", "2"]
    assert [entry.metadata for entry in entries] == written
    for number, name in enumerate(SHAPES):
        with open_image(path, str(number)) as image, opened(name) as expected:
            region = tuple(slice(0, size) for size in SHAPES[name])
            np.testing.assert_array_equal(image.read(region), expected.read(region))
        url = ome_zarr.io.parse_url(path / str(number))
        (node,) = [node for node in ome_zarr.reader.Reader(url)() if node.data]
        assert node.data[0].shape == entries[number].metadata.shape


def test_its_ome_xml_describes_all_images(tmp_path):
    write(tmp_path / "all.ome.zarr")
    text = (tmp_path / "all.ome.zarr/OME/METADATA.ome.xml").read_text(encoding="utf-8")
    ome = ome_types.from_xml(text)
    assert [image.name for image in ome.images] == ["image 0", "image 7", "image a"]
    assert [(i.pixels.size_t, i.pixels.size_c, i.pixels.size_z) for i in ome.images] == [
        (1, 1, 1),
        (2, 3, 1),
        (1, 1, 4),
    ]


def test_the_sources_own_ome_xml_is_kept(tmp_path):
    texts = {"METADATA.ome.xml": b"<OME/>", "czi.xml": b"<x/>"}
    write(tmp_path / "all.ome.zarr", texts=texts)
    folder = tmp_path / "all.ome.zarr/OME"
    assert (folder / "METADATA.ome.xml").read_bytes() == b"<OME/>"
    assert (folder / "czi.xml").read_bytes() == b"<x/>"
    document = json.loads((folder / "zarr.json").read_text())
    assert document["attributes"]["ome"]["series"] == ["0", "1", "2"]


def test_threads_do_not_change_bytes_and_progress_ends_at_the_total(tmp_path):
    told = []
    write(tmp_path / "one.ome.zarr")
    write(
        tmp_path / "two.ome.zarr",
        threads=2,
        progress=lambda done, total: told.append((done, total)),
    )
    assert digest_path(tmp_path / "one.ome.zarr") == digest_path(tmp_path / "two.ome.zarr")
    total = sum(int(np.prod(shape)) for shape in SHAPES.values())
    assert told[-1] == (total, total)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
