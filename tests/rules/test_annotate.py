"""The workflow with images on an OMERO server: the plan of what goes back, in report and crate."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from parfocal.core.annotation_plan import complete_plan, read_plan
from parfocal.core.digest import digest_path
from parfocal.models.annotation_entries import FileAttachment, KeyValues
from rules.runs import Run, nothing_to_do

TARGET = "omero://omero.example.org/image/7"
Done = tuple[Run, list[subprocess.CompletedProcess[str]]]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    run = Run(
        tmp_path_factory.mktemp("annotate"), config=["annotate={enabled: true, apply: false}"]
    )
    run.add_image("here")
    run.add_image("there", omero=TARGET)
    run.config.append("label_name=cells")
    return run, [run.snakemake("--quiet", "host", "reason", "rules"), run.snakemake()]


def test_the_plan_is_made_once_and_names_the_results(done: Done) -> None:
    run, (first, again) = done
    assert first.returncode == 0, first.stderr
    assert nothing_to_do(again), again.stdout + again.stderr
    plan = read_plan(run.results / "annotation-plan.json")
    assert [target.target for target in plan.targets] == [TARGET]
    assert [one.image_id for one in plan.left_out] == ["here"]
    assert plan.workflow == "analyse_images"
    kinds = [entry.kind for entry in plan.targets[0].annotations]
    assert kinds == ["key-values", "rois", "table", "file"]
    for entry in plan.targets[0].annotations:
        for named in (getattr(entry, "file", None), getattr(entry, "labels", None)):
            if named is not None and named.digest is not None:
                assert "/cells." in named.path
                assert digest_path(run.results / named.path) == named.digest


def test_the_report_shows_the_plan_and_the_crate_records_it(done: Done) -> None:
    run, _ = done
    assert TARGET in (run.results / "report.html").read_text(encoding="utf-8")
    graph = json.loads((run.results / "run-crate/ro-crate-metadata.json").read_text("utf-8"))
    names = {entity.get("alternateName") for entity in graph["@graph"]}
    assert "annotation-plan.json" in names


def test_the_digest_of_the_crate_is_put_in_after_it_was_made(done: Done) -> None:
    run, _ = done
    plan = complete_plan(read_plan(run.results / "annotation-plan.json"), run.results)
    digest = digest_path(run.results / "run-crate")
    pairs, *_, crate = plan.targets[0].annotations
    assert isinstance(pairs, KeyValues)
    assert isinstance(crate, FileAttachment)
    assert pairs.pairs[-1] == ("Run crate", digest)
    assert crate.file.digest == digest


def test_without_the_key_nothing_is_planned(done: Done) -> None:
    run, _ = done
    config = [text for text in run.config if not text.startswith("annotate")]
    told = Run(run.folder, run.rows, config).snakemake("--dry-run", "--forceall")
    assert "plan_annotations" not in told.stdout
    assert "render_report" in told.stdout


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (["annotate={enabled: true}"], "There is nothing to log in to the OMERO server with"),
        (
            ["annotate={enabled: true, apply: false}", "plan_annotations={rating_column: stars}"],
            "not in the sample sheet: samples.tsv",
        ),
    ],
)
def test_a_dry_run_refuses_what_annotations_would_fail_of(
    config: list[str], told: str, tmp_path: Path
) -> None:
    run = Run(tmp_path, config=config)
    run.add_image("there", omero=TARGET)
    sessions = {"OMERO_SESSIONDIR": str(tmp_path / "none")}
    logins = dict.fromkeys(("OMERO_SESSION", "OMERO_USER", "OMERO_PASSWORD"), "")
    dry = run.snakemake("--dry-run", **logins, **sessions)
    assert dry.returncode != 0
    assert told in dry.stdout + dry.stderr
    assert not run.results.exists()


def test_a_folder_is_unlocked_where_there_is_nothing_to_log_in_with(tmp_path: Path) -> None:
    run = Run(tmp_path, config=["annotate={enabled: true}"])
    run.add_image("there", omero=TARGET)
    logins = dict.fromkeys(("OMERO_SESSION", "OMERO_USER", "OMERO_PASSWORD"), "")
    logins["OMERO_SESSIONDIR"] = str(tmp_path / "none")
    lock = tmp_path / ".snakemake/locks/0.output.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text("results/report.html\n", encoding="utf-8")
    unlocked = run.snakemake("--unlock", **logins)
    assert unlocked.returncode == 0, unlocked.stderr
    assert not lock.exists()
