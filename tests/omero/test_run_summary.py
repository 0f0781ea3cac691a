"""What tells of the run on a server, in the namespaces that OMERO and OMERO.web know by name."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import ezomero
import pytest

from omero_objects import dataset, save, upload_image
from parfocal.core.digest import digest_path
from parfocal.core.step import Context
from parfocal.models.sheet import read_sheet, write_sheet
from parfocal.steps import apply_annotations, plan_annotations, verify_annotations
from report_results import STEPS, build_results

COMMIT = hashlib.sha1(b"a commit", usedforsecurity=False).hexdigest()
CRATE = b'{"@graph": [{"@id": "./"}]}'

PARAMS = {
    "key_values": {"columns": ["drug"]},
    "rating_column": "stars",
    "tags": [{"name": "summed up", "tag_set": "Parfocal summaries"}],
}


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results folder whose records know a commit, with a run crate."""
    monkeypatch.setattr("parfocal.steps.STEPS", STEPS)
    folder = tmp_path / "results"
    build_results(folder)
    for path in (folder / "records").rglob("*.json"):
        record = json.loads(path.read_text("utf-8"))
        path.write_text(json.dumps(record | {"commit": COMMIT}), "utf-8")
    (folder / "run-crate").mkdir(exist_ok=True)
    (folder / "run-crate/ro-crate-metadata.json").write_bytes(CRATE)
    return folder


@pytest.fixture
def annotated(results: Path, tmp_path: Path, alice: Any, logged_in: str) -> tuple[int, int]:
    """An image and a dataset on a server, annotated with the results of the image ``cells``."""
    image, parent = upload_image(alice), save(alice, dataset("summed up")).id.val
    rows = [row for row in read_sheet(results / "samples.tsv") if row.image_id == "cells"]
    more = {
        "omero": f"{logged_in}/image/{image}",
        "omero_container": f"{logged_in}/dataset/{parent}",
    }
    sheet, plan = tmp_path / "samples.tsv", tmp_path / "plan.json"
    more |= {"drug": "taxol", "stars": "4"}
    write_sheet(sheet, [row.model_copy(update=more) for row in rows])
    context = Context(scratch=tmp_path)
    params = plan_annotations.PlanAnnotationsParams.model_validate(PARAMS)
    inputs = {"results": results, "sheet": sheet}
    inputs["workflow"] = tmp_path / "analyse_images" / "Snakefile"
    plan_annotations.STEP.run(inputs, {"plan": plan}, params, context)
    inputs = {"results": results, "plan": plan}
    for step, output in ((apply_annotations, "receipt"), (verify_annotations, "verification")):
        step.STEP.run(inputs, {output: tmp_path / output}, step.STEP.params(), context)
    return image, parent


def of_namespace(gateway: Any, kind: str, number: int, namespace: str) -> Any:
    """Return the one annotation of a namespace on an object."""
    (found,) = gateway.getObject(kind, number).listAnnotations(ns=namespace)
    return found


def test_an_image_has_a_summary_of_the_run(
    annotated: tuple[int, int], results: Path, tmp_path: Path, alice: Any
) -> None:
    image, _ = annotated
    pairs = of_namespace(alice, "Image", image, "parfocal.readthedocs.io/run")
    told = ezomero.get_map_annotation(alice, pairs.getId())
    plan = json.loads((tmp_path / "plan.json").read_text("utf-8"))
    assert list(told) == ["Run", "Workflow", "Commit", "Made by", "Image", "Run crate"]
    assert told["Run"] == plan["run_id"] != ""
    assert told["Workflow"] == "analyse_images"
    assert told["Commit"] == COMMIT
    assert told["Image"] == "cells"
    assert told["Run crate"] == digest_path(results / "run-crate")


def test_the_crate_is_attached_to_the_container_of_the_image(
    annotated: tuple[int, int], alice: Any
) -> None:
    image, parent = annotated
    crate = of_namespace(alice, "Dataset", parent, "parfocal.readthedocs.io/file")
    assert crate.getFile().getName() == "run-crate.zip"
    with zipfile.ZipFile(io.BytesIO(b"".join(crate.getFileInChunks()))) as pack:
        assert pack.namelist() == ["ro-crate-metadata.json"]
        assert pack.read("ro-crate-metadata.json") == CRATE
    there = alice.getObject("Image", image).listAnnotations(ns="parfocal.readthedocs.io/file")
    assert list(there) == []


def test_what_omero_knows_by_a_namespace_has_it(annotated: tuple[int, int], alice: Any) -> None:
    image, _ = annotated
    pairs = of_namespace(alice, "Image", image, "openmicroscopy.org/omero/client/mapAnnotation")
    assert pairs.getValue() == [("drug", "taxol")]
    rating = of_namespace(alice, "Image", image, "openmicroscopy.org/omero/insight/rating")
    assert rating.getValue() == 4
    file = of_namespace(alice, "Image", image, "openmicroscopy.org/omero/bulk_annotations")
    assert file.getFile().getMimetype() == "OMERO.tables"
    table = ezomero.get_table(alice, file.getId())
    assert set(table.Image) == {image}
    (tag,) = alice.getObjects("TagAnnotation", attributes={"textValue": "summed up"})
    query = "select l.parent from AnnotationAnnotationLink l where l.child.id = :id"
    parameters = parameters_of(tag.getId())
    (parent,) = alice.getQueryService().findAllByQuery(query, parameters)
    assert parent.ns.val == "openmicroscopy.org/omero/insight/tagset"
    assert parent.textValue.val == "Parfocal summaries"


def parameters_of(number: int) -> Any:
    """Return the parameters of a query for an id."""
    from omero.sys import ParametersI

    return ParametersI().addId(number)
