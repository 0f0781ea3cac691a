"""What the report reads of a results folder: states, findings, parameters, software."""

from __future__ import annotations

import json

import pytest

from parfocal.errors import InputError
from parfocal.models.outcome import ImageOutcome, Outcome
from parfocal.models.record import Failure
from parfocal.provenance.records import iter_records
from parfocal.report.content import Seams, State
from parfocal.report.results import RunResults
from report_results import record

STEPS = ("convert-image", "segment-objects", "assess-quality", "score-objects")


class Folder:
    """A results folder with its steps, and the warnings that reading it gave."""

    def __init__(self, path):
        self.path = path
        self.warnings = []

    def read(self, *image_ids):
        records = iter_records(self.path)
        return RunResults(self.path, STEPS, image_ids or ("a",), records, self.warnings.append)

    def outcome(self, step, batch=0, **statuses):
        images = [
            ImageOutcome(image_id=i, status=s)
            if isinstance(s, str)
            else ImageOutcome(image_id=i, status=s[0], failed_step=s[1], error=s[2])
            for i, s in statuses.items()
        ]
        path = self.path / "outcomes" / step.replace("-", "_") / f"{batch}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Outcome(step=step, images=tuple(images)).model_dump_json())

    def record(self, step, image_id="a", **changes):
        record(self.path, step, image_id, **changes)

    def json(self, name, form, image_id="a", **content):
        path = self.path / "images" / image_id / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"format": f"parfocal-{form}-1", **content}))


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


FAILURE = Failure(type="InputError", message="broken: x.tif", exit_code=2)


SEAMS = {"p": 1e-5, "significant": True, "flat": 40, "flat_expected": 4.5, "near": 3}
SEAMS |= {"borders": "tiles"}


def test_the_seam_score_is_that_of_the_labels(folder):
    details = {"objects": 9, "seams": SEAMS}
    folder.record("segment-objects", parameters={"label_name": "cells"}, details=details)
    assert folder.read().findings("a", "cells").seams == Seams("tiles", 1e-5, True, 40, 4.5, 3)
    assert folder.read().findings("a", "nuclei").seams is None


def test_without_tiles_there_is_no_seam_score(folder):
    folder.record("segment-objects", details={"objects": 9})
    assert folder.read().findings("a", "nuclei").seams is None


def test_an_image_of_which_nothing_is_known_was_not_run(folder):
    assert folder.read().state("a") == State("not run")
    assert folder.read().step_lines() == ()


def test_an_image_is_done_when_all_its_steps_are(folder):
    for step in STEPS[:2]:
        folder.outcome(step, a="done")
    assert folder.read().state("a") == State("done")


def test_the_step_that_failed_tells_and_not_those_that_were_skipped(folder):
    folder.outcome("convert-image", a=("failed", "convert-image", "broken"), b="done")
    folder.outcome("segment-objects", a=("skipped", "convert-image", "broken"), b="done")
    results = folder.read("a", "b")
    assert results.state("a") == State("failed", "convert-image", "broken")
    assert results.state("b") == State("done")
    lines = {line.name: line.counts for line in results.step_lines()}
    assert lines["convert-image"] == {"failed": 1, "done": 1}
    assert lines["segment-objects"] == {"skipped": 1, "done": 1}


def test_without_outcomes_the_newest_record_tells(folder):
    folder.record("convert-image", status="failed", error=FAILURE)
    assert folder.read().state("a") == State("failed", "convert-image", "broken: x.tif")
    folder.record("convert-image", attempt=2)
    assert folder.read().state("a") == State("done")
    folder.record("segment-objects", status="started")
    state = folder.read().state("a")
    assert (state.status, state.step) == ("unfinished", "segment-objects")


def test_the_newest_record_decides_between_outcomes_that_disagree(folder):
    folder.outcome("convert-image", 0, a="done")
    folder.outcome("convert-image", 1, a=("failed", "convert-image", "broken"))
    folder.record("convert-image")
    assert folder.read().state("a").status == "done"
    folder.record("convert-image", attempt=2, status="failed", error=FAILURE)
    assert folder.read().state("a").status == "failed"


