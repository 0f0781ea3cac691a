import json
from dataclasses import replace

import pytest

from parfocal import engine
from parfocal.engine import run_step
from parfocal.errors import (
    ConfigurationError,
    InputError,
    OutputExistsError,
    StorageError,
    VerificationError,
)
from parfocal.steps import load_step
from unit.toy_runs import names
from unit.toy_steps import MAKE, SUMMARIZE, MakeParams


@pytest.fixture
def paths(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    outputs = {"image": tmp_path / "o.ome.zarr", "notes": str(tmp_path / "n.json")}
    return {"source": str(tmp_path / "a.txt")}, outputs


def test_a_step_runs_from_python_and_returns_digests(paths, tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("PARFOCAL_ENGINE", raising=False)
    seen = []
    result = run_step(
        MAKE,
        *paths,
        {"repeat": 2},
        record=tmp_path / "r.json",
        progress=lambda done, total: seen.append((done, total)),
    )
    assert (tmp_path / "o.ome.zarr/c/0/0").read_text() == "hellohello"
    record = json.loads((tmp_path / "r.json").read_text())
    assert record["status"] == "done"
    assert record["image_id"] == "o"
    assert record["engine"]["name"] == "python"
    assert record["parameters"]["repeat"] == 2
    assert {a["role"]: a["digest"] for a in record["outputs"]} == result.digests
    assert set(result.digests) == {"image", "notes"}
    assert seen == [(1, 1)]


def test_parameters_may_be_a_model_or_left_out(paths, tmp_path) -> None:
    first = run_step(MAKE, *paths)
    second = run_step(MAKE, *paths, MakeParams(), existing="replace")
    assert first.digests == second.digests
    assert not second.reused
    assert run_step(MAKE, *paths, existing="reuse").reused


def test_what_the_step_raises_is_raised_and_recorded(paths, tmp_path) -> None:
    with pytest.raises(InputError, match="The toy is broken"):
        run_step(MAKE, *paths, {"action": "input"}, record=tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text())["status"] == "failed"
    assert names(tmp_path) == ["a.txt", "r.json"]


def test_an_existing_output_is_refused(paths) -> None:
    run_step(MAKE, *paths)
    with pytest.raises(OutputExistsError, match="add --replace"):
        run_step(MAKE, *paths)


def test_a_wrong_parameter_is_told_before_anything_happens(paths, tmp_path) -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'repeat'"):
        run_step(MAKE, *paths, {"repaet": 2})
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize(
    ("inputs", "outputs", "told"),
    [
        ({}, {"image": "i", "notes": "n"}, "expected source"),
        ({"source": "s", "mask": "m"}, {"image": "i", "notes": "n"}, "found mask, source"),
        ({"source": "s"}, {"image": "i"}, "expected image, notes"),
    ],
)
def test_wrong_ports_are_told(inputs, outputs, told) -> None:
    with pytest.raises(ConfigurationError, match=told):
        run_step(MAKE, inputs, outputs)


def test_a_record_that_cannot_be_written_stops_the_step(paths, tmp_path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="record of an attempt"):
        run_step(MAKE, *paths, record=tmp_path / "file" / "r.json")
    assert names(tmp_path) == ["a.txt", "file"]


def test_what_an_engine_tore_is_removed_even_if_the_step_fails(paths, tmp_path) -> None:
    _, outputs = paths
    run_step(MAKE, *paths)
    (outputs["image"] / "zarr.json").unlink()
    with pytest.raises(InputError):
        run_step(MAKE, {"source": tmp_path / "missing"}, outputs, existing="replace")
    assert not outputs["image"].exists()


def test_a_folder_that_is_not_ours_is_not_removed(paths, tmp_path) -> None:
    _, outputs = paths
    outputs["image"].mkdir()
    (outputs["image"] / "precious").write_text("x", "utf-8")
    with pytest.raises(InputError):
        run_step(MAKE, {"source": tmp_path / "missing"}, outputs, existing="replace")
    assert (outputs["image"] / "precious").exists()


@pytest.mark.parametrize(
    ("step", "inputs", "outputs", "image_id"),
    [
        ("measure-objects", {"image": "a/cells.ome.zarr", "labels": "n"}, {"table": "t"}, "cells"),
        ("convert-image", {"source": "x"}, {"image": "cells.ome.zarr"}, "cells"),
        ("score-objects", {"labels": "nuclei.ome.zarr"}, {"scores": "s.json"}, "nuclei"),
        ("fetch-image", {}, {"original": "folder"}, "folder"),
        ("record-run", {"results": "r"}, {"crate": "c"}, "_run"),
    ],
)
def test_an_image_is_named_after_its_file(step, inputs, outputs, image_id) -> None:
    assert engine._image_id(load_step(step), inputs, outputs) == image_id


def comparing(tmp_path, *, tells):
    """Return a verification that finds a difference, and its paths."""

    def compare(inputs, outputs, params, context) -> None:
        outputs["summary"].write_text("what differs")
        raise VerificationError("Two toys differ")

    (tmp_path / "images").mkdir(exist_ok=True)
    step = replace(SUMMARIZE, run=compare, tells_differences=tells)
    return step, {"results": tmp_path}, {"summary": tmp_path / "summary.json"}


def test_a_verification_that_fails_leaves_what_differs(tmp_path) -> None:
    step, *paths = comparing(tmp_path, tells=True)
    run_step(SUMMARIZE, *paths)
    for _ in range(2):
        with pytest.raises(VerificationError, match="Two toys differ"):
            run_step(step, *paths, existing="replace")
        assert (tmp_path / "summary.json").read_text() == "what differs"
    records = sorted((tmp_path / "records/summarize_run/_run").glob("*.json"))
    assert [json.loads(path.read_text())["status"] for path in records] == [
        "done",
        "failed",
        "failed",
    ]
    # Nobody takes it for the result of a step that ended well.
    assert not run_step(SUMMARIZE, *paths, existing="reuse").reused


def test_what_other_steps_wrote_before_a_verification_failed_is_removed(tmp_path) -> None:
    step, *paths = comparing(tmp_path, tells=False)
    with pytest.raises(VerificationError):
        run_step(step, *paths)
    assert not (tmp_path / "summary.json").exists()
