"""What a user gets for input that cannot be used: a clear error, and the others unharmed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from faults.chain import parfocal, volume
from parfocal.models.sheet import Row, write_sheet

ODD_NAMES = ["a b.tif", "c[1](2).tif", "d'q\"q.tif", "e$HOME;{x}.tif", "zellkern µ 細胞.tif"]


def write_good(path: Path) -> None:
    tifffile.imwrite(path, volume(shape=(1, 10, 96, 96))[0], metadata={"axes": "ZYX"})


def make_missing(path: Path) -> None:
    assert not path.exists()


def make_empty(path: Path) -> None:
    path.touch()


def make_truncated(path: Path) -> None:
    write_good(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def make_text(path: Path) -> None:
    path.write_text("x\ty\n1\t2\n", encoding="utf-8")


def make_unreadable(path: Path) -> None:
    write_good(path)
    path.chmod(0)


def make_zero_size(path: Path) -> None:
    # A TIFF whose only page says that it is 0 pixels wide.
    write_good(path)
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[0].tags["ImageWidth"].valueoffset
        order = tiff.byteorder
    data = bytearray(path.read_bytes())
    data[offset : offset + 4] = np.array([0], order + "u4").tobytes()
    path.write_bytes(data)


def make_unknown_axes(path: Path) -> None:
    data = np.ones((2, 3, 4, 16, 16), np.uint8)
    tifffile.imwrite(path, data, metadata={"axes": "HRZYX"}, photometric="minisblack")


BAD = {
    "missing": (make_missing, "no such file"),
    "empty": (make_empty, "empty"),
    "truncated": (make_truncated, "truncated"),
    "text": (make_text, "TIFF"),
    "unreadable": (make_unreadable, "read"),
    "zero_size": (make_zero_size, "0"),
    "unknown_axes": (make_unknown_axes, "ax"),
}


def run_batch(folder: Path, step: str, *more: str | Path) -> dict[str, dict[str, str]]:
    outcome = folder / f"results/outcomes/{step.replace('-', '_')}/0.json"
    done = parfocal(
        step,
        *("--sheet", folder / "samples.tsv", "--batch", "0", "--batch-size", "99"),
        *("--folder", folder / "results", "--outcome", outcome, *more),
        # Without capabilities root is refused like anybody else.
        before=("setpriv", "--bounding-set=-all", "--inh-caps=-all"),
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    images = json.loads(outcome.read_text(encoding="utf-8"))["images"]
    return {image["image_id"]: image for image in images}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, str]]]:
    folder = tmp_path_factory.mktemp("bad")
    rows = []
    for name, (make, _) in BAD.items():
        make(folder / f"{name}.tif")
        rows.append(Row(image_id=name, source=str(folder / f"{name}.tif")))
    for index, name in enumerate(ODD_NAMES):
        write_good(folder / name)
        rows.append(Row(image_id=f"odd_{index}", name=name, source=str(folder / name)))
    nan = volume(shape=(1, 10, 96, 96))[0, 5].astype(np.float32)
    nan[:10] = np.nan
    tifffile.imwrite(folder / "nan.tif", nan)
    tifffile.imwrite(folder / "pixel.tif", np.full((1, 1), 7, np.uint16))
    rows += [Row(image_id=n, source=str(folder / f"{n}.tif")) for n in ("nan", "pixel")]
    write_sheet(folder / "samples.tsv", rows)
    outcomes = folder / "results/outcomes"
    run_batch(folder, "fetch-image")
    run_batch(folder, "convert-image", "--after", outcomes / "fetch_image/0.json")
    run_batch(folder, "segment-objects", "--after", outcomes / "convert_image/0.json")
    run_batch(folder, "assess-quality", "--after", outcomes / "convert_image/0.json")
    after = outcomes / "segment_objects/0.json"
    return folder, run_batch(folder, "measure-objects", "--after", after)


@pytest.mark.parametrize("name", BAD)
def test_each_bad_file_fails_with_what_where_and_remedy(
    ended: tuple[Path, dict[str, dict[str, str]]], name: str
) -> None:
    folder, images = ended
    image = images[name]
    assert image["status"] == "skipped"
    assert image["failed_step"] in ("fetch-image", "convert-image")
    assert str(folder / f"{name}.tif") in image["error"]
    assert BAD[name][1] in image["error"]
    assert not list((folder / "results/images" / name).glob("*"))
    step = image["failed_step"].replace("-", "_")
    record = json.loads((folder / f"results/records/{step}/{name}/0001.json").read_text())
    assert record["error"]["exit_code"] == 2
    assert record["error"]["message"].count(". ") >= 1, "no remedy"


@pytest.mark.parametrize("name", [*(f"odd_{i}" for i in range(len(ODD_NAMES))), "nan", "pixel"])
def test_the_others_are_unharmed(ended: tuple[Path, dict[str, dict[str, str]]], name: str) -> None:
    folder, images = ended
    assert images[name]["status"] == "done"
    quality = json.loads((folder / f"results/images/{name}/quality.json").read_text("utf-8"))
    assert quality["channels"]


def test_an_output_that_exists_is_refused_and_kept(tmp_path: Path) -> None:
    write_good(tmp_path / "in.tif")
    target = tmp_path / "image.ome.zarr"
    target.mkdir()
    (target / "precious").write_text("kept", encoding="utf-8")
    done = parfocal(
        *("convert-image", "--source", tmp_path / "in.tif", "--image", target),
        *("--certificate", tmp_path / "c.json"),
    )
    assert done.returncode == 2
    assert str(target) in done.stderr
    assert (target / "precious").read_text(encoding="utf-8") == "kept"
    assert not (tmp_path / "c.json").exists()


@pytest.mark.parametrize("name", BAD)
def test_one_bad_file_alone_is_exit_code_2(name: str, tmp_path: Path) -> None:
    source = tmp_path / "in put.tif"
    BAD[name][0](source)
    done = parfocal(
        *("convert-image", "--source", source, "--image", tmp_path / "image.ome.zarr"),
        *("--certificate", tmp_path / "c.json"),
        before=("setpriv", "--bounding-set=-all", "--inh-caps=-all"),
    )
    assert done.returncode == 2, done.stderr
    assert str(source) in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) in (["in put.tif"], [])