def test_images_and_steps_of_other_runs_are_left_out(folder):
    folder.outcome("convert-image", a="done", other="failed")
    folder.record("convert-image", "other", status="failed", error=FAILURE)
    folder.record("render-report", "a", status="started")
    results = folder.read()
    assert results.state("a") == State("done")
    assert [line.counts for line in results.step_lines()] == [{"done": 1}]


def test_findings_are_read(folder):
    folder.json("quality.json", "quality", channels=[{"channel": "DAPI", "noise": 2.0}], planes=[])
    folder.json(
        "scores/cells.json",
        "scores",
        ground_truth="t.tif",
        thresholds=[{"iou": 0.5, "f1": 0.9}, {"iou": 0.75, "f1": None}],
    )
    side = {"reader": "tifffile", "version": "1"}
    folder.json(
        "image.certificate.json",
        "certificate",
        verdict="verified",
        source=side,
        result={"reader": "zarr 3"},
    )
    folder.record("convert-image", warnings=("axes taken as Z",))
    findings = folder.read().findings("a", "cells")
    assert findings.quality[0]["channel"] == "DAPI"
    assert findings.f1 == {0.5: 0.9, 0.75: None}
    assert findings.verdict == "verified"
    assert findings.readers == ("tifffile 1", "zarr 3")
    assert findings.warnings == (("convert-image", "axes taken as Z"),)
    assert folder.read().software([findings]) == (
        "Parfocal 0.1.0",
        "snakemake 9.27.1",
        "tifffile 1",
        "zarr 3",
    )


def test_the_certificates_of_a_collection_are_read(folder):
    sides = [{"source": {"reader": name, "version": "1"}} for name in ("A", "B", "A")]
    folder.json("image.certificate.json", "certificates", verdict="verified", images=sides)
    folder.record("convert-image")
    findings = folder.read().findings("a", "cells")
    assert findings.verdict == "verified"
    assert findings.readers == ("A 1", "", "B 1")


def test_without_ground_truth_there_are_no_scores(folder):
    folder.json("scores/nuclei.json", "scores", ground_truth=None, thresholds=[])
    assert folder.read().findings("a", "nuclei").f1 == {}


def test_results_of_an_earlier_run_are_left_out_where_the_step_has_failed_since(folder):
    folder.json("quality.json", "quality", channels=[{"noise": 2.0}])
    assert folder.read().findings("a", "nuclei").quality
    folder.outcome("assess-quality", a=("failed", "assess-quality", "x"))
    assert not folder.read().findings("a", "nuclei").quality
    assert folder.warnings == []


def test_a_result_that_should_be_there_and_is_not_is_warned_of(folder):
    folder.outcome("assess-quality", a="done")
    results = folder.read()
    for _ in range(2):
        assert results.file("a", "assess-quality", "quality.json") is None
    assert folder.warnings == [
        "assess-quality is done for a, but its result is not there: quality.json"
    ]


@pytest.mark.parametrize("text", ["{", "[]", '{"format": "other-1"}', ""])
def test_a_damaged_result_is_an_input_error_that_names_it(folder, text):
    path = folder.path / "images/a/quality.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(InputError, match="A result cannot be read") as caught:
        folder.read().findings("a", "nuclei")
    assert caught.value.where == path


def test_a_damaged_outcome_is_an_input_error_that_names_it(folder):
    path = folder.path / "outcomes/convert_image/0.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"step": "convert-image"}')
    with pytest.raises(InputError, match=r"An outcome cannot be read.*0\.json.*images"):
        folder.read()


def test_images_are_grouped_by_the_parameters_that_they_ran_with(folder):
    for image_id in "abc":
        sigma = 2.0 if image_id == "b" else 1.0
        parameters = {"channel": "DAPI", "seeds": {"method": "none", "sigma_um": sigma}}
        folder.record("segment-objects", image_id, parameters=parameters)
    (line,) = folder.read("a", "b", "c").step_lines()
    assert [group.images for group in line.parameters] == [2, 1]
    assert line.parameters[0].values == (
        ("channel", "DAPI"),
        ("seeds.method", "none"),
        ("seeds.sigma_um", "1.0"),
    )
    assert line.versions == ("1",)
