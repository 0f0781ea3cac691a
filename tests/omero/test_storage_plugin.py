"""The storage plugin: Snakemake's own tests of plugins, and a small workflow."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from snakemake_interface_storage_plugins.tests import TestStorageBase

from parfocal.errors import ConfigurationError, InputError
from parfocal.models.manifest import primary_path
from snakemake_storage_plugin_omero import StorageObject, StorageProvider, StorageProviderSettings


@pytest.fixture
def dataset(alice) -> int:
    import omero

    made = omero.model.DatasetI()
    made.name = omero.rtypes.rstring("of a workflow")
    return alice.getUpdateService().saveAndReturnObject(made).id.val


@pytest.fixture
def image(alice, dataset: int) -> tuple[int, np.ndarray]:
    """An image on the server: its number, and its pixels with the axes TCZYX."""
    pixels = np.random.default_rng(7).integers(0, 60000, (1, 2, 3, 40, 50), dtype=np.uint16)
    planes = (pixels[t, c, z] for z in range(3) for c in range(2) for t in range(1))
    parent = alice.getObject("Dataset", dataset)
    made = alice.createImageFromNumpySeq(planes, "cells", 3, 2, 1, dataset=parent)
    return made.getId(), pixels


class TestConformity(TestStorageBase):
    """What snakemake-interface-storage-plugins demands of all."""

    __test__ = True

    @pytest.fixture(autouse=True)
    def _place(self, logged_in: str, dataset: int) -> None:
        self.target = f"{logged_in}/dataset/{dataset}"

    def get_storage_provider_cls(self) -> type[StorageProvider]:
        return StorageProvider

    def get_storage_provider_settings(self) -> StorageProviderSettings:
        return StorageProviderSettings()

    def get_query(self, tmp_path: Path) -> str:
        return f"{self.target}/attachment/test.txt"

    def get_query_not_existing(self, tmp_path: Path) -> str:
        return f"{self.target}/attachment/absent.txt"


class TestImages(TestConformity):
    """The same of images, which are only read."""

    retrieve_only = True

    @pytest.fixture(autouse=True)
    def _image(self, image: tuple[int, np.ndarray], logged_in: str) -> None:
        self.images = f"{logged_in}/image"
        self.number = image[0]

    def get_query(self, tmp_path: Path) -> str:
        return f"{self.images}/{self.number}"

    def get_query_not_existing(self, tmp_path: Path) -> str:
        return f"{self.images}/999999999"


def stored(tmp_path: Path, query: str) -> StorageObject:
    settings = StorageProviderSettings()
    provider = StorageProvider(tmp_path / "prefix", logger=None, settings=settings)
    found = provider.object(query)
    found.local_path().parent.mkdir(parents=True, exist_ok=True)
    return found


def pixels_of(path: Path) -> np.ndarray:
    """Return the pixels of an OME-Zarr with the axes TCZYX."""
    group = zarr.open_group(path, mode="r")
    axes = [axis["name"] for axis in group.attrs["ome"]["multiscales"][0]["axes"]]
    shape = dict(zip(axes, group["0"].shape, strict=True))
    return np.asarray(group["0"]).reshape([shape.get(axis, 1) for axis in "tczyx"])


def test_an_image_comes_as_ome_zarr(logged_in: str, image, tmp_path: Path) -> None:
    number, pixels = image
    found = stored(tmp_path, f"{logged_in}/image/{number}")
    assert found.size() == found.local_footprint() == pixels.nbytes
    found.retrieve_object()
    assert found.local_path().name == f"{number}.ome.zarr"
    np.testing.assert_array_equal(pixels_of(found.local_path()), pixels)
    assert list(found.local_path().parent.iterdir()) == [found.local_path()]


@pytest.fixture
def imported(faults, tmp_path: Path) -> tuple[int, Path, np.ndarray]:
    """An image on the server with the file that it came from: number, file and pixels."""
    pixels = np.random.default_rng(8).integers(0, 250, (1, 1, 2, 30, 20), dtype=np.uint8)
    np.save(tmp_path / "pixels.npy", pixels)
    file = tmp_path / "cells.ome.tiff"
    tifffile.imwrite(file, pixels[0, 0], ome=True, metadata={"axes": "ZYX"})
    series = [{"npy": str(tmp_path / "pixels.npy"), "name": "cells"}]
    made = faults.seed("import", files=[str(file)], series=series, user="alice", group="annotate")
    return made["images"][0], file, pixels


def test_originals_come_with_their_manifest(logged_in: str, imported, tmp_path: Path) -> None:
    number, file, _ = imported
    found = stored(tmp_path, f"{logged_in}/image/{number}/original")
    assert found.size() == found.local_footprint() == file.stat().st_size
    found.retrieve_object()
    assert primary_path(found.local_path()).read_bytes() == file.read_bytes()


def test_an_original_is_converted(logged_in: str, imported, tmp_path: Path) -> None:
    number, _, pixels = imported
    found = stored(tmp_path, f"{logged_in}/image/{number}")
    found.retrieve_object()
    np.testing.assert_array_equal(pixels_of(found.local_path()), pixels)


def test_an_image_without_original_has_none(logged_in: str, image, tmp_path: Path) -> None:
    found = stored(tmp_path, f"{logged_in}/image/{image[0]}/original")
    with pytest.raises(InputError, match="original file"):
        found.retrieve_object()
    assert not found.local_path().exists()


def test_the_time_is_that_of_the_last_change(logged_in, alice, image, tmp_path: Path) -> None:
    found = stored(tmp_path, f"{logged_in}/image/{image[0]}")
    before = found.mtime()
    assert abs(before - time.time()) < 600
    time.sleep(0.01)
    wrapped = alice.getObject("Image", image[0])
    wrapped.setName("renamed")
    wrapped.save()
    assert found.mtime() > before


def test_images_are_never_written_or_removed(logged_in: str, image, alice, tmp_path: Path) -> None:
    found = stored(tmp_path, f"{logged_in}/image/{image[0]}")
    found.local_path().mkdir(parents=True)
    for work in (found.store_object, found.remove):
        with pytest.raises(ConfigurationError, match="image"):
            work()
    assert alice.getObject("Image", image[0]) is not None


def test_a_folder_is_not_attached(logged_in: str, dataset: int, tmp_path: Path) -> None:
    found = stored(tmp_path, f"{logged_in}/dataset/{dataset}/attachment/a")
    found.local_path().mkdir(parents=True)
    with pytest.raises(ConfigurationError, match="folder"):
        found.store_object()


SNAKEFILE = """
server = config["server"]
rule all:
    input: storage.omero(f"{server}/dataset/{config['dataset']}/attachment/sums.tsv")
