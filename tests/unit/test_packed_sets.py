"""A zip file of an image and the files that belong to it is an image."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from galaxy_samples import zipped
from ome_tiff_set import write_set
from parfocal.engine import run_step
from parfocal.errors import InputError
from parfocal.images import open_image
from parfocal.steps.convert_image import STEP


def tiff(folder: Path, name: str) -> bytes:
    tifffile.imwrite(folder / "any.tif", np.arange(64, dtype="uint8").reshape(8, 8))
    content = (folder / "any.tif").read_bytes()
    (folder / "any.tif").unlink()
    return content


def set_of_two(folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    return {f"set/{path.name}": path.read_bytes() for path in write_set(folder)}


def convert(packed: Path, folder: Path, **names: str) -> Path:
    image = folder / "i.ome.zarr"
    outputs = {"image": image, "certificate": folder / "c.json"}
    run_step(STEP, {"source": packed}, outputs, record=folder / "r.json", names=names)
    return image


@pytest.mark.parametrize("home", ["", "results"])
def test_a_set_of_files_is_one_image(tmp_path, monkeypatch, home):
    monkeypatch.chdir(tmp_path)
    packed = tmp_path / "dataset_1.dat"
    packed.write_bytes(zipped(set_of_two(tmp_path / "files")))
    folder = Path(home) if home else tmp_path
    with open_image(convert(packed, folder, source="set.zip")) as image:
        assert image.shape5 == (1, 1, 2, 6, 8)
        pixels = image.read(tuple(slice(0, size) for size in image.shape5))
        assert [plane.max() for plane in pixels[0, 0]] == [1, 2]
    record = json.loads((folder / "r.json").read_text())
    assert record["inputs"][0]["uri"] == str(packed)
    assert record["inputs"][0]["digest"].startswith("sha256:")
    assert packed.is_file()


def test_what_systems_leave_behind_does_not_count(tmp_path):
    files = {"a.tif": tiff(tmp_path, "a.tif"), "__MACOSX/._a.tif": b"II*\0", ".DS_Store": b"x"}
    packed = tmp_path / "a.zip"
    packed.write_bytes(zipped(files | {"readme.txt": b"of the microscope"}))
    with open_image(convert(packed, tmp_path)) as image:
        assert image.shape5 == (1, 1, 1, 8, 8)


def test_the_index_of_a_set_stands_for_what_lies_beside_it(tmp_path):
    files = set_of_two(tmp_path / "files")
    packed = tmp_path / "a.zip"
    packed.write_bytes(zipped(files | {"set/b.oif": b"an index that cannot be read"}))
    with pytest.raises(InputError, match=r"b\.oif"):
        convert(packed, tmp_path)


@pytest.mark.parametrize(
    ("names", "told"),
    [(("a.tif", "b.tif"), r"2: a\.tif, b\.tif"), (("readme.txt",), r"none: readme\.txt")],
)
def test_several_images_and_none_are_refused(tmp_path, names, told):
    packed = tmp_path / "a.zip"
    made = {n: tiff(tmp_path, n) if n.endswith("tif") else b"No image." for n in names}
    packed.write_bytes(zipped(made))
    with pytest.raises(InputError, match=told):
        convert(packed, tmp_path)
    assert not (tmp_path / "i.ome.zarr").exists()


@pytest.mark.parametrize("name", ["../a.tif", "/a.tif", "x/../../a.tif"])
def test_nothing_is_written_elsewhere(tmp_path, name):
    packed = tmp_path / "a.zip"
    packed.write_bytes(zipped({name: tiff(tmp_path, name)}))
    with pytest.raises(InputError, match="unpacked safely"):
        convert(packed, tmp_path)
