"""Small real runs: failures, repairs, changes of the sheet, odd names, killed processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from parfocal.provenance.records import iter_attempts, iter_records
from rules.runs import Run, environment, nothing_to_do, write_labels

ODD = "wörk [dir] 'q' \"Q\" $HOME (1)"
ODD_FILE = "sp ace [1] {x} <y> 'q\" $HOME µ;&.tif"


class Story:
    """What happened in a folder, run after run."""

    def __init__(self, folder: Path) -> None:
        self.run = run = Run(folder)
        run.add_image("plain")
        run.add_image("odd", ODD_FILE)
        write_labels(folder / "in/truth.tif")
        damaged = run.add_image("damaged", ground_truth="in/truth.tif")
        whole = damaged.read_bytes()
        damaged.write_bytes(whole[: len(whole) // 2])
        self.failed = run.snakemake("--quiet", "host", "reason", "rules")  # as 'make demo' does
        self.failed_outcomes = {
            step: run.outcomes(step) for step in ("fetch_image", "convert_image", "measure_objects")
        }
        self.failed_report = (run.results / "report.html").read_text(encoding="utf-8")
        self.failed_crate = run.results / "run-crate/ro-crate-metadata.json"
        self.failed_graph = json.loads(self.failed_crate.read_text(encoding="utf-8"))["@graph"]
        self.failed_check = (run.results / "logs/check_outcomes.log").read_text(encoding="utf-8")
        self.attempts_before = run.attempts()
        damaged.write_bytes(whole)
        self.repaired = run.snakemake()
        self.attempts_repaired = run.attempts()
        self.third = run.snakemake()


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("story") / ODD
    folder.mkdir()
    return Story(folder)


def test_a_failed_image_does_not_stop_the_others(story: Story) -> None:
    convert = {"plain": "done", "odd": "done", "damaged": "failed"}
    assert story.failed_outcomes["fetch_image"] == dict.fromkeys(convert, "done")
    assert story.failed_outcomes["convert_image"] == convert
    assert story.failed_outcomes["measure_objects"] == convert | {"damaged": "skipped"}
    assert (story.run.results / "images/odd/tables/nuclei.parquet").exists()


def test_a_run_with_a_failed_image_ends_red_and_says_which(story: Story) -> None:
    assert story.failed.returncode != 0
    for told in (story.failed_check, story.failed.stderr):
        assert "damaged (convert-image): The TIFF ends before" in told
        assert "1 of 3 images failed" in told


def test_report_and_crate_tell_of_the_failure(story: Story) -> None:
    assert "The TIFF ends before" in story.failed_report
    failed = [
        entity
        for entity in story.failed_graph
        if str(entity.get("actionStatus", "")).endswith("FailedActionStatus") and "error" in entity
    ]
    assert any("damaged" in json.dumps(entity) for entity in failed)
    assert not (story.run.results / "report.partial.html").exists()


def test_the_next_run_redoes_only_what_failed(story: Story) -> None:
    assert story.repaired.returncode == 0, story.repaired.stderr
    again = {
        name.partition("/")[2]
        for name, count in story.attempts_repaired.items()
        if count != story.attempts_before.get(name)
    }
    assert again == {"damaged"}
    assert story.attempts_repaired["convert_image/damaged"] == 2
    assert story.attempts_repaired["segment_objects/damaged"] == 1
    assert story.run.outcomes("measure_objects")["damaged"] == "done"


def test_the_third_run_has_nothing_to_do(story: Story) -> None:
    assert nothing_to_do(story.third), story.third.stderr


def test_changes_of_the_sheet_redo_nothing_else(story: Story) -> None:
    run = story.run
    before = run.attempts()
    run.rows = [row for row in reversed(run.rows) if row.image_id != "plain"]
    run.add_image("new")
    # As if the images had failed in an optional step that is no longer configured.
    left_over = run.results / "outcomes/filter_image/0.json"
    left_over.parent.mkdir()
    outcome = (run.results / "outcomes/convert_image/0.json").read_text(encoding="utf-8")
    left_over.write_text(outcome.replace('"done"', '"failed"'), encoding="utf-8")
    done = run.snakemake()
    assert done.returncode == 0, done.stderr
    new = {name: count for name, count in run.attempts().items() if before.get(name) != count}
    assert {name.partition("/")[2] for name in new} == {"new"}
    assert set(new.values()) == {1}
    assert nothing_to_do(run.snakemake())


def test_records_say_what_ran_them(story: Story) -> None:
    records = list(iter_records(story.run.results))
    assert {record.engine.name for record in records} == {"snakemake"}
    assert all(record.engine.version for record in records)
    assert all((record.lock_digest or "").startswith("sha256:") for record in records)
    assert all(record.commit for record in records)


def test_parameters_and_an_optional_step_redo_what_depends_on_them(story: Story) -> None:
    run = story.run
    before = run.attempts()
    run.config = ["filter_image={}"]
    done = run.snakemake()
    run.config = []
    assert done.returncode == 0, done.stderr
    new = {name for name, count in run.attempts().items() if before.get(name) != count}
    steps = {name.partition("/")[0] for name in new}
    assert {"filter_image", "segment_objects"} <= steps
    assert not steps & {"fetch_image", "convert_image", "assess_quality"}
    segmented = next(iter_attempts(run.results, "segment_objects", "new"))[1]
    assert segmented.inputs[0].uri.endswith("filtered.ome.zarr")


def inject(folder: Path, code: str) -> dict[str, str]:
    """Return an environment in which every Python process runs `code` first."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(code, encoding="utf-8")
    return {"PYTHONPATH": str(folder)}


