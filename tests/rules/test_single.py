"""The single rules, composed by a workflow in another folder."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from rules.runs import ROOT, environment, nothing_to_do, program, write_blobs

WORKFLOW = """
configfile: "own.yaml"

module images:
    snakefile: {convert!r}
    config: config

module objects:
    snakefile: {process!r}
    config: config

module numbers:
    snakefile: {analyse!r}
    config: config

use rule * from images as parfocal_*
use rule * from objects as parfocal_*
use rule * from numbers as parfocal_*

rule all:
    default_target: True
    input:
        expand("results/tables/spots/{{image}}.parquet", image=config["images"]),
        "results/quality/one.json",
        "results/previews/one.png",
        "results/previews/spots/one.png",
        "results/assembled/spots/one.ome.zarr/zarr.json",
        "results/images/one.verification.json",
"""


class Project:
    """A repository of its own, which composes the rules of this one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        files = {
            name: str(ROOT / f"rules/single/{name}.smk")
            for name in ("convert", "process", "analyse")
        }
        (folder / "Snakefile").write_text(WORKFLOW.format(**files), encoding="utf-8")
        self.configure("{}")
        for seed, name in enumerate(("one", "two")):
            write_blobs(folder / f"resources/{name}.tif", seed)

    def configure(self, segment: str) -> None:
        """Write the configuration."""
        text = f"images: [one, two]\nsegment_objects: {segment}\n"
        (self.folder / "own.yaml").write_text(text, encoding="utf-8")

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the workflow."""
        return subprocess.run(
            [program("snakemake"), "--cores", "2", "--show-failed-logs", *arguments],
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def objects(self, image: str) -> int:
        """Return the number of rows of a table, all of which are of that image."""
        table = pq.read_table(self.folder / f"results/tables/spots/{image}.parquet")
        assert set(table["image_id"].to_pylist()) <= {image}
        assert set(table["label_name"].to_pylist()) <= {"spots"}
        return int(table.num_rows)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("other") / "an other [repository]"
    folder.mkdir()
    return Project(folder)


def test_another_repository_composes_them(project: Project) -> None:
    done = project.snakemake()
    assert done.returncode == 0, done.stderr
    assert [project.objects(image) for image in ("one", "two")] == [3, 3]
    record = project.folder / "logs/segment_objects/one.spots.record.json"
    assert '"status": "done"' in record.read_text(encoding="utf-8")
    assert nothing_to_do(project.snakemake())


def test_a_changed_parameter_makes_them_again(project: Project) -> None:
    project.configure("{channel: 0, threshold: {method: manual, value: 60000}}")
    done = project.snakemake()
    assert done.returncode == 0, done.stderr
    assert "convert_image" not in done.stderr.partition("Job stats")[2].partition("total")[0]
    assert [project.objects(image) for image in ("one", "two")] == [0, 0]
    assert nothing_to_do(project.snakemake())


def test_a_failure_leaves_no_image_and_a_record(project: Project) -> None:
    assert (project.folder / "results/images/one.ome.zarr/0").exists()
    source = project.folder / "resources/one.tif"
    whole = source.read_bytes()
    source.write_bytes(whole[: len(whole) // 2])
    done = project.snakemake("results/images/one.ome.zarr/zarr.json")
    assert done.returncode != 0
    assert "The TIFF ends before" in done.stderr
    # Snakemake deletes only what it knows of, zarr.json: the step takes away the rest.
    assert not (project.folder / "results/images/one.ome.zarr").exists()
    record = project.folder / "logs/convert_image/one.record.json"
    assert '"status": "failed"' in record.read_text(encoding="utf-8")
    source.write_bytes(whole)
    done = project.snakemake("results/images/one.ome.zarr/zarr.json")
    assert done.returncode == 0, done.stderr
