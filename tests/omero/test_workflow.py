"""From images on a server, by the workflow, to annotations on them; and back."""

from __future__ import annotations

import io
import json
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ezomero
import numpy as np
import pytest
from tests.omero.server.control import Control

from omero_objects import dataset, save
from omero_process import OwnServer, RealServer
from omero_state import held
from parfocal.models.annotation_entries import (
    BULK_NAMESPACE,
    CLIENT_NAMESPACE,
    FILE_NAMESPACE,
    RUN_NAMESPACE,
)
from parfocal.models.sheet import read_sheet
from rules.runs import SQUARES, Run, environment, program

QUIET = ("--quiet", "host", "reason", "rules")
WRITES = (("IUpdate", "*"), ("IPixels", "create*"), ("RawFileStore", "write"), ("Table", "addData"))
WRITES = (*WRITES, ("RawPixelsStore", "set*"), ("ServiceFactory", "submit"))
NAMES = ("cells 🧫", "more cells")


def parfocal(*arguments: str, cwd: Path) -> None:
    """Run a command of Parfocal's."""
    done = subprocess.run(
        [program("parfocal"), *arguments],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def uploaded(alice: Any) -> tuple[int, list[int]]:
    """A dataset with two images of three squares each, one with key-value pairs."""
    made = save(alice, dataset("a study")).id.val
    within = alice.getObject("Dataset", made)
    images = []
    for seed, name in enumerate(NAMES):
        plane = np.random.default_rng(seed).poisson(20, (64, 64)).astype(np.uint16)
        for square in SQUARES:
            plane[square] += 500
        image = alice.createImageFromNumpySeq(iter([plane]), name, 1, 1, 1, dataset=within)
        images.append(int(image.getId()))
    ezomero.post_map_annotation(alice, "Image", images[0], {"drug": "taxol"}, CLIENT_NAMESPACE)
    return made, images


def writes(server: RealServer, since: int) -> list[Any]:
    """Return the calls that wrote after one; none of a real server, which does not tell them."""
    if not isinstance(server, OwnServer):
        return []
    control = Control(server.faults)
    return [call for each in WRITES for call in control.journal(*each, since=since)]


def by_namespace(gateway: Any, kind: str, number: int, namespace: str) -> list[Any]:
    """Return the annotations of a namespace on an object."""
    return list(gateway.getObject(kind, number).listAnnotations(ns=namespace))


def check_image(gateway: Any, number: int, run: Run) -> None:
    """Look at an annotated image by plain omero-py and ezomero."""
    (pairs,) = by_namespace(gateway, "Image", number, RUN_NAMESPACE)
    told = ezomero.get_map_annotation(gateway, pairs.getId())
    plan = json.loads((run.results / "annotation-plan.json").read_text("utf-8"))
    assert told["Run"] == plan["run_id"]
    assert told["Workflow"] == "analyse_images"
    rois = gateway.getRoiService().findByImage(number, None).rois
    (file,) = by_namespace(gateway, "Image", number, BULK_NAMESPACE)
    table = ezomero.get_table(gateway, file.getId())
    assert len(table) == len(rois) == len(SQUARES)
    assert set(table.Roi) == {roi.id.val for roi in rois}
    boxes = {
        tuple(int(each.val) for each in (mask.y, mask.x, mask.height, mask.width))
        for roi in rois
        for mask in roi.copyShapes()
    }
    expected = {(y.start, x.start, y.stop - y.start, x.stop - x.start) for y, x in SQUARES}
    assert boxes == expected


def check_verification(run: Run, gateway: Any, number: int) -> None:
    """Let the workflow find pairs that are gone, and mend it."""
    verification = run.results / "annotation-verification.json"
    assert json.loads(verification.read_text("utf-8"))["verdict"] == "verified"
    (pairs,) = by_namespace(gateway, "Image", number, RUN_NAMESPACE)
    gateway.deleteObjects("Annotation", [pairs.getId()], wait=True)
    failed = run.snakemake("--forcerun", "verify_annotations")
    assert failed.returncode != 0
    told = json.loads(verification.read_text("utf-8"))
    assert told["verdict"] == "different"
    assert f"/image/{number}, key-values {RUN_NAMESPACE}: " in told["differences"][0]
    mended = run.snakemake("--forcerun", "apply_annotations")
    assert mended.returncode == 0, mended.stderr
    assert json.loads(verification.read_text("utf-8"))["verdict"] == "verified"


def test_from_images_on_a_server_to_annotations_and_back(
    uploaded: tuple[int, list[int]],
    gateway: Callable[..., Any],
    server: RealServer,
    root: Any,
    logged_in: str,
    tmp_path: Path,
) -> None:
    parent, images = uploaded
    before = held(root)
    source = f"source={logged_in}/dataset/{parent}"
    parfocal("list-images", "--set", source, "--sheet", "samples.tsv", cwd=tmp_path)
    run = Run(tmp_path, read_sheet(tmp_path / "samples.tsv"), ["annotate={enabled: true}"])
    assert [row.name for row in run.rows] == list(NAMES)

    done = run.snakemake(*QUIET)
    assert done.returncode == 0, done.stderr
    alice = gateway("alice")
    for number in images:
        check_image(alice, number, run)
    assert ezomero.get_map_annotation(
        alice, by_namespace(alice, "Image", images[0], CLIENT_NAMESPACE)[0].getId()
    ) == {"drug": "taxol"}
    (crate,) = by_namespace(alice, "Dataset", parent, FILE_NAMESPACE)
    with zipfile.ZipFile(io.BytesIO(b"".join(crate.getFileInChunks()))) as pack:
        attached = pack.read("ro-crate-metadata.json")
    assert attached == (run.results / "run-crate/ro-crate-metadata.json").read_bytes()
    after = held(root)

    last = Control(server.faults).last() if isinstance(server, OwnServer) else 0
    again = run.snakemake()
    assert again.returncode == 0, again.stderr
    assert writes(server, last) == []
    assert held(root) == after

    # To record the run again changes nothing of the crate, and so nothing on the server.
    again = run.snakemake("--forcerun", "record_run")
    assert again.returncode == 0, again.stderr
    assert writes(server, last) == []
    assert len(list((run.results / "records/apply_annotations/_run").glob("*.json"))) == 2
    assert held(root) == after
    check_verification(run, alice, images[0])

    results = ("--results", "results", "--plan", "results/annotation-plan.json")
    parfocal("revert-annotations", *results, "--receipt", "reverted.json", cwd=tmp_path)
    assert held(root) == before
