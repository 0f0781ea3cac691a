"""The workflow makes the same bytes in the container as outside, and its records name the image."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest
from tests.containers.images import Image

from parfocal.core.digest import digest_path
from parfocal.provenance.records import iter_records
from rules.runs import ROOT, Run
from same_runs import CONTAINER, crate_copies, crate_facts, report_text, result_files

pytestmark = pytest.mark.timeout(1900)  # the first test waits until the image is built


def test_outputs_have_the_digests_of_those_made_outside(inside: Run, outside: Run) -> None:
    made = outside.digests()
    assert {name.split("/")[1] for name in made} >= {"blobs", "cells", "cells-zarr"}
    assert inside.digests() == made


def test_files_report_and_crate_are_those_made_outside(inside: Run, outside: Run) -> None:
    assert result_files(inside.results) == result_files(outside.results)
    assert report_text(inside.results) == report_text(outside.results)
    assert crate_copies(inside.results) == crate_copies(outside.results)
    here, there = (crate_facts(run.results, CONTAINER) for run in (inside, outside))
    assert here == there
    assert len(here) > 200


def test_the_digests_are_those_of_what_lies_there(inside: Run) -> None:
    for image_id in ("blobs", "cells", "cells-zarr"):
        labels = inside.results / f"images/{image_id}/labels/nuclei.ome.zarr"
        told = inside.digests()[f"segment_objects/{image_id}/labels"]
        assert digest_path(labels) == told


def test_records_name_the_image_the_commit_and_the_lock_file(inside: Run, image: Image) -> None:
    records = list(iter_records(inside.results))
    assert {record.image_digest for record in records} == {image.names["PARFOCAL_IMAGE_DIGEST"]}
    assert {record.container_id for record in records} == {image.id}
    assert {record.commit for record in records} == {image.commit}
    lock = ["git", "-C", ROOT, "show", f"{image.commit}:envs/workflow.lock.txt"]
    digest = hashlib.sha256(subprocess.check_output(lock)).hexdigest()
    assert {record.lock_digest for record in records} == {f"sha256:{digest}"}
    assert all(record.unlocked == {} for record in records)


def test_the_run_crate_names_the_image(inside: Run, image: Image) -> None:
    crate = inside.results / "run-crate/ro-crate-metadata.json"
    graph = json.loads(crate.read_text(encoding="utf-8"))["@graph"]
    (container,) = (entity for entity in graph if entity["@type"] == "ContainerImage")
    assert container["identifier"] == [image.names["PARFOCAL_IMAGE_DIGEST"], image.id]


def test_one_step_runs_in_it(inside: Run, image: Image, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    source = inside.results / "images/blobs/filtered.ome.zarr"  # in which the run found objects
    volumes = ("--volume", f"{source}:/in:ro", "--volume", f"{tmp_path}:/work")
    step = ("parfocal", "segment-objects", "--image", "/in", "--labels", "labels.ome.zarr")
    params = json.dumps({"channel": 0})
    image.run(*step, "--params", params, options=volumes)
    made = inside.digests()["segment_objects/blobs/labels"]
    assert digest_path(tmp_path / "labels.ome.zarr") == made
