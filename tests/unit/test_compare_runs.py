"""The command compare-runs: in what two runs differ."""

import json

import pytest

from crate_graphs import DIGEST, request_for, write_graph
from crate_records import artifact, chain, example_run, failed, record, segment, write_results
from parfocal.cli.compare_runs import compare_runs
from parfocal.errors import InputError, VerificationError
from parfocal.models.record import Engine
from parfocal.provenance.crate import write_crate
from verified_runs import pack, pack_in_folder

GALAXY = Engine(name="galaxy", version="26.1", job_id="7")


@pytest.fixture
def compare(tmp_path):
    """Return a function that compares two lists of records: exit code, rows, and the report."""

    def run(first, second, **changes):
        write_graph(tmp_path / "a", first)
        write_graph(tmp_path / "b", second, **changes)
        return outcome(tmp_path, tmp_path / "a" / "run-crate", tmp_path / "b" / "run-crate")

    return run


def outcome(folder, first, second):
    report = folder / "report.json"
    try:
        code = compare_runs([str(first), str(second), f"--json={report}"])
    except VerificationError as error:
        code = error.exit_code
    content = json.loads(report.read_text())
    rows = {
        (row["kind"], row["what"]): (row["first"], row["second"], *row["images"])
        for row in content["differences"]
    }
    assert len(rows) == len(content["differences"])
    return code, rows, content


def changed(records, **changes):
    return [one.model_copy(update=changes) for one in records]


def test_a_run_is_the_same_as_itself(compare, capsys):
    code, rows, report = compare(example_run(), example_run())
    assert (code, rows) == (0, {})
    assert report["same_results"] == 14
    assert capsys.readouterr().out == "14 results are the same, 0 differ\n"


@pytest.mark.parametrize("pack", [pack, pack_in_folder])
def test_a_zip_file_is_the_same_as_its_folder(tmp_path, pack):
    write_graph(tmp_path, example_run())
    crate = tmp_path / "run-crate"
    assert outcome(tmp_path, pack(crate), crate)[:2] == (0, {})


def test_other_engines_versions_and_containers_with_the_same_results_are_no_failure(compare):
    other = changed(
        chain("a", "https://example.org/data/a.tif"),
        engine=GALAXY,
        parfocal_version="0.2.0",
        step_version="2",
        lock_digest=DIGEST,
        commit="beef",
        image_digest=f"docker.io/parfocal/parfocal@{DIGEST}",
        attempt=3,
    )
    code, rows, _ = compare(chain("a", "https://example.org/data/a.tif"), other)
    steps = ("convert-image", "fetch-image", "measure-objects nuclei", "segment-objects nuclei")
    assert code == 0
    assert rows == {
        ("engine", "engine"): ("snakemake 9.27.1", "galaxy 26.1"),
        ("version", "parfocal"): ("0.1.0", "0.2.0"),
        ("version", "lock_digest"): ("sha256:" + "ab" * 32, DIGEST),
        ("version", "commit"): ("c0ffee", "beef"),
        ("container", "image"): (None, f"docker.io/parfocal/parfocal@{DIGEST}"),
        **{("version", f"{step}: behaviour"): ("1", "2") for step in steps},
    }


def test_packages_that_were_not_as_locked_are_a_version(compare):
    source = "https://example.org/data/a.tif"
    locked = changed(chain("a", source), unlocked={})
    other = changed(chain("a", source), unlocked={"pillow": "12.3.0"})
    other[0] = other[0].model_copy(update={"unlocked": {}})
    code, rows, _ = compare(locked, other)
    assert code == 0
    assert rows == {("version", "unlocked"): ("none", "none, pillow==12.3.0")}


def test_other_paths_are_no_difference(compare):
    def moved(artifact):
        return artifact.model_copy(update={"uri": f"/jobs/7/{artifact.uri.rpartition('/')[2]}"})

    run = chain("a", "https://example.org/data/a.tif")[1:]
    other = [
        one.model_copy(
            update={
                "inputs": tuple(map(moved, one.inputs)),
                "outputs": tuple(map(moved, one.outputs)),
            }
        )
        for one in run
    ]
    assert compare(run, other)[:2] == (0, {})


def test_what_differs_is_told_by_image_step_and_port(compare, capsys):
    first, second = example_run(), example_run()
    second[2] = segment("a", 2, seed=8, parameters=first[2].parameters | {"channel": 2})
    (labels,) = second[2].outputs
    other = labels.model_copy(update={"digest": f"zarr-merkle-{DIGEST}"})
    second[2] = second[2].model_copy(update={"outputs": (other,)})
    inputs = tuple(other if one == labels else one for one in second[3].inputs)
    second[3] = second[3].model_copy(update={"inputs": inputs})
    code, rows, report = compare(first, second)
    assert code == 4
    assert rows == {
        ("parameter", "segment-objects nuclei: channel"): ("null", "2", "a"),
        ("result", "segment-objects nuclei: labels"): (labels.digest, other.digest, "a"),
    }
    assert (report["same_results"], report["differing_results"]) == (13, 1)
    line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("result"))
    shown = [one.digest.partition(":")[2][:12] for one in (labels, other)]
    assert line.split()[-4:] == [shown[0], "|", shown[1], "(a)"]


