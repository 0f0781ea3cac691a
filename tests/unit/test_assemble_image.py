"""Image and label image in one OME-Zarr: valid, readable, and sharing their chunks."""

import errno
import fcntl
import json
import os

import numpy as np
import ome_zarr.io
import ome_zarr.reader
import pytest
import zarr

from ngff_models import open_ome_zarr
from parfocal.core.digest import digest_path
from parfocal.core.step import Context
from parfocal.errors import InputError
from parfocal.images import ZarrOptions, open_image, write_ome_zarr
from parfocal.models.image import ImageMetadata
from parfocal.steps import filter_image, segment_objects
from parfocal.steps.assemble_image import STEP, AssembleImageParams


class Array:
    """A Readable of an array TCZYX."""

    def __init__(self, pixels):
        self.pixels = pixels
        self.shape5 = pixels.shape
        self.dtype = pixels.dtype

    def read(self, region):
        return self.pixels[region]


def write(path, axes, dtype, ngff="0.5", size=40, labels=False, chunk_px=16, **options):
    shape = {"T": 1, "C": 2, "Z": 2, "Y": size, "X": size}
    kept = tuple(shape[axis] for axis in axes)
    shape5 = tuple(shape[axis] if axis in axes else 1 for axis in "TCZYX")
    pixels = (np.arange(np.prod(shape5)) % 251).astype(dtype).reshape(shape5)
    metadata = ImageMetadata(name="a", axes=axes, shape=kept, dtype=dtype, y_um=0.5, x_um=0.5)
    options = ZarrOptions(ngff=ngff, chunk_px=chunk_px, **options)
    attributes = {"parfocal": {"source": {"digest": "x", "path": "y"}}} if labels else None
    write_ome_zarr(path, metadata, Array(pixels), options, labels=labels, attributes=attributes)
    return path


def test_levels_halved_along_z_fit_each_other(tmp_path):
    image = write(tmp_path / "image.ome.zarr", "CZYX", "uint16", halve_z=True)
    labels = write(tmp_path / "labels.ome.zarr", "ZYX", "uint32", labels=True, halve_z=True)
    run(image, labels, tmp_path / "assembled.ome.zarr")
    with open_image(tmp_path / "assembled.ome.zarr") as assembled:
        assert [level.shape5[2] for level in assembled.pyramid] == [2, 1, 1]


@pytest.mark.parametrize(
    "written",
    [
        {"size": 40},
        {"size": 40, "ngff": "0.4"},
        {"size": 40, "halve_z": True},
        {"size": 500, "chunk_px": 48},
        {"size": 600},
        {"size": 600, "chunk_px": 1024},
        {"size": 600, "chunk_px": 512},
    ],
    ids=str,
)
def test_what_is_found_in_an_image_fits_it_however_it_was_written(tmp_path, written):
    image = write(tmp_path / "image.ome.zarr", "CZYX", "uint16", **written)
    filtered, labels = tmp_path / "filtered.ome.zarr", tmp_path / "labels.ome.zarr"
    context = Context(scratch=tmp_path)
    done = filter_image.STEP, segment_objects.STEP
    done[0].run({"image": image}, {"filtered": filtered}, done[0].params(), context)
    done[1].run({"image": filtered}, {"labels": labels}, done[1].params(), context)
    for base in (image, filtered):
        assembled = tmp_path / f"with-{base.name}"
        run(base, labels, assembled)
        with open_image(base) as one, open_image(assembled / "labels/nuclei") as other:
            assert [i.shape5[2:] for i in one.pyramid] == [i.shape5[2:] for i in other.pyramid]


@pytest.fixture(params=["0.5", "0.4"])
def pair(request, tmp_path):
    image = write(tmp_path / "image.ome.zarr", "CZYX", "uint16", request.param)
    labels = write(tmp_path / "nuclei.ome.zarr", "ZYX", "uint32", request.param, labels=True)
    return image, labels


def run(image, labels, target, label_name="nuclei"):
    context = Context(scratch=target.parent)
    inputs = {"image": image, "labels": labels}
    STEP.run(inputs, {"assembled": target}, AssembleImageParams(label_name=label_name), context)
    return context


def label_names(opened):
    attributes = opened.labels.attributes
    return getattr(attributes, "ome", attributes).labels


def levels(path):
    group = zarr.open_group(path, mode="r")
    return [group[name][:] for name in sorted(name for name in group if name.isdecimal())]


def test_it_is_valid_and_holds_both(pair, tmp_path):
    image, labels = pair
    before = digest_path(image), digest_path(labels)
    target = tmp_path / "assembled.ome.zarr"
    context = run(image, labels, target)
    opened = open_ome_zarr(zarr.open_group(target, mode="r"))
    assert label_names(opened) == ["nuclei"]
    for path, source in ((target, image), (target / "labels" / "nuclei", labels)):
        assert len(levels(path)) > 1
        for found, expected in zip(levels(path), levels(source), strict=True):
            np.testing.assert_array_equal(found, expected)
    assert (digest_path(image), digest_path(labels)) == before
    assert context.warnings == []
    assert context.details["linked"] > 0
    assert context.details["copied"] == context.details["cloned"] == 0


