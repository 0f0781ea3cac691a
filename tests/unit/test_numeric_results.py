"""Results of learned models agree, or do not, though their digests differ."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from onnx_networks import blur
from parfocal.analysis.models import probability
from parfocal.cli.compare_runs import report_comparison
from parfocal.cli.repeat_run import agree_by_data
from parfocal.engine.repeat import agreement
from parfocal.engine.repeat.agreement import Findings, Side, compare_repeated
from parfocal.errors import VerificationError
from parfocal.provenance.compare_runs import compare_crates
from parfocal.provenance.read_crate import read_crate
from parfocal.provenance.read_crate_newest import newest_attempts
from parfocal.provenance.verify_places import Places
from parfocal.steps.segment_objects import STEP
from verified_runs import flip, make_run

LABELS = "images/a/labels/nuclei.ome.zarr"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return three runs by one model, of processors that round otherwise, and one by none."""
    folder = tmp_path_factory.mktemp("runs")
    model = {"method": "onnx", "path": str(blur(folder / "model.onnx")), "halo_px": 4}
    exact = probability.to_probability
    with pytest.MonkeyPatch.context() as patch:
        for name, change in (
            ("first", lambda p: p),
            ("near", lambda p: np.roll(p, 1, axis=-1)),
            ("far", lambda p: 1 - p),
        ):
            patch.setattr(
                probability, "to_probability", lambda *given, change=change: change(exact(*given))
            )
            make_run(folder / name, model=model)
        blur(folder / "model.onnx", weights=(0.999999,))
        make_run(folder / "retrained", model=model)
    make_run(folder / "otsu")
    return folder


@pytest.fixture
def runs(made, tmp_path):
    return shutil.copytree(made, tmp_path / "runs")


def compare(runs, first, second):
    sides = []
    for name in (first, second):
        results = runs / name / "results"
        sides.append(Side(read_crate(results / "run-crate"), Places(results, {})))
    found = compare_crates(sides[0].crate, sides[1].crate)
    more = compare_repeated(*sides, found, 2)
    return found, more.agreements, more.explained


def test_borders_that_moved_a_little_agree(runs):
    found, (agreement,), explained = compare(runs, "first", "near")
    assert found.differing > 1  # the tables, too
    assert (agreement.image_id, agreement.step) == ("a", "segment-objects nuclei")
    assert agreement.f1 == 1
    assert agreement.least == pytest.approx(0.99)
    assert agreement.holds
    assert explained


def test_other_objects_do_not_agree(runs):
    _, (agreement,), explained = compare(runs, "first", "far")
    assert agreement.f1 < agreement.least
    assert not agreement.holds
    assert not explained


def test_another_model_is_no_matter_of_tolerance(runs):
    found, agreements, explained = compare(runs, "first", "retrained")
    (row,) = [row for row in found.rows if row.what == "model_digest"]
    assert row.kind == "version"
    assert found.differing > 0
    assert (agreements, explained) == ([], False)


def test_equal_runs_need_no_agreement(runs):
    found, agreements, explained = compare(runs, "first", "first")
    assert (found.differing, agreements, explained) == (0, [], False)


def test_what_is_exact_has_no_tolerance(runs):
    results = runs / "otsu" / "results"
    side = Side(read_crate(results / "run-crate"), Places(results, {}))
    row = SimpleNamespace(kind="result", what="segment-objects nuclei: labels", images=("a",))
    assert compare_repeated(side, side, SimpleNamespace(rows=[row]), 1) == Findings()


