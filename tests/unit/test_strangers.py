"""In Galaxy no user reads a file of the server by typing or packing its path."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from parfocal.engine import run_step
from parfocal.engine.batch import Batch, run_batch
from parfocal.errors import InputError
from parfocal.models.manifest import MANIFEST_NAME
from parfocal.models.sheet import read_sheet
from parfocal.steps import load_step


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file that lies on the server."""
    path = tmp_path / "server" / "secret.tif"
    path.parent.mkdir()
    tifffile.imwrite(path, np.zeros((16, 16), np.uint8))
    return path


@pytest.fixture
def galaxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARFOCAL_ENGINE", "galaxy 26.1")


def sources(secret: Path) -> list[str]:
    sheet = secret.with_name("rows.tsv")
    sheet.write_text(f"image_id\tsource\na\t{secret}\n")
    return [str(secret), secret.as_uri(), f"{secret.parent}/*.tif", str(secret.parent), str(sheet)]


def listed(folder: Path, source: str) -> None:
    params = {"source": [source]}
    run_step(load_step("list-images"), {}, {"sheet": folder / "s.tsv"}, params, existing="replace")


def fetched(folder: Path, source: str) -> None:
    outputs = {"original": folder / "original"}
    run_step(load_step("fetch-image"), {}, outputs, {"source": source}, existing="replace")


@pytest.mark.usefixtures("galaxy")
@pytest.mark.parametrize("use", [listed, fetched])
def test_a_path_is_no_source_in_galaxy(secret: Path, tmp_path: Path, use: Any) -> None:
    for source in sources(secret):
        with pytest.raises(InputError, match=r"an address, and no path.*Upload the image"):
            use(tmp_path / "out", source)


@pytest.mark.parametrize("use", [listed, fetched])
def test_elsewhere_it_is_one(secret: Path, tmp_path: Path, use: Any) -> None:
    (tmp_path / "out").mkdir()
    use(tmp_path / "out", str(secret))
    assert any((tmp_path / "out").iterdir())


@pytest.mark.usefixtures("galaxy")
def test_one_path_among_addresses_is_refused_before_any_is_asked(
    secret: Path, tmp_path: Path
) -> None:
    params = {"source": ["https://nowhere.invalid/a.tif", str(secret)]}
    with pytest.raises(InputError, match="an address, and no path"):
        run_step(load_step("list-images"), {}, {"sheet": tmp_path / "s.tsv"}, params)


@pytest.mark.usefixtures("galaxy")
def test_a_row_of_a_sheet_is_no_way_around(secret: Path, tmp_path: Path) -> None:
    step = load_step("fetch-image")
    outcome = tmp_path / "results/outcomes/fetch_image/0.json"
    sources(secret)
    rows = read_sheet(secret.with_name("rows.tsv"))
    run_batch(Batch(step, step.params(), rows, tmp_path / "results", outcome))
    (image,) = json.loads(outcome.read_text())["images"]
    assert image["status"] == "failed"
    assert "an address, and no path" in image["error"]


@pytest.mark.parametrize("path", ["{secret}", "../server/secret.tif"])
@pytest.mark.parametrize("key", ["primary", "path"])
def test_a_manifest_names_no_file_elsewhere(
    secret: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, key: str
) -> None:
    folder = tmp_path / "packed"
    folder.mkdir()
    named = path.format(secret=secret)
    (folder / "own.tif").write_bytes(secret.read_bytes())
    file = {"path": "own.tif", "size_bytes": 1, "digest": "sha256:0"}
    manifest: dict[str, Any] = {"source": "x", "files": [file], "primary": "own.tif"}
    if key == "primary":
        manifest["primary"] = named
    else:
        file["path"] = named
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest | {"format": "parfocal-manifest-1"}))
    outputs = {"image": tmp_path / "i.ome.zarr", "certificate": tmp_path / "c.json"}
    convert = load_step("convert-image")
    run_step(convert, {"source": folder}, outputs, existing="replace")
    monkeypatch.setenv("PARFOCAL_ENGINE", "galaxy 26.1")
    with pytest.raises(InputError, match="names a file outside its folder"):
        run_step(convert, {"source": folder}, outputs, existing="replace")
