"""Crates of records that are not all there, and what is told of them."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
from runcrate.report import dump_crate_actions

from crate_graphs import AGENT, read_graph, references
from crate_records import chain, failed, write_results
from parfocal.cli.main import main
from parfocal.cli.trace_object import trace_object
from parfocal.core.digest import digest_path
from parfocal.core.publish import write_json
from parfocal.core.step import Context
from parfocal.models.outcome import ImageOutcome, Outcome
from parfocal.provenance.crate_losses import warn_of_losses
from parfocal.provenance.lost_records import Loss
from parfocal.provenance.verify_graph import read_checked
from parfocal.steps.record_run import STEP, RecordRunParams
from rocrate_cache import findings, seed_cache
from verified_runs import edit_graph, make_run
from verifying import check

GALAXY = Path(__file__).parents[2] / "galaxy_tools/record_run/test-data"
PERSON = RecordRunParams(
    person_name=AGENT.person_name,
    person_orcid=AGENT.orcid,
    organization_name=AGENT.organization_name,
    organization_url=AGENT.organization_url,
    workflow_url="https://example.org/workflow",
)
LOST = (
    "No record tells how convert-image of a was done: its outcome says that it was, and "
    "records/convert_image/a/0001.json is not there"
)
FAILED = (
    "No record tells how segment-objects of b failed: records/segment_objects/b/0001.json is not "
    "there, and its outcome says only: No pixels in s3://bucket/b?token=REDACTED"
)
LOCAL_WORKFLOW = "The SoftwareApplication id SHOULD be an absolute URI"


def record_run(results, *roles):
    """Write the crate of a results folder; return its path and the warnings about records."""
    files = {"sheet": "samples.tsv", "workflow": "Snakefile", "config": "config.yaml"}
    inputs = {role: results / files[role] for role in ("sheet", *roles)}
    context = Context(scratch=results)
    crate = results / "run-crate"
    shutil.rmtree(crate, ignore_errors=True)
    STEP.run({"results": results, **inputs}, {"crate": crate}, PERSON, context)
    return crate, [one for one in context.warnings if "lock file" not in one], context.details


def lossy(results):
    """Write a run that lost the record of a conversion, and of a segmentation that failed."""
    records = [*chain("a", "/data/a.tif"), *chain("b", "/data/b.tif", 10)[:2]]
    write_results(results, records, "ab")
    told = {}
    for one in records:
        digests = {artifact.role: artifact.digest for artifact in one.outputs}
        done = ImageOutcome(image_id=one.image_id, status="done", digests=digests)
        told.setdefault(one.step, []).append(done)
    error = "No pixels in s3://bucket/b?token=abc"
    wrong = {"image_id": "b", "status": "failed", "failed_step": "segment-objects"}
    told["segment-objects"].append(ImageOutcome(**wrong, error=error))
    for step, images in told.items():
        path = results / "outcomes" / step.replace("-", "_") / "0.json"
        write_json(path, Outcome(step=step, images=tuple(images)).model_dump(mode="json"))


@pytest.fixture
def results(tmp_path):
    """Return the results folder of such a run."""
    lossy(tmp_path)
    (tmp_path / "records/convert_image/a/0001.json").unlink()
    return tmp_path


def test_a_lost_record_is_warned_of_with_its_place_and_what_to_do(results):
    _, warnings, details = record_run(results, "workflow", "config")
    lost, wrong = warnings
    assert lost.startswith(f"{LOST}. Restore it from a backup, or remove what the step made")
    assert wrong == f"{FAILED}. Run the step again"
    assert details["attempts_without_record"] == 2


def test_the_crate_says_that_it_is_incomplete(results):
    crate, _, _ = record_run(results, "workflow", "config")
    graph = read_graph(crate)
    assert graph["./"]["creativeWorkStatus"] == "Incomplete"
    comments = references(graph["./"]["comment"])
    assert comments == ["#lost/convert-image/a", "#unrecorded/segment-objects/b"]
    assert [graph[one]["text"] for one in comments] == [LOST, FAILED]
    (run,) = [one for name, one in graph.items() if name.startswith("#run/")]
    assert run["description"].endswith("Not complete: there is no record of convert-image of a.")
    assert run["actionStatus"] == "http://schema.org/FailedActionStatus"
    assert run["error"] == "Failed and not made good: b (segment-objects)"
    readme = (crate / "README.md").read_text(encoding="utf-8")
    first, _, second = readme.partition("## What failed without a record")
    assert "## Not complete: records are missing" in first
    assert f"- {LOST}\n" in first
    assert f"- {FAILED}\n" in second


def test_a_complete_crate_says_nothing_of_it(results):
    lossy(results)
    (results / "outcomes/segment_objects/0.json").unlink()
    crate, warnings, details = record_run(results, "workflow", "config")
    root = read_graph(crate)["./"]
    assert (warnings, "attempts_without_record" in details) == ([], False)
    assert not {"comment", "creativeWorkStatus"} & root.keys()
    assert "without a record" not in (crate / "README.md").read_text(encoding="utf-8")
    assert read_checked(crate).findings == []


@pytest.mark.parametrize("profile", ["provenance-run-crate", "process-run-crate"])
def test_the_crate_stays_valid(results, tmp_path, profile):
    workflow = profile == "provenance-run-crate"
    crate, _, _ = record_run(results, *(("workflow", "config") if workflow else ()))
    kinds = ("http://schema.org/SoftwareSourceCode", "https://bioschemas.org/ComputationalWorkflow")
    found = findings(crate, seed_cache(tmp_path / "cache"), "RECOMMENDED", profile)
    told = [f"RECOMMENDED {kind}: {LOCAL_WORKFLOW}" for kind in kinds]
    assert found == (told if workflow else [])
    text = io.StringIO()
    dump_crate_actions(crate, text)
    assert "action: #action/segment_objects/a/0001" in text.getvalue()


def test_the_same_losses_give_the_same_bytes(results):
    first = digest_path(record_run(results, "workflow")[0])
    assert digest_path(record_run(results, "workflow")[0]) == first


def test_reading_the_crate_finds_what_was_lost_and_not_what_failed(results):
    crate, _, _ = record_run(results, "workflow")
    assert read_checked(crate).findings == [f"not complete: {LOST}"]


def test_many_losses_are_counted(results):
    crate, _, _ = record_run(results)
    root = read_graph(crate)["./"]
    names = [f"#lost/convert-image/{number}" for number in range(40)]
    path = crate / "ro-crate-metadata.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["@graph"] += [{"@id": n, "@type": "Comment", "text": "Gone"} for n in names]
    write_json(path, document)
    found = read_checked(crate).findings
    assert (len(found), found[-1]) == (21, "and 21 more")
    assert root["creativeWorkStatus"] == "Incomplete"
    many = [Loss("s", str(n), f"records/s/{n}/0001.json", "unknown", "it") for n in range(30)]
    warnings = warn_of_losses(many, ["records/s/x/0001.json"])
    assert (len(warnings), warnings[-1]) == (21, "and 11 more records are missing or empty")


def test_an_empty_record_that_was_made_good_is_told_and_the_crate_is_complete(tmp_path):
    records = chain("a", "/data/a.tif")
    records[3] = records[3].model_copy(update={"attempt": 2})
    write_results(tmp_path, records, "a")
    (tmp_path / "records/measure_objects/a/0001.json").touch()
    crate, warnings, _ = record_run(tmp_path, "workflow")
    assert [one.partition(",")[0] for one in warnings] == [
        "records/measure_objects/a/0001.json is empty"
    ]
    assert read_checked(crate).findings == []


def test_a_failure_with_its_record_is_told_as_before(tmp_path):
    write_results(tmp_path, [failed("convert-image", "a", outputs=())], "a")
    crate, warnings, _ = record_run(tmp_path, "workflow")
    assert warnings == []
    assert "comment" not in read_graph(crate)["./"]


def test_a_failure_in_galaxy_is_in_the_crate(tmp_path, capsys):
    paths = sorted(GALAXY.glob("*.record.json")) + sorted(GALAXY.glob("*.quality.json"))
    listing, results, sheet = (tmp_path / name for name in ("list", "results", "s.tsv"))
    listing.write_text("".join(f"{path}\n" for path in paths), encoding="utf-8")
    command = ["collect-results", f"--listing={listing}", f"--folder={results}"]
    assert main([*command, f"--sheet={sheet}"]) == 0
    crate, workflow = tmp_path / "crate", GALAXY / "workflow.ga"
    command = ["record-run", f"--results={results}", f"--sheet={sheet}", f"--crate={crate}"]
    assert main([*command, f"--workflow={workflow}"]) == 0
    told = "No record tells how segment-objects of two failed: "
    assert told in capsys.readouterr().err
    assert told in (crate / "README.md").read_text(encoding="utf-8")
    (run,) = [one for name, one in read_graph(crate).items() if name.startswith("#run/")]
    assert run["error"] == "Failed and not made good: two (segment-objects)"
    assert read_checked(crate).findings == []


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return the results folder of a small real run by bare steps, which has no outcomes."""
    folder = tmp_path_factory.mktemp("run")
    make_run(folder)
    results = folder / "results"
    (results / "sheet.tsv").rename(results / "samples.tsv")
    return results


