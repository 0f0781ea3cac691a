"""A tool runs the project's own Parfocal, and nothing of Galaxy's environment."""

from __future__ import annotations

import pytest
from tests.galaxy.configuration import BIN, PARFOCAL, ROOT
from tests.galaxy.history import History
from tests.galaxy.server import apart

import parfocal


def test_a_tool_runs_in_the_environment_of_the_project(history: History) -> None:
    job = history.run("probe_interpreter", {})
    assert job.state == "ok", job.stderr
    told = history.text(job.outputs["told"]).split("\n")
    version, command, python, python_path, slurm_job, *modules = told
    assert version == f"parfocal {parfocal.__version__}"
    assert command.endswith(f"/deps/parfocal/{parfocal.__version__}/bin/parfocal")
    assert python.startswith(str(BIN))
    assert not python_path
    assert not slurm_job
    assert not modules.pop()  # after the last line
    assert len(modules) == 4
    for module in modules:
        assert module.startswith(str(ROOT)), module
        assert not module.startswith(str(apart("galaxy"))), module


def test_the_command_is_the_only_program_that_a_tool_is_given() -> None:
    assert PARFOCAL.read_text("utf-8").partition("\n")[0].startswith(f"#!{BIN}/python")


@pytest.mark.parametrize("probe", ["probe_requires_none", "probe_requires_other"])
def test_parfocal_is_not_there_unless_its_version_is_required(history: History, probe: str) -> None:
    job = history.run(probe, {})
    assert job.state == "ok", job.stderr
    assert history.text(job.outputs["told"]) == "nowhere\n"
