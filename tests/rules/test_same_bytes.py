"""The same inputs, parameters and lock file give the same bytes, in whatever order and threads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from rules.runs import Run, write_labels
from same_runs import crate_copies, crate_facts, report_text, result_files

WORK = (
    "convert_image={shard_mib: 0}",  # so that each chunk is a file
    "record_run={organization_name: Parfocal}",
)


def write_chunks(image: Path, truth: Path) -> None:
    """Write an image of squares, many of which lie across chunks, (Y, X) uint16, and its labels."""
    pixels = np.random.default_rng(3).poisson(20, (1100, 1300)).astype(np.uint16)
    labels = np.zeros_like(pixels)
    corners = ((y, x) for y in range(20, 1060, 41) for x in range(20, 1260, 43))
    for label, (y, x) in enumerate(corners, 1):
        pixels[y : y + 24, x : x + 24] += 300
        labels[y : y + 24, x : x + 24] = label
    tifffile.imwrite(image, pixels)
    tifffile.imwrite(truth, labels)


def write_inputs(run: Run) -> None:
    """Write images and ground truth."""
    write_labels(run.folder / "in/truth.tif")
    run.add_image("a", "ä 1.tif", ground_truth="in/truth.tif")
    run.add_image("blobs", ground_truth="in/truth.tif")
    chunks = run.add_image("chunks", ground_truth="in/chunks_truth.tif")
    write_chunks(chunks, run.folder / "in/chunks_truth.tif")


def do(run: Run, *, cores: int, batch_size: int, **environment: str) -> None:
    """Run the workflow."""
    run.config[:] = [*WORK, f"batch_size={batch_size}"]
    done = run.snakemake("--cores", str(cores), **environment)
    assert done.returncode == 0, done.stdout + done.stderr


def threads(folder: Path) -> int:
    """Return by how many threads objects were measured."""
    record = folder / "results/records/measure_objects/chunks/0001.json"
    return json.loads(record.read_text(encoding="utf-8"))["threads"]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The results of two runs in one folder, with nothing else in common but the work."""
    run = Run(tmp_path_factory.mktemp("same") / "run")
    write_inputs(run)
    do(run, cores=2, batch_size=1, PYTHONHASHSEED="1", TZ="UTC", LC_ALL="C")
    first = run.folder.rename(run.folder.with_name("first"))
    shutil.copytree(first / "in", run.folder / "in")  # with its times: fetching goes by them
    odd = {"PYTHONHASHSEED": "2", "TZ": "Asia/Kathmandu", "LC_ALL": "C.UTF-8"}
    do(run, cores=4, batch_size=3, **odd)
    assert (threads(first), threads(run.folder)) == (1, 4)
    return first / "results", run.results


def outcomes(results: Path) -> dict[str, dict]:
    """Return what the outcomes say of each image, whichever batch it was in."""
    return {
        f"{path.parent.name}/{image['image_id']}": image
        for path in (results / "outcomes").glob("*/[0-9]*.json")
        for image in json.loads(path.read_text(encoding="utf-8"))["images"]
    }


def test_every_file_that_steps_made_is_the_same(pair: tuple[Path, Path]) -> None:
    first, second = map(result_files, pair)
    assert first == second
    assert sum("image.ome.zarr/0/c/" in name for name in first) > 10
    ends = {"".join(Path(name).suffixes[-1:]) for name in first}
    assert ends >= {".json", ".parquet", ".tsv", ".xml"}


def test_outcomes_are_the_same(pair: tuple[Path, Path]) -> None:
    first, second = map(outcomes, pair)
    assert first == second
    assert {"score_objects/a", "segment_objects/chunks"} <= first.keys()


def test_reports_differ_in_memory_and_time_alone(pair: tuple[Path, Path]) -> None:
    first, second = map(report_text, pair)
    assert first == second


def test_crates_differ_in_times_use_and_the_id_of_the_run_alone(pair: tuple[Path, Path]) -> None:
    first, second = map(crate_facts, pair)
    config = "config/config.yaml"  # which says how many images share a job
    assert first.pop(config).keys() == second.pop(config).keys()
    assert first == second
    assert len(first) > 200


def test_copies_in_crates_are_the_same(pair: tuple[Path, Path]) -> None:
    first, second = map(crate_copies, pair)
    config = "config/config.yaml"
    text = first.pop(config).replace(b'"batch_size": 1', b'"batch_size": 3')
    assert text == second.pop(config)
    assert first == second
    assert first.keys() >= {"README.md", "sheet/samples.tsv", "workflow/Snakefile"}


@pytest.mark.parametrize(
    ("told", "name", "old", "new"),
    [
        (result_files, "images/chunks/tables/nuclei.tsv", "\t", " "),
        (report_text, "report.html", "chunks", "shards"),
        (crate_copies, "run-crate/README.md", "e", "a"),
        (crate_facts, "run-crate/ro-crate-metadata.json", '"snakemake 9', '"snakemake 8'),
        (crate_facts, "run-crate/ro-crate-metadata.json", "zarr-merkle-sha256:", "sha256:"),
    ],
)
def test_a_difference_is_seen(
    pair: tuple[Path, Path], tmp_path: Path, told: Callable, name: str, old: str, new: str
) -> None:
    copy = tmp_path / "results"
    shutil.copytree(pair[0], copy)
    text = (copy / name).read_text(encoding="utf-8")
    assert old in text
    (copy / name).write_text(text.replace(old, new, 1), encoding="utf-8")
    assert told(copy) != told(pair[0])
