"""What may be said of engines, and what is refused before any work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from parfocal.cli.compute import read_compute
from parfocal.cli.main import main
from parfocal.compute import Compute, opening, taking_part
from parfocal.compute.runner import part_of_runner
from parfocal.engine.configuration import config_model
from parfocal.engine.workflow import Plan
from parfocal.errors import ConfigurationError, RemoteError
from parfocal.models.compute import (
    ExistingCluster,
    LocalProcesses,
    LocalThreads,
    SlurmJobs,
    SlurmRunner,
    check_compute,
)

SLURM = {"engine": "slurm", "shared_folder": "/shared"}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({}, "has no 'engine'"),
        ({"engine": "magic"}, "there is no 'magic', only"),
        ("processes", "write {engine: processes}"),
        ({"engine": "processes", "workers": 0}, "compute.workers: must be greater"),
        ({"engine": "processes", "workers": 10_000}, "compute.workers: must be less"),
        ({"engine": "threads", "workers": 2}, "there is no such field"),
        ({"engine": "slurm"}, "compute.shared_folder: is required"),
        (SLURM | {"corse": 2}, "did you mean 'cores'?"),
        (SLURM | {"cores": -1}, "compute.cores"),
        (SLURM | {"memory_mib": 10}, "compute.memory_mib"),
        (SLURM | {"walltime_min": 0}, "compute.walltime_min"),
        (SLURM | {"minimum_jobs": 5}, "minimum_jobs must not be above maximum_jobs"),
        (SLURM | {"death_timeout_s": 0}, "compute.death_timeout_s"),
        (SLURM | {"partition": "a b"}, "compute.partition"),
        (SLURM | {"sbatch_options": ["--job-name=x"]}, "--job-name is set by the other fields"),
        (SLURM | {"sbatch_options": ["--qos=x\n#SBATCH -p y"]}, "is not of the form"),
        ({"engine": "slurm-runner"}, "compute.shared_folder: is required"),
        ({"engine": "client"}, "give either scheduler_file or address"),
        ({"engine": "client", "address": "x", "scheduler_file": "y"}, "compute.address"),
        ({"engine": "client", "address": "tls://x:1", "tls_ca_file": "a"}, "go together"),
    ],
)
def test_absurd_configurations_are_refused(values: object, told: str) -> None:
    with pytest.raises(ConfigurationError) as found:
        check_compute(values, "here")
    assert told in str(found.value)
    assert "here" in str(found.value)


def test_every_field_is_described() -> None:
    for model in (LocalProcesses, SlurmJobs, SlurmRunner, ExistingCluster):
        lacking = [n for n, f in model.model_fields.items() if n != "engine" and not f.description]
        assert not lacking


def test_the_command_line_goes_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PARFOCAL_COMPUTE", raising=False)
    assert read_compute(None) == LocalThreads()
    file = tmp_path / "c.yaml"
    file.write_text("engine: processes\nworkers: 3\n")
    monkeypatch.setenv("PARFOCAL_COMPUTE", str(file))
    assert read_compute(None) == LocalProcesses(engine="processes", workers=3)
    assert read_compute('{"engine": "threads"}') == LocalThreads()
    monkeypatch.setenv("PARFOCAL_COMPUTE", "{")
    with pytest.raises(ConfigurationError, match="PARFOCAL_COMPUTE"):
        read_compute(None)


def test_a_command_with_a_wrong_engine_ends_with_2(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    compute = json.dumps({"engine": "slurm-runner", "shared_folder": str(tmp_path)})
    paths = ["--image", str(tmp_path / "a"), "--filtered", str(tmp_path / "b")]
    assert main(["filter-image", *paths, "--compute", compute]) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_missing_extra_is_told_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "find_spec", lambda name: None)
    with (
        pytest.raises(ConfigurationError, match=r"pip install 'parfocal\[distributed\]'"),
        taking_part(LocalProcesses(engine="processes")),
    ):
        pass


def test_an_engine_that_cannot_be_opened_is_not_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries = []

    def fail(self: Compute) -> None:
        tries.append(1)
        what = "No"
        raise RemoteError(what)

    monkeypatch.setattr(Compute, "_open", fail)
    with Compute(LocalProcesses(engine="processes"), 1) as compute:
        for _ in range(2):
            with pytest.raises(RemoteError, match="No"):
                compute.scheduler()
    assert len(tries) == 1


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({}, "this is none"),
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2"}, "3 tasks or more; found 2"),
    ],
)
def test_a_runner_needs_three_tasks_of_a_job_step(
    variables: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    config = SlurmRunner(engine="slurm-runner", shared_folder=str(tmp_path))
    with pytest.raises(ConfigurationError, match=told), part_of_runner(config):
        pass
    assert list(tmp_path.iterdir()) == []


def test_files_of_an_existing_cluster_have_to_be_there(tmp_path: Path) -> None:
    config = ExistingCluster(engine="client", scheduler_file=str(tmp_path / "none.json"))
    with pytest.raises(ConfigurationError, match="scheduler_file"), taking_part(config):
        pass


def test_workflows_hand_the_engine_to_commands_unless_it_is_threads() -> None:
    model = config_model([])
    plain = model.model_validate({"sheet": "s.tsv"})
    assert Plan(plain, [], {}).compute_options() == []
    chosen = model.model_validate({"sheet": "s.tsv", "compute": SLURM | {"cores": 2}})
    option, text = Plan(chosen, [], {}).compute_options()
    assert option == "--compute"
    assert json.loads(text) == SLURM | {"cores": 2}
