"""What would fail later is refused when a run is planned, and when a step begins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fake_slurm import put_on_path
from parfocal.cli.main import main
from parfocal.engine.workflow import Plan, make_plan
from parfocal.errors import InputError
from parfocal.models.sheet import Row, write_sheet

STEPS = ["convert_image", "segment_objects", "score_objects"]
MODEL = {"segment_objects": {"model": {"method": "onnx", "path": "nuclei.onnx"}}}
PROFILE = {"correct_illumination": {"illumination": {"method": "profile"}}}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    return tmp_path


def plan(config: dict[str, Any], *rows: Row, is_main: bool = True) -> Plan:
    write_sheet(Path("samples.tsv"), rows or [Row(image_id="a", source="a.tif")])
    return make_plan(
        {"sheet": "samples.tsv"} | config,
        steps=STEPS,
        optional=["correct_illumination"],
        files=["own.yaml"],
        is_main=is_main,
    )


def refused(config: dict[str, Any], *rows: Row) -> str:
    with pytest.raises(InputError) as found:
        plan(config, *rows)
    assert found.value.exit_code == 2
    assert found.value.remedy
    return str(found.value)


def row(image_id: str, **columns: str) -> Row:
    return Row(image_id=image_id, source=f"{image_id}.tif", **columns)


def test_a_model_that_is_missing_is_refused_when_the_run_is_planned() -> None:
    assert "no such model, and models are not downloaded: nuclei.onnx" in refused(MODEL)
    Path("nuclei.onnx").mkdir()
    assert "The model is not a file" in refused(MODEL)
    Path("nuclei.onnx").rmdir()
    Path("nuclei.onnx").touch()
    assert plan(MODEL)


def test_a_model_whose_library_is_missing_is_refused_with_the_extra() -> None:
    Path("weights").touch()
    values = {"model": {"method": "cellpose", "path": "weights"}}
    assert "pip install 'parfocal[cellpose]'" in refused({"segment_objects": values})


def test_a_flat_field_must_be_named_for_each_image_and_be_there() -> None:
    Path("flat.tif").touch()
    good = row("a", flat_field="flat.tif")
    told = refused(PROFILE, good, row("b"), row("c"))
    assert "Method profile needs a flat field" in told
    assert "samples.tsv, image b and 1 more" in told
    told = refused(PROFILE, good, row("b", flat_field="gone.tif"))
    assert "image b, column flat_field; found gone.tif" in told
    assert plan(PROFILE, good)
    assert plan({}, row("b", flat_field="gone.tif"))  # nobody asks for it


def test_ground_truth_that_is_missing_is_refused_too() -> None:
    assert "column ground_truth; found x.tif" in refused({}, row("a", ground_truth="x.tif"))


@pytest.mark.parametrize("text", [None, "{", '{"format": "other"}'])
def test_a_bad_resource_model_is_refused_with_the_file_and_what_to_do(text: str | None) -> None:
    if text is not None:
        Path("model.json").write_text(text)
    told = refused({"resource_model": "model.json"})
    assert "The resource model cannot be read: model.json" in told
    assert "parfocal calibrate" in told


@pytest.mark.parametrize("engine", ["slurm", "client"])
def test_a_shared_folder_must_be_there(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_on_path(tmp_path / "bin", monkeypatch)
    more = {"address": "tcp://127.0.0.1:1"} if engine == "client" else {}
    compute = {"engine": engine, "shared_folder": str(tmp_path / "shared")} | more
    assert "The shared folder is not there" in refused({"compute": compute})
    (tmp_path / "shared").mkdir()
    assert plan({"compute": compute})


def test_a_shared_folder_must_be_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_on_path(tmp_path / "bin", monkeypatch)
    # Permissions do not hold for root; in /proc nobody makes files.
    told = refused({"compute": {"engine": "slurm", "shared_folder": "/proc"}})
    assert "The shared folder cannot be written to: /proc" in told


def test_a_partition_and_a_queue_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm = put_on_path(tmp_path / "bin", monkeypatch)
    compute = {"engine": "slurm", "shared_folder": str(tmp_path), "partition": "nope"}
    assert "no such partition: nope" in refused({"compute": compute})
    (slurm / "sbatch.fails").write_text("allocation failure: Invalid qos\n")
    assert "Invalid qos" in refused({"compute": compute | {"partition": "long"}})


def test_an_engine_of_one_allocation_is_refused_in_a_workflow(tmp_path: Path) -> None:
    compute = {"engine": "slurm-runner", "shared_folder": str(tmp_path)}
    assert "key compute.engine" in refused({"compute": compute})


def test_the_jobs_of_a_run_do_not_look_again() -> None:
    assert plan(MODEL | {"resource_model": "none.json"}, is_main=False)


def segment(*arguments: str) -> int:
    chosen = ["--params", json.dumps(MODEL["segment_objects"])]
    return main(["segment-objects", *chosen, *arguments])


def test_a_step_refuses_a_missing_model_before_it_looks_at_the_image(capfd) -> None:
    assert segment("--image", "none.ome.zarr", "--labels", "labels.ome.zarr") == 2
    assert "no such model" in capfd.readouterr().err
    assert not list(Path().iterdir())


def test_a_batch_refuses_a_missing_model_at_once_and_in_later_attempts(capfd) -> None:
    write_sheet(Path("samples.tsv"), [row("a"), row("b")])
    batch = ["--sheet", "samples.tsv", "--batch", "0", "--batch-size", "2", "--folder", "results"]
    batch += ["--outcome", "results/outcomes/segment_objects/0.json", "--attempts", "3"]
    assert segment(*batch) == 2
    assert "no such model" in capfd.readouterr().err
    assert not Path("results/outcomes").exists()
    assert not Path("results/records").exists()
    told = json.loads(Path("results/attempts/segment_objects/0.json").read_text())
    assert (told["cause"], told["exit_code"]) == ("error", 2)