def test_a_threshold_has_no_tolerance_though_its_image_was_made_by_a_model(runs, monkeypatch):
    """Label images that agree, and that differ although what they were made from does not."""
    first, other = (Path(runs / name / "results") for name in ("first", "near"))
    sides = [Side(read_crate(one / "run-crate"), Places(one, {})) for one in (first, other)]
    found = compare_crates(*(side.crate for side in sides))
    assert compare_repeated(*sides, found, 1).explained
    settings = agreement.settings_of
    monkeypatch.setattr(
        agreement,
        "settings_of",
        lambda *given: [pair for pair in settings(*given) if not pair[0].startswith("model.")],
    )
    attempts = [{(a.step + t, a.image_id): a for a, t in newest_attempts(s.crate)} for s in sides]
    monkeypatch.setattr(Side, "numeric", lambda side: attempts[sides.index(side)])
    more = compare_repeated(*sides, found, 1)
    assert (more.agreements, more.explained) == ([], False)


def test_one_run_by_a_model_and_one_by_none_do_not_agree(runs):
    _, agreements, explained = compare(runs, "first", "otsu")
    assert (agreements, explained) == ([], False)


def test_a_result_that_no_model_touched_is_no_matter_of_tolerance(runs):
    other = runs / "near" / "results"
    found, _, explained = compare(runs, "first", "near")
    assert explained
    rows = (*found.rows, SimpleNamespace(kind="result", what="convert-image: image", images=("a",)))
    first = runs / "first" / "results"
    sides = [Side(read_crate(one / "run-crate"), Places(one, {})) for one in (first, other)]
    assert not compare_repeated(*sides, SimpleNamespace(rows=rows), 1).explained


def test_what_was_made_from_equal_labels_must_be_equal(runs):
    row = SimpleNamespace(kind="result", what="measure-objects nuclei: table", images=("a",))
    first, other = (Path(runs / name / "results") for name in ("first", "near"))
    sides = [Side(read_crate(one / "run-crate"), Places(one, {})) for one in (first, other)]
    found = compare_repeated(*sides, SimpleNamespace(rows=[row]), 1)
    assert (found.derived, found.explained) == ([], False)


@pytest.mark.parametrize("change", ["gone", "changed", "damaged"])
def test_labels_that_are_not_there_as_they_were_are_not_compared(runs, change):
    labels = runs / "first" / "results" / LABELS
    if change == "gone":
        shutil.rmtree(labels)
    elif change == "changed":
        shutil.rmtree(labels)
        shutil.copytree(runs / "near" / "results" / LABELS, labels)
    else:
        flip(labels / "zarr.json")
    _, (agreement,), explained = compare(runs, "first", "near")
    assert agreement.f1 is None
    assert ("not here" if change == "gone" else "changed") in agreement.reason
    assert not explained


def test_the_step_says_with_what_it_is_numeric():
    assert not STEP.exactness.is_exact
    assert STEP.exactness.is_numeric_with([("channel", "0"), ("model.method", "onnx")])
    assert not STEP.exactness.is_numeric_with([("model", "null"), ("modelling", "1")])


@pytest.mark.parametrize("second", ["near", "far", "first"])
def test_the_command_tells_how_well_they_agree(runs, second, capsys):
    first, report = runs / "first" / "results", runs / "report.json"
    made = runs / second / "results" / "run-crate"

    def tell():
        agree = agree_by_data(Places(first, {}), made, 2)
        return report_comparison(first / "run-crate", made, report, agree)

    if second == "far":
        with pytest.raises(VerificationError, match="results differ"):
            tell()
    else:
        assert tell() == (second == "first")
    printed = capsys.readouterr().out.splitlines()
    lines = [line for line in printed if line.startswith("agreement")]
    told = json.loads(report.read_text())["agreements"]
    if second == "first":
        assert (lines, told) == ([], [])
        return
    assert [one["holds"] for one in told] == [second == "near"]
    expected = "F1 1.0000 >= 0.99" if second == "near" else "F1 0.0000 < 0.99"
    derived = (
        "agreement  measure-objects nuclei  made from label images that differ, and not compared"
    )
    assert lines == [
        f"agreement  segment-objects nuclei: labels  {expected}  (a)",
        *([f"{derived}  (a)"] if second == "near" else []),
    ]
