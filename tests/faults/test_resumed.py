"""Conversions killed at random moments go on where they stopped, to the same bytes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

from faults.chain import PARFOCAL, parfocal
from parfocal.core.digest import digest_path
from parfocal.models.sheet import Row, write_sheet

OPTIONS = ("--set", "chunk_px=64", "--set", "shard_mib=1", "--set", "level=6")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "in.tif"
    image = np.random.default_rng(2).poisson(300, (2, 12, 512, 512)).astype(np.uint16)
    tifffile.imwrite(path, image, metadata={"axes": "CZYX"}, ome=True)
    return path


def command(source: Path, folder: Path, *more: str) -> list[str]:
    image = folder / "image.ome.zarr"
    certificate = folder / "image.certificate.json"
    paths = ["--source", source, "--image", image, "--certificate", certificate]
    return ["convert-image", *map(str, paths), *OPTIONS, *more]


def shards(folder: Path) -> list[Path]:
    """List the whole shards of what is being written; folders come and go meanwhile."""
    walked = os.walk(folder)
    return [
        Path(here, name)
        for here, _, names in walked
        for name in names
        if name.isdecimal() and ".partial/image.ome.zarr/" in here
    ]


def stop_after(arguments: list[str], folder: Path, count: int, by: signal.Signals) -> bool:
    """Stop a run when it has written `count` shards; tell whether it had not ended before."""
    process = subprocess.Popen(
        [*PARFOCAL, *arguments], stderr=subprocess.DEVNULL, start_new_session=True
    )
    while process.poll() is None and len(shards(folder)) < count:
        time.sleep(0.002)
    time.sleep(random.Random(count).uniform(0, 0.02))
    if process.poll() is None:
        os.killpg(process.pid, by)
    return process.wait(60) != 0


@pytest.fixture(scope="module")
def expected(source: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("whole")
    done = parfocal(*command(source, folder))
    assert done.returncode == 0, done.stderr
    return digest_path(folder / "image.ome.zarr")


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM])
def test_a_conversion_killed_again_and_again_ends_as_if_it_had_not_been(
    source: Path, expected: str, tmp_path: Path, by: signal.Signals
) -> None:
    for number, count in enumerate((3, 9, 20, 33)):
        threads = str(number % 3 + 1)
        assert stop_after(command(source, tmp_path, "--threads", threads), tmp_path, count, by)
        assert not (tmp_path / "image.ome.zarr").exists()
        assert len(list(tmp_path.glob(".image.ome.zarr.*.partial"))) == 1
    record = tmp_path / "record.json"
    done = parfocal(*command(source, tmp_path, "--record", str(record)))
    assert done.returncode == 0, done.stderr
    assert digest_path(tmp_path / "image.ome.zarr") == expected
    assert json.loads(record.read_text())["details"]["resumed_shards"] >= 33
    assert not list(tmp_path.glob(".*.partial"))


def test_other_parameters_do_not_go_on_with_it(source: Path, tmp_path: Path) -> None:
    assert stop_after(command(source, tmp_path), tmp_path, 5, signal.SIGKILL)
    record = tmp_path / "record.json"
    done = parfocal(*command(source, tmp_path, "--set", "codec=zstd", "--record", str(record)))
    assert done.returncode == 0, done.stderr
    assert "resumed_shards" not in json.loads(record.read_text())["details"]
    assert not list(tmp_path.glob(".*.partial"))


def test_a_killed_batch_goes_on_too(source: Path, expected: str, tmp_path: Path) -> None:
    rows = [Row(image_id=name, source=str(source)) for name in ("a", "b")]
    write_sheet(tmp_path / "samples.tsv", rows)
    originals = tmp_path / "results/originals"
    outcome = tmp_path / "results/outcomes/fetch_image/0.json"
    batch = ["--sheet", tmp_path / "samples.tsv", "--batch", "0", "--batch-size", "2"]
    batch += ["--folder", tmp_path / "results"]
    fetched = parfocal("fetch-image", *batch, "--outcome", outcome)
    assert fetched.returncode == 0, fetched.stderr
    assert originals.exists()
    outcome = tmp_path / "results/outcomes/convert_image/0.json"
    params = json.dumps({"chunk_px": 64, "shard_mib": 1, "level": 6})
    arguments = ["convert-image", *batch, "--params", params, "--outcome", outcome]
    for count in (4, 25):
        assert stop_after([*map(str, arguments)], tmp_path, count, signal.SIGKILL)
    done = parfocal(*arguments)
    assert done.returncode == 0, done.stderr
    for row in rows:
        image = tmp_path / "results/images" / row.image_id / "image.ome.zarr"
        assert digest_path(image) == expected
    records = (tmp_path / "results/records/convert_image").rglob("*.json")
    details = [json.loads(path.read_text())["details"] for path in sorted(records)]
    assert any(one.get("resumed_shards", 0) >= 4 for one in details)


def test_what_a_verification_refuses_is_not_kept(source: Path, tmp_path: Path) -> None:
    """A shard that was torn without a trace must not be found again and again."""
    assert stop_after(command(source, tmp_path), tmp_path, 20, signal.SIGKILL)
    shard = next(path for path in shards(tmp_path) if "/image.ome.zarr/0/" in str(path))
    content = bytearray(shard.read_bytes())
    content[1000:9000] = bytes(8000)
    shard.write_bytes(content)
    failed = parfocal(*command(source, tmp_path))
    assert failed.returncode == 4, failed.stderr
    assert "is removed: run it again" in failed.stderr
    assert not list(tmp_path.glob(".*.partial"))
    done = parfocal(*command(source, tmp_path))
    assert done.returncode == 0, done.stderr
