"""Jobs of a run that Slurm would not take are refused before the first is submitted."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from fake_slurm import put_on_path
from parfocal.engine.submission import check_jobs
from parfocal.errors import ConfigurationError, RemoteError
from parfocal.models.compute import LocalThreads, SlurmJobs

THREADS = LocalThreads()


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return put_on_path(tmp_path / "bin", monkeypatch)


def job(name: str = "convert_image", threads: int = 1, **resources: object) -> SimpleNamespace:
    return SimpleNamespace(name=name, threads=threads, resources=resources)


def asked(slurm: Path) -> list[str]:
    """Return what sbatch was asked."""
    lines = (slurm / "asked").read_text().splitlines()
    return [line for line in lines if line.startswith("sbatch")]


def refused(*jobs: SimpleNamespace) -> str:
    with pytest.raises(ConfigurationError) as found:
        check_jobs(jobs, THREADS)
    return str(found.value)


def test_each_rule_is_asked_for_once_with_the_most_of_its_jobs(slurm: Path) -> None:
    jobs = [job(mem_mb=800, runtime=90), job(mem_mb=3000, runtime=10), job("filter_image", 4)]
    check_jobs(jobs, THREADS)
    assert asked(slurm) == [
        "sbatch --test-only --mem=3000M --time=90 --ntasks=1 --cpus-per-task=1 --wrap=true",
        "sbatch --test-only --ntasks=1 --cpus-per-task=4 --wrap=true",
    ]


def test_what_the_user_asks_of_slurm_is_asked(slurm: Path) -> None:
    chosen = {"slurm_partition": "long", "slurm_account": "mine", "slurm_extra": "--qos='a b' -x"}
    check_jobs([job(mem_mb="<TBD>", constraint="avx2", **chosen)], THREADS)
    (told,) = asked(slurm)
    for option in ("--partition=long", "--account=mine", "--qos=a b -x", "--constraint=avx2"):
        assert option in told
    assert "--mem" not in told


def test_a_partition_that_does_not_exist_is_refused_whichever_rule_it_is_of(slurm: Path) -> None:
    told = refused(job(slurm_partition="long"), job("segment_objects", slurm_partition="nope"))
    assert "no such partition: nope" in told
    assert "long, short" in told
    assert not [line for line in (slurm / "asked").read_text().splitlines() if "sbatch" in line]


def test_a_queue_that_rejects_is_told_with_the_rule_and_what_to_change(slurm: Path) -> None:
    (slurm / "sbatch.fails").write_text("allocation failure: Job violates policy\n")
    told = refused(job("segment_objects", mem_mb=900))
    assert "rejects the jobs of segment_objects" in told
    assert "violates policy" in told
    assert "set-resources" in told


def test_an_account_may_still_be_guessed(slurm: Path) -> None:
    (slurm / "sbatch.fails").write_text("allocation failure: Invalid Account\n")
    check_jobs([job()], THREADS)
    assert "Invalid Account" in refused(job(slurm_account="mine"))


def test_without_sbatch_the_profile_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "not on PATH: sbatch" in refused(job())


def test_a_slurm_that_does_not_answer_is_told_as_such(slurm: Path) -> None:
    (slurm / "sbatch.fails").write_text("Unable to contact slurm controller (failure)\n")
    with pytest.raises(RemoteError):
        check_jobs([job()], THREADS)


def test_jobs_that_would_submit_jobs_are_refused_unless_asked_for(slurm: Path) -> None:
    compute = SlurmJobs(engine="slurm", shared_folder="/shared")
    with pytest.raises(ConfigurationError, match="submit jobs of their own"):
        check_jobs([job()], compute)
    check_jobs([job()], compute.model_copy(update={"inside_job": True}))
