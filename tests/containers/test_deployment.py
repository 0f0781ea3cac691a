"""Snakemake runs the rules in conda environments and in apptainer, of both of which there are only
stand-ins here: they show that we say what Snakemake needs, not that conda and apptainer work."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.containers.images import HERE, Image, environment, tiny_run

from parfocal import __version__
from parfocal.provenance.records import iter_records
from rules.runs import ROOT, Run

pytestmark = pytest.mark.timeout(1900)  # the first test waits until the image is built
CONTAINER = f"docker://localhost/parfocal:{__version__}"
"""What the rules name."""


def snakemake(run: Run, *arguments: str, **more: str) -> None:
    """Run the workflow where `parfocal` is found in no folder of programs of this environment."""
    programs = run.folder.parent / "programs"
    programs.mkdir()
    for name in ("apptainer", "conda"):
        program = programs / name
        text = (HERE / "bin" / name).read_text(encoding="utf-8")
        program.write_text(text.replace("/usr/bin/env python3", sys.executable), encoding="utf-8")
        program.chmod(0o755)
    command = [sys.executable, "-m", *("snakemake", *run.command(*arguments)[1:])]
    path = os.pathsep.join([str(programs), "/usr/sbin", "/usr/bin", "/sbin", "/bin"])
    done = subprocess.run(
        command,
        cwd=run.folder,
        env=environment(PATH=path, **more),
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_apptainer_runs_the_rules_in_the_image(image: Image, outside: Run, tmp_path: Path) -> None:
    run, prefix = tiny_run(tmp_path / "run"), tmp_path / "images"
    prefix.mkdir()
    built = prefix / f"{hashlib.md5(CONTAINER.encode()).hexdigest()}.simg"
    values = ["--build-arg-file", str(image.folder / "image.env")]
    subprocess.run(
        [HERE / "bin/apptainer", "build", *values, built, ROOT / "envs/parfocal.def"],
        cwd=image.folder.parents[1],  # the definition says where the archive lies
        env=environment(),
        check=True,
        timeout=300,
    )
    sdm = ("--sdm", "apptainer", "--apptainer-prefix", str(prefix))
    snakemake(run, *sdm, f"--apptainer-args=--bind {ROOT}")  # where the workflow lies
    assert run.digests() == outside.digests()
    records = list(iter_records(run.results))
    assert {record.image_digest for record in records} == {image.names["PARFOCAL_IMAGE_DIGEST"]}
    assert {record.container_id for record in records} == {image.id}


def test_conda_makes_an_environment_that_has_parfocal(outside: Run, tmp_path: Path) -> None:
    run, base = tiny_run(tmp_path / "run"), tmp_path / "base"
    (base / "bin").mkdir(parents=True)
    (base / "bin/activate").write_text('. "$1/bin/activate"\n', encoding="utf-8")
    prefix = tmp_path / "environments"
    sdm = ("--sdm", "conda", "--conda-prefix", str(prefix))
    snakemake(run, *sdm, CONDA_STAND_IN=str(base))
    assert run.digests() == outside.digests()
    assert all(record.unlocked == {} for record in iter_records(run.results))
    (made,) = prefix.glob("*/bin/parfocal")
    assert made.is_file()
    shutil.rmtree(prefix)  # more than a gigabyte
