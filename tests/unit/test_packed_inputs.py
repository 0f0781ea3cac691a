"""Steps take an OME-Zarr in a zip file, or in a folder around it, as if it lay there bare."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

from galaxy_samples import zipped
from memory_images import save
from parfocal.core.digest import digest_path
from parfocal.core.publish import write_json
from parfocal.core.step import Port
from parfocal.engine import run_step
from parfocal.engine.packed_inputs import inner_zarr
from parfocal.errors import InputError
from parfocal.models.manifest import Manifest, ManifestFile
from parfocal.steps import load_step
from unit.toy_runs import names

FILTER, CONVERT = load_step("filter-image"), load_step("convert-image")


@pytest.fixture
def image(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 999, (20, 30)).astype(np.uint16)
    return save(tmp_path / "cells.ome.zarr", pixels, "YX")


@pytest.fixture
def packed(tmp_path, image):
    """Return a zip file of the image with a name that says nothing."""
    path = tmp_path / "dataset_3.dat"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for file in image.rglob("*"):
            out.write(file, file.relative_to(image.parent).as_posix())
    return path


def filtered(folder, image, **options):
    """Filter an image, and return the digest of the result and the record."""
    folder.mkdir()
    outputs = {"filtered": folder / "out" / "filtered.ome.zarr"}
    record = folder / "record.json"
    result = run_step(FILTER, {"image": image}, outputs, record=record, **options)
    assert names(folder / "out") == [".filtered.ome.zarr.stamp.json", "filtered.ome.zarr"]
    return result.digests["filtered"], json.loads(record.read_text())


def test_a_zip_file_gives_the_same_as_what_is_in_it(tmp_path, image, packed):
    bare, _ = filtered(tmp_path / "bare", image)
    digest, record = filtered(tmp_path / "packed", packed)
    assert digest == bare
    (told,) = record["inputs"]
    assert told["uri"] == str(packed)
    assert (told["digest"], told["kind"]) == (digest_path(image), "ome-zarr")
    assert told["size_bytes"] == packed.stat().st_size


def test_its_image_id_may_be_given(tmp_path, packed):
    assert filtered(tmp_path / "a", packed)[1]["image_id"] == "dataset_3"
    assert filtered(tmp_path / "b", packed, image_id="cells")[1]["image_id"] == "cells"


def test_an_image_without_a_name_is_called_as_its_zip_file_is(tmp_path, image):
    """And not as Galaxy calls the file, or each run would give other bytes."""
    document = json.loads((image / "zarr.json").read_text())
    del document["attributes"]["ome"]["multiscales"][0]["name"]
    (image / "zarr.json").write_text(json.dumps(document))
    path = tmp_path / "dataset_3.dat"
    with zipfile.ZipFile(path, "w") as out:
        for file in image.rglob("*"):
            out.write(file, file.relative_to(image).as_posix())
    bare, _ = filtered(tmp_path / "bare", image)
    assert filtered(tmp_path / "a", path)[0] != bare
    assert filtered(tmp_path / "b", path, names={"image": "cells.ome.zarr.zip"})[0] == bare


def test_a_conversion_of_a_zip_file_is_verified_like_any(tmp_path, image, packed):
    certificates = []
    for number, source in enumerate((image, packed)):
        folder = tmp_path / str(number)
        folder.mkdir()
        outputs = {"image": folder / "i.ome.zarr", "certificate": folder / "c.json"}
        run_step(CONVERT, {"source": source}, outputs)
        certificates.append((folder / "c.json").read_text())
    assert certificates[0] == certificates[1]


def test_a_fetched_folder_of_one_zip_file_is_taken_too(tmp_path, image, packed):
    folder = tmp_path / "original"
    folder.mkdir()
    packed.rename(folder / "cells.zip")
    digest = digest_path(folder / "cells.zip")
    file = ManifestFile(path="cells.zip", size_bytes=1, digest=digest)
    manifest = Manifest(source="x", files=(file,), primary="cells.zip")
    write_json(folder / "manifest.json", manifest.model_dump(mode="json"))
    outputs = {"image": tmp_path / "i.ome.zarr", "certificate": tmp_path / "c.json"}
    record = tmp_path / "r.json"
    run_step(CONVERT, {"source": folder}, outputs, record=record)
    (told,) = json.loads(record.read_text())["inputs"]
    assert told["digest"] == digest_path(folder)
    assert told["digest"].startswith("manifest-sha256:")


def test_a_zip_file_without_an_image_is_told_and_recorded(tmp_path):
    path = tmp_path / "notes.zip"
    path.write_bytes(zipped({"a/readme.txt": b"none"}))
    with pytest.raises(InputError, match=r"'image' holds no OME-Zarr.*notes\.zip.*Pack the folder"):
        run_step(
            FILTER, {"image": path}, {"filtered": tmp_path / "f"}, record=tmp_path / "record.json"
        )
    assert json.loads((tmp_path / "record.json").read_text())["status"] == "failed"
    assert names(tmp_path) == ["notes.zip", "record.json"]


def test_a_zip_file_that_is_damaged_inside_leaves_nothing(tmp_path, packed):
    content = bytearray(packed.read_bytes())
    content[len(content) // 3] ^= 0xFF
    packed.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        run_step(FILTER, {"image": packed}, {"filtered": tmp_path / "out" / "f.ome.zarr"})
    assert names(tmp_path / "out") == []


def test_the_one_image_in_a_folder_is_taken(tmp_path, image):
    folder = tmp_path / "dataset_4_files"
    folder.mkdir()
    image = image.rename(folder / "it's odd.ome.zarr")
    (folder / "notes.txt").write_text("mine")
    digest, record = filtered(tmp_path / "a", folder)
    assert digest == filtered(tmp_path / "b", image)[0]
    assert record["inputs"][0]["uri"] == str(image)


def test_other_folders_are_left_to_the_step(tmp_path, image):
    port = Port("image", "ome-zarr", "image", "An image.")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert inner_zarr(port, empty) == empty
    assert inner_zarr(port, image) == image
    assert inner_zarr(port, tmp_path / "missing") == tmp_path / "missing"
    assert inner_zarr(port, tmp_path) == image
    save(tmp_path / "second.ome.zarr", np.zeros((4, 4), np.uint8), "YX")
    assert inner_zarr(port, tmp_path) == tmp_path
    with pytest.raises(InputError, match="not an OME-Zarr"):
        run_step(FILTER, {"image": empty}, {"filtered": tmp_path / "f.ome.zarr"})


def test_folders_of_results_are_never_searched(tmp_path, image):
    assert inner_zarr(Port("results", "folder", ".", "Results."), tmp_path) == tmp_path
