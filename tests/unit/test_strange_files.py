"""An image that was uploaded to Galaxy takes no pixels from other files of the server."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

from galaxy_samples import zipped
from ome_tiff_set import write_set
from parfocal.engine import run_step
from parfocal.errors import InputError
from parfocal.images import other_files
from parfocal.steps.convert_image import STEP


@pytest.fixture
def others(tmp_path: Path) -> Path:
    """A folder of what other users have."""
    folder = tmp_path / "others"
    folder.mkdir()
    write_set(folder)
    with h5py.File(folder / "secret.h5", "w") as file:
        file["pixels"] = np.full((8, 8), 7, "uint8")
    return folder


def tiff(path: Path, others: Path) -> None:
    with tifffile.TiffFile(others / "z0.ome.tif") as file:
        text = file.pages.first.description.replace("z1.ome.tif", str(others / "z1.ome.tif"))
    pixels = np.ones((6, 8), np.uint8)
    described = {"description": text.encode(), "metadata": None, "photometric": "minisblack"}
    tifffile.imwrite(path, pixels, **described)


def external_link(path: Path, others: Path) -> None:
    with h5py.File(path, "w") as file:
        file["own"] = np.zeros((8, 8), "uint8")
        file["theirs"] = h5py.ExternalLink(str(others / "secret.h5"), "pixels")


EVIL = {"evil.ome.tif": tiff, "link.h5": external_link}


def convert(given: Path, folder: Path, reader: str | None = None, **names: str) -> None:
    outputs = {"image": folder / "i.ome.zarr", "certificate": folder / "c.json"}
    params = {"second_reader": "none", "reader": reader}
    run_step(STEP, {"source": given}, outputs, params, names=names, existing="replace")


@pytest.mark.parametrize("name", EVIL)
def test_what_an_image_names_is_not_read_in_galaxy(tmp_path, monkeypatch, others, name):
    EVIL[name](tmp_path / "dataset_1.dat", others)
    monkeypatch.setenv("PARFOCAL_ENGINE", "galaxy 26.1")
    for names in ({"source": name}, {}):
        with pytest.raises(InputError, match="names a file that did not come with it"):
            convert(tmp_path / "dataset_1.dat", tmp_path, **names)
    packed = tmp_path / "dataset_2.dat"
    packed.write_bytes(zipped({name: (tmp_path / "dataset_1.dat").read_bytes()}))
    with pytest.raises(InputError, match="names a file that did not come with it"):
        convert(packed, tmp_path)
    assert not (tmp_path / "i.ome.zarr").exists()


def test_a_reader_that_is_named_sees_no_more(tmp_path, monkeypatch, others):
    given = tmp_path / "dataset_1.dat"
    with h5py.File(given, "w", userblock_size=512) as file:  # no format is told by its first bytes
        file["own"] = np.zeros((8, 8), "uint8")
        file["theirs"] = h5py.ExternalLink(str(others / "secret.h5"), "pixels")
    convert(given, tmp_path, reader="hdf5")  # it reads, where nobody is a stranger
    monkeypatch.setenv("PARFOCAL_ENGINE", "galaxy")
    with pytest.raises(InputError, match=r"names a file that did not come with it.*secret\.h5"):
        convert(given, tmp_path, reader="hdf5")


@pytest.mark.parametrize("name", EVIL)
def test_elsewhere_it_is(tmp_path, others, name):
    EVIL[name](tmp_path / name, others)
    (named,) = other_files(tmp_path / name)
    assert named.parent == others
    convert(tmp_path / name, tmp_path)


def test_what_lies_beside_a_dataset_is_of_others_too(tmp_path, monkeypatch, others):
    monkeypatch.setenv("PARFOCAL_ENGINE", "galaxy")
    with pytest.raises(InputError, match=r"found z1\.ome\.tif.*into one zip file"):
        convert(others / "z0.ome.tif", tmp_path)


def test_what_came_in_the_same_zip_file_is_read(tmp_path, monkeypatch, others):
    monkeypatch.setenv("PARFOCAL_ENGINE", "galaxy")
    packed = tmp_path / "dataset_1.dat"
    packed.write_bytes(zipped({p.name: p.read_bytes() for p in others.glob("*.tif")}))
    convert(packed, tmp_path)
    assert (tmp_path / "i.ome.zarr").is_dir()