@pytest.fixture
def run(made, tmp_path):
    """Return a copy of it."""
    return shutil.copytree(made, tmp_path / "results")


def test_verify_run_fails_where_a_record_was_lost(run):
    crate, _, _ = record_run(run)
    assert check(crate)[0] == 0
    shutil.rmtree(run / "records/convert_image")
    crate, warnings, _ = record_run(run)
    (told,) = [one for one in warnings if "convert-image of a was done" in one]
    assert "records/convert_image/a/0001.json is not there" in told
    code, entries, report = check(crate)
    assert (code, report["verified"]) == (4, False)
    assert {entry["status"] for entry in entries.values()} == {"unchanged"}
    assert [one.partition(":")[0] for one in report["findings"]] == ["not complete"]
    edit_graph(crate, "#lost/convert-image/a", text="x" * 10**6)
    assert len(check(crate)[2]["findings"][0]) == 1000


@pytest.mark.parametrize("step", ["convert_image", "fetch_image", "segment_objects"])
def test_a_trace_says_where_records_end(run, capsys, step):
    place = {
        "convert_image": "images/a/image.ome.zarr",
        "fetch_image": "originals/a",
        "segment_objects": "images/a/labels/nuclei.ome.zarr",
    }[step]
    command = [str(run / "images/a/tables/nuclei.parquet"), "0", f"--json={run / 'trace.json'}"]
    assert trace_object(command) == 0
    assert "missing" not in capsys.readouterr().out
    shutil.rmtree(run / "records" / step)
    assert trace_object(command) == 0
    told = [one for one in capsys.readouterr().out.splitlines() if one.startswith("missing")]
    assert told == [f"missing  no record tells how {place} was made"]
    assert json.loads((run / "trace.json").read_text())["unrecorded"] == [place]