rule sum:
    input: storage.omero(f"{server}/image/{{image}}")
    output: "sums/{image}.txt"
    resources: bytes=lambda wildcards, input: input.size
    shell:
        "{config[python]} {config[summing]} {input} > {output}"
        " && echo {resources.bytes} > size.txt"
rule fetch:
    input: storage.omero(f"{server}/image/{{image}}", retrieve=False)
    output: "fetched/{image}/manifest.json"
    shell:
        "{config[python]} -m parfocal fetch-image --set source={input}"
        " --original fetched/{wildcards.image} --replace"
rule collect:
    input:
        sums=expand("sums/{image}.txt", image=config["images"]),
        manifests=expand("fetched/{image}/manifest.json", image=config["images"]),
    output: storage.omero(f"{server}/dataset/{config['dataset']}/attachment/sums.tsv")
    shell: "cat {input.sums} > {output}"
"""

SUMMING = """
import sys
import zarr
print(int(zarr.open_group(sys.argv[1], mode="r")["0"][:].sum(dtype="u8")))
"""


def snakemake(folder: Path, **config: object) -> subprocess.CompletedProcess[str]:
    settings = [f"{name}={value}" for name, value in config.items()]
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", "--config", *settings],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_workflow_reads_images_and_stores_its_result(
    logged_in: str, alice, dataset: int, image, tmp_path: Path, monkeypatch
) -> None:
    number, pixels = image
    session = alice.c.getSessionId()
    monkeypatch.setenv("OMERO_SESSION", session)
    monkeypatch.delenv("OMERO_PASSWORD")
    (tmp_path / "Snakefile").write_text(SNAKEFILE, "utf-8")
    (tmp_path / "sum.py").write_text(SUMMING, "utf-8")
    config = {
        "server": logged_in,
        "dataset": dataset,
        "images": f"[{number}]",
        "python": sys.executable,
        "summing": "sum.py",
    }
    done = snakemake(tmp_path, **config)
    assert done.returncode == 0, done.stderr
    (found,) = alice.getObject("Dataset", dataset).listAnnotations()
    assert b"".join(found.getFileInChunks()) == f"{pixels.sum(dtype=np.uint64)}\n".encode()
    fetched = primary_path(tmp_path / "fetched" / str(number))
    np.testing.assert_array_equal(pixels_of(fetched), pixels)
    assert (tmp_path / "size.txt").read_text("utf-8") == f"{pixels.nbytes}\n"
    assert "INFO:snakemake" not in done.stderr  # nothing is told twice

    again = snakemake(tmp_path, **config)
    assert "Nothing to be done" in again.stderr, again.stderr

    wrapped = alice.getObject("Image", number)
    wrapped.setName("changed on the server")
    wrapped.save()
    third = snakemake(tmp_path, **config)
    assert third.returncode == 0, third.stderr
    assert "rule sum" in third.stderr

    told = "".join(run.stdout + run.stderr for run in (done, again, third))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert session not in told
    assert not [path for path in files if session.encode() in path.read_bytes()]
    assert alice.keepAlive()  # a session that was joined goes on