def test_another_plate_is_another_result(tmp_path):
    run = chain("a", "/data/a.tif")

    def with_plate(name, state, report="1"):
        made = (artifact("plate", "ome-zarr", "plates/P1.ome.zarr", state),)
        told = (artifact("report", "html", "report.html", report),)
        plate = record("assemble-plate", "_run", 8, outputs=made, parameters={"plate": "P1"})
        records = [*run, plate, record("render-report", "_run", 9, outputs=told)]
        write_graph(tmp_path / name, records, run_steps=["render-report", "assemble-plate"])
        return tmp_path / name / "run-crate"

    first = with_plate("a", "1")
    code, rows, report = outcome(tmp_path, first, with_plate("b", "1", report="2"))
    assert (code, [key[0] for key in rows], report["same_results"]) == (0, ["run result"], 6)
    code, rows, report = outcome(tmp_path, first, with_plate("c", "2"))
    assert list(rows) == [("result", "assemble-plate P1: plate")]
    assert (code, report["same_results"], report["differing_results"]) == (4, 5, 1)


def test_another_input_is_told(compare):
    sources = "https://example.org/data/a.tif", "https://example.org/data/b.tif"
    code, rows, _ = compare(*(chain("a", source) for source in sources))
    assert code == 4
    assert {kind for kind, _ in rows} == {"input", "result"}
    first, second, image = rows["input", "fetch-image: source"]
    assert (first != second, image) == (True, "a")


def test_images_and_steps_of_one_run_alone_are_told_once(compare):
    run = chain("a", "/data/a.tif")
    quality = artifact("quality", "json", "images/a/quality.json")
    assess = record("assess-quality", "a", 5, inputs=run[2].inputs, outputs=(quality,))
    more = [*chain("c", "/data/c.tif"), *chain("d", "/data/d.tif")]
    code, rows, report = compare([*run, assess], [*run, *more])
    assert rows == {
        ("image", "image"): (None, "there", "c", "d"),
        ("step", "assess-quality"): ("there", None),
    }
    assert (code, report["differing_results"]) == (4, 2)


def test_a_step_of_one_run_alone_is_no_failure(compare):
    run = chain("a", "/data/a.tif")
    code, rows, _ = compare(run, run[:3])
    assert (code, rows) == (0, {("step", "measure-objects nuclei"): ("there", None)})


def test_an_image_that_failed_has_no_results(compare):
    run = chain("a", "/data/a.tif")
    nothing = failed("segment-objects", "a", 2, parameters={"label_name": "nuclei"})
    code, rows, _ = compare(run, [*run[:2], nothing])
    assert code == 4
    assert rows["result", "segment-objects nuclei: labels"][1:] == (None, "a")
    assert not [what for kind, what in rows if kind == "parameter"]


def test_the_newest_attempt_counts(compare):
    run = example_run()
    older = segment("a", -5, attempt=7, parameters={"label_name": "nuclei", "channel": 9})
    assert compare(run, [*run, older])[:2] == (0, {})


def test_two_label_images_of_one_image_are_not_mixed_up(compare):
    run = chain("a", "/data/a.tif")
    (labels,) = run[2].outputs
    cells = labels.model_copy(
        update={"uri": "images/a/labels/cells.ome.zarr", "digest": "zarr-merkle-" + DIGEST}
    )
    two = segment("a", 9, attempt=2, outputs=(cells,), parameters={"label_name": "cells"})
    code, rows, _ = compare([*run, two], [*run, two])
    assert (code, rows) == (0, {})


def test_copies_in_the_crates_are_compared(compare, tmp_path):
    compare(example_run(), example_run())
    (tmp_path / "b" / "config.yaml").write_text("batch_size: 21\n")
    crate = tmp_path / "b" / "other-crate"
    write_crate(crate, request_for(tmp_path / "b", tmp_path / "b" / "samples.tsv"))
    code, rows, _ = outcome(tmp_path, tmp_path / "a" / "run-crate", crate)
    assert (code, list(rows)) == (0, [("file", "config")])


def test_each_changed_file_of_rules_is_told(tmp_path):
    for name, text in (("a", "rule x:"), ("b", "rule y:")):
        write_results(tmp_path / name, example_run())
        (tmp_path / name / "x.smk").write_text(text)
        (tmp_path / name / "z.smk").write_text("rule z:")
        files = {end: tmp_path / name / end for end in ("x.smk", "z.smk")}
        rules = {f"rules/{end}": path for end, path in files.items()}
        write_graph(tmp_path / name, example_run(), rules=rules)
    crates = (tmp_path / name / "run-crate" for name in "ab")
    code, rows, _ = outcome(tmp_path, *crates)
    assert (code, list(rows)) == (0, [("file", "rules/x.smk")])


def test_runs_without_a_common_result_differ(compare):
    steps = chain("a", "/data/a.tif")
    assert compare(steps[:1], steps[1:2])[0] == 4


def test_what_is_no_crate_is_refused(tmp_path):
    write_graph(tmp_path, example_run())
    with pytest.raises(InputError, match="There is no crate"):
        compare_runs([str(tmp_path / "run-crate"), str(tmp_path / "nothing")])