def test_the_ome_zarr_reader_finds_the_labels(pair, tmp_path):
    target = tmp_path / "assembled.ome.zarr"
    run(*pair, target)
    nodes = list(ome_zarr.reader.Reader(ome_zarr.io.parse_url(target))())
    names = [str(node.zarr.path).rstrip("/").rsplit("/", 1)[-1] for node in nodes]
    assert names == ["assembled.ome.zarr", "labels", "nuclei"]
    assert any(isinstance(spec, ome_zarr.reader.Label) for spec in nodes[2].specs)


def test_the_label_image_names_its_image_and_keeps_the_rest(pair, tmp_path):
    target = tmp_path / "assembled.ome.zarr"
    run(*pair, target)
    attributes = dict(zarr.open_group(target / "labels" / "nuclei", mode="r").attrs)
    ngff = attributes.get("ome", attributes)
    assert ngff["image-label"]["source"] == {"image": "../../"}
    assert attributes["parfocal"]["source"] == {"digest": "x", "path": "y"}


def test_chunks_are_hard_links_and_nothing_is_a_symbolic_link(pair, tmp_path):
    image, labels = pair
    target = tmp_path / "assembled.ome.zarr"
    (image / ".snakemake_timestamp").write_text("stray")
    run(image, labels, target)
    chunk = next(path for path in sorted((image / "0").rglob("*")) if path.is_file())
    twin = target / chunk.relative_to(image)
    assert twin.samefile(chunk)
    files = [path for path in target.rglob("*") if path.is_file()]
    assert not any(path.is_symlink() for path in files)
    assert not (target / ".snakemake_timestamp").exists()
    for path in files:
        if path.name in (".zattrs", ".zgroup") or path.parent in (target, target / "labels"):
            assert path.stat().st_nlink == 1


def test_equal_inputs_give_equal_bytes(pair, tmp_path):
    run(*pair, tmp_path / "one.ome.zarr")
    run(*pair, tmp_path / "two.ome.zarr")
    assert digest_path(tmp_path / "one.ome.zarr") == digest_path(tmp_path / "two.ome.zarr")


def test_a_second_label_image_joins_the_first(pair, tmp_path):
    image, labels = pair
    run(image, labels, tmp_path / "one.ome.zarr")
    run(tmp_path / "one.ome.zarr", labels, tmp_path / "two.ome.zarr", "cells")
    opened = open_ome_zarr(zarr.open_group(tmp_path / "two.ome.zarr", mode="r"))
    assert label_names(opened) == ["nuclei", "cells"]
    with pytest.raises(InputError, match="already"):
        run(tmp_path / "one.ome.zarr", labels, tmp_path / "three.ome.zarr")


def test_outdated_consolidated_metadata_is_left_out(pair, tmp_path):
    image, labels = pair
    document = image / "zarr.json"
    if document.exists():
        content = json.loads(document.read_text())
        document.write_text(json.dumps(content | {"consolidated_metadata": {"metadata": {}}}))
    else:
        (image / ".zmetadata").write_text(json.dumps({"metadata": {}}))
    target = tmp_path / "assembled.ome.zarr"
    run(image, labels, target)
    assert not (target / ".zmetadata").exists()
    assert "labels" in zarr.open_group(target, mode="r")
    for path in target.rglob("zarr.json"):
        assert "consolidated_metadata" not in path.read_text()


def test_where_links_cannot_be_it_copies_and_tells(pair, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(fcntl, "ioctl", refuse)
    image, labels = pair
    target = tmp_path / "assembled.ome.zarr"
    context = run(image, labels, target)
    assert context.details["linked"] == 0
    assert context.details["copied"] > 0
    assert "copied" in context.warnings[0]
    for found, expected in zip(levels(target), levels(image), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_other_faults_of_the_disk_are_not_hidden(pair, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(OSError, match="No space"):
        run(*pair, tmp_path / "assembled.ome.zarr")


@pytest.mark.parametrize(
    ("expected", "axes", "options"),
    [
        ("versions", "ZYX", {"ngff": "0.4"}),
        ("sizes", "ZYX", {"size": 41}),
        ("sizes", "YX", {}),
        ("sizes", "CZYX", {}),
        ("sizes of levels", "ZYX", {"halve_z": True}),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, expected, axes, options):
    image = write(tmp_path / "image.ome.zarr", "CZYX", "uint16")
    labels = write(tmp_path / "labels.ome.zarr", axes, "uint32", labels=True, **options)
    with pytest.raises(InputError, match=expected) as caught:
        run(image, labels, tmp_path / "assembled.ome.zarr")
    assert caught.value.expected != caught.value.found
    assert not (tmp_path / "assembled.ome.zarr").exists()


def test_what_is_no_image_is_refused(tmp_path):
    image = write(tmp_path / "image.ome.zarr", "YX", "uint16")
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        run(image, tmp_path / "none", tmp_path / "assembled.ome.zarr")
    (tmp_path / "none" / "zarr.json").write_text("[]")
    with pytest.raises(InputError, match="not valid"):
        run(image, tmp_path / "none", tmp_path / "assembled.ome.zarr")
    (tmp_path / "none" / "zarr.json").write_text("{}")
    with pytest.raises(InputError, match="not an OME-Zarr image"):
        run(image, tmp_path / "none", tmp_path / "assembled.ome.zarr")