KILL_WORKER = """
import os, sys
if "segment-objects" in sys.argv:
    from parfocal.steps import segment_objects
    run = segment_objects.STEP.run
    def dies(inputs, outputs, params, context):
        if context.image_id == "b":
            os.kill(os.getpid(), 9)
        run(inputs, outputs, params, context)
    object.__setattr__(segment_objects.STEP, "run", dies)
"""

KILL_JOB = """
import os, sys
if "measure-objects" in sys.argv:
    os.kill(os.getpid(), 9)
"""


@pytest.fixture
def three(tmp_path: Path) -> Run:
    run = Run(tmp_path)
    for image_id in "abc":
        run.add_image(image_id)
    return run


def test_a_killed_worker_costs_one_image(three: Run) -> None:
    done = three.snakemake(**inject(three.folder / "site", KILL_WORKER))
    assert done.returncode != 0
    assert "b (segment-objects): The worker died" in done.stderr
    assert three.outcomes("segment_objects") == {"a": "done", "b": "failed", "c": "done"}
    assert three.outcomes("assemble_image") == {"a": "done", "b": "skipped", "c": "done"}
    assert (three.results / "report.html").exists()
    assert three.snakemake().returncode == 0
    assert three.outcomes("segment_objects") == dict.fromkeys("abc", "done")


def test_a_killed_job_leaves_a_partial_report(three: Run) -> None:
    done = three.snakemake(**inject(three.folder / "site", KILL_JOB))
    assert done.returncode != 0
    assert not (three.results / "report.html").exists()
    assert "<html" in (three.results / "report.partial.html").read_text(encoding="utf-8")
    assert three.outcomes("assemble_image") == dict.fromkeys("abc", "done")
    assert three.snakemake().returncode == 0
    assert not (three.results / "report.partial.html").exists()


def test_a_killed_run_is_taken_up_again(three: Run) -> None:
    assert three.snakemake().returncode == 0
    undisturbed = three.digests()
    shutil.rmtree(three.results)
    shutil.rmtree(three.folder / ".snakemake")
    process = subprocess.Popen(
        three.command(),
        cwd=three.folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for(three.results / "logs/segment_objects/0.log", process)
    finally:
        # Snakemake alone: its job goes on as an orphan, and has leases.
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    refused = three.snakemake()
    assert refused.returncode != 0
    assert "unlock" in refused.stderr
    assert three.snakemake("--unlock").returncode == 0
    done = three.snakemake()
    assert done.returncode == 0, done.stderr
    assert three.digests() == undisturbed
    assert not list(three.results.glob("images/**/*.partial"))
    assert not list(three.results.glob("images/**/*.lease*"))


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    for _ in range(2400):
        if path.exists():
            return
        assert process.poll() is None, "the run ended before it was killed"
        time.sleep(0.05)
    pytest.fail(f"{path} did not appear")


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("segment_objects={chanel: 1}", ["key segment_objects.chanel", "did you mean 'channel'"]),
        ("sheet=bad.tsv", ["bad.tsv, row 3, column image_id", "a/b"]),
    ],
)
def test_what_the_user_wrote_is_checked_before_anything_runs(
    tmp_path: Path, config: str, told: list[str]
) -> None:
    run = Run(tmp_path, config=[config])
    run.add_image("a")
    (tmp_path / "bad.tsv").write_text("image_id\tsource\na\tx\na/b\ty\n", encoding="utf-8")
    done = run.snakemake()
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    for text in told:
        assert text in done.stderr
    assert not run.results.exists()
