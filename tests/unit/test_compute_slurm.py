"""Slurm's part without Slurm: options, what its commands answer, and what killed runs left."""

from __future__ import annotations

import json
import os
import shlex
import stat
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from fake_slurm import put_on_path
from parfocal.compute import taking_part, watch
from parfocal.compute.run_folder import RunFolder
from parfocal.compute.slurm import _close, _start, sbatch_options, worker_memory_mib
from parfocal.compute.slurm_queue import (
    cancel_jobs,
    check_partition,
    check_submission,
    job_states,
)
from parfocal.compute.watch import Watch
from parfocal.core import owned_folder
from parfocal.core.processes import DEAD_AFTER_S, HEARTBEAT_S
from parfocal.errors import ConfigurationError, RemoteError, WorkerDiedError
from parfocal.models.compute import SlurmJobs


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands that write down what they are asked, and answer from files."""
    return put_on_path(tmp_path / "bin", monkeypatch)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    folder = tmp_path / "shared"
    folder.mkdir()
    return folder


def config(shared: Path, **more: object) -> SlurmJobs:
    return SlurmJobs.model_validate({"engine": "slurm", "shared_folder": str(shared)} | more)


def refused(chosen: SlurmJobs) -> str:
    with pytest.raises(ConfigurationError) as found, taking_part(chosen):
        pass
    return str(found.value)


def test_options_tell_all_that_was_chosen(shared: Path) -> None:
    chosen = config(shared, partition="long", cores=8, sbatch_options=["--qos=high"])
    options = sbatch_options(chosen, "parfocal-1", "/x/%j.log")
    assert options[:2] == ["--job-name=parfocal-1", "--output=/x/%j.log"]
    for option in ("--partition=long", "--cpus-per-task=8", "--mem=8192M", "--time=120"):
        assert option in options
    assert options[-1] == "--qos=high"
    assert not any(option.startswith("--account") for option in options)


@pytest.mark.parametrize("memory_mib", [1024, 8192, 1_000_000])
def test_a_worker_is_restarted_before_its_job_is_killed(shared: Path, memory_mib: int) -> None:
    limit = worker_memory_mib(config(shared, memory_mib=memory_mib))
    assert 0.5 * memory_mib < limit <= 0.91 * memory_mib


def worker_command(chosen: SlurmJobs) -> list[str]:
    """Return the words of the command in a worker's job."""
    folder = RunFolder(Path(chosen.shared_folder))
    cluster, _ = _start(chosen, folder)
    try:
        script = cluster.job_script()
    finally:
        _close(cluster)
        folder.remove()
    return shlex.split(next(line for line in script.splitlines() if "dask_worker" in line))


def seconds(words: list[str], option: str) -> int:
    """Return the time that follows an option, which is given once."""
    assert words.count(option) == 1
    return int(words[words.index(option) + 1].removesuffix("s"))


@pytest.mark.parametrize("walltime_min", [3, 120, 43_200])
def test_a_worker_leaves_before_its_job_is_over_and_does_not_come_back(
    slurm: Path, shared: Path, walltime_min: int
) -> None:
    words = worker_command(config(shared, walltime_min=walltime_min, interface="lo"))
    lifetime, stagger = seconds(words, "--lifetime"), seconds(words, "--lifetime-stagger")
    assert lifetime + stagger < 60 * walltime_min
    assert lifetime - stagger > 60 * walltime_min / 3
    assert "--no-lifetime-restart" in words
    assert "--lifetime-restart" not in words


def test_a_worker_is_told_how_long_it_may_look_for_its_owner(slurm: Path, shared: Path) -> None:
    words = worker_command(config(shared, death_timeout_s=17, interface="lo"))
    assert seconds(words, "--death-timeout") == 17


def test_what_slurm_takes_goes_on(slurm: Path, shared: Path) -> None:
    with taking_part(config(shared, partition="short,long")) as goes_on:
        assert goes_on
    assert "sbatch --test-only --job-name=parfocal-check" in (slurm / "asked").read_text()


def test_a_partition_that_does_not_exist_is_told_with_those_that_do(
    slurm: Path, shared: Path
) -> None:
    told = refused(config(shared, partition="nope"))
    assert "no such partition: nope" in told
    assert "long, short" in told


def test_a_queue_that_rejects_is_told_in_its_own_words(slurm: Path, shared: Path) -> None:
    (slurm / "sbatch.fails").write_text("allocation failure: Invalid account\n")
    assert "Invalid account" in refused(config(shared, account="mine"))


def test_a_slurm_that_does_not_answer_is_no_mistake_of_the_user(slurm: Path) -> None:
    for name in ("sinfo", "sbatch"):
        (slurm / f"{name}.fails").write_text("Unable to contact slurm controller (failure)\n")
    with pytest.raises(RemoteError, match="Unable to contact"):
        check_partition("long")
    with pytest.raises(RemoteError, match=r"Unable to contact.*Try again"):
        check_submission([], "the jobs", "Change them.")


def test_a_slurm_that_is_not_configured_is_told_where_to_run_instead(slurm: Path) -> None:
    said = "sbatch: fatal: Could not establish a configuration source\n"
    (slurm / "sbatch.fails").write_text(said)
    with pytest.raises(ConfigurationError, match=r"not configured: sbatch; .*Run on a node"):
        check_submission([], "the jobs", "Change them.")


REQUEST = ["--partition=long", "--mem=9999999M"]
TOO_MUCH = "allocation failure: Requested node configuration is not available\n"


def test_what_no_node_can_meet_is_refused(slurm: Path) -> None:
    (slurm / "sbatch.fails").write_text(TOO_MUCH)
    (slurm / "sinfo.says").write_text("")
    with pytest.raises(ConfigurationError, match=r"rejects the jobs; .*Change them"):
        check_submission(REQUEST, "the jobs", "Change them.")
    assert "--partition=long" in (slurm / "asked").read_text().splitlines()[-1]


@pytest.mark.parametrize("partition", [["--partition=long"], []])
def test_what_only_nodes_could_meet_that_are_down_may_wait_for_them(
    slurm: Path, caplog, partition: list[str]
) -> None:
    (slurm / "sbatch.fails").write_text(TOO_MUCH)
    (slurm / "sinfo.says").write_text("long* 2\n")
    check_submission(partition, "the jobs", "Change them.")
    assert "some nodes are down" in caplog.text


def test_nodes_of_other_partitions_that_are_down_are_no_excuse(slurm: Path) -> None:
    (slurm / "sbatch.fails").write_text(TOO_MUCH)
    (slurm / "sinfo.says").write_text("fragile 2\nlong* 0\n")
    with pytest.raises(ConfigurationError, match="rejects the jobs"):
        check_submission([], "the jobs", "Change them.")


def test_without_slurm_its_command_is_missed(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert "sbatch" in refused(config(shared))


def test_a_job_submits_no_jobs_unless_it_is_told_to(
    slurm: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert "job 17" in refused(config(shared))
    with taking_part(config(shared, inside_job=True)) as goes_on:
        assert goes_on


def test_the_shared_folder_has_to_be_there(slurm: Path, shared: Path) -> None:
    assert "not there" in refused(config(shared / "none"))


def test_states_are_told_by_job(slurm: Path) -> None:
    (slurm / "squeue.says").write_text("12 RUNNING None\n13 PENDING Resources\n")
    assert job_states("x") == {"12": "RUNNING None", "13": "PENDING Resources"}


def test_jobs_are_cancelled_by_their_name(slurm: Path) -> None:
    cancel_jobs("parfocal-abc")
    assert "scancel --name=parfocal-abc" in (slurm / "asked").read_text()


def test_a_run_folder_is_private_and_goes(shared: Path) -> None:
    folder = RunFolder(shared)
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert folder.logs.is_dir()
    assert folder.scratch.is_dir()
    folder.remove()
    assert list(shared.iterdir()) == []


def plant(shared: Path, name: str, *, age_s: float = 0.0, **changes: object) -> Path:
    """Leave the folder of another run, whose owner is this process, with changes."""
    own = RunFolder(shared)
    owner = json.loads((own.path / "owner.json").read_text())
    own.remove()
    path = shared / name
    path.mkdir()
    (path / "owner.json").write_text(json.dumps(owner | {"folder": name} | changes))
    os.utime(path / "owner.json", (time.time() - age_s,) * 2)
    return path


def test_an_owner_that_an_outage_made_look_dead_keeps_its_folder(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = plant(shared, "parfocal-far", machine="elsewhere", age_s=DEAD_AFTER_S + 5)
    lost = plant(shared, "parfocal-lost", machine="elsewhere", age_s=DEAD_AFTER_S + 5)
    dead = plant(shared, "parfocal-dead", process_start="1")
    waited: list[float] = []

    def beat(seconds: float) -> None:
        waited.append(seconds)
        os.utime(far / "owner.json")

    monkeypatch.setattr(owned_folder, "time", SimpleNamespace(sleep=beat))
    cancelled: list[str] = []
    with RunFolder(shared) as own:
        own.remove_dead(cancelled.append)
        assert waited == [2 * HEARTBEAT_S]
        assert cancelled == ["parfocal-dead", "parfocal-lost"]
        assert far.exists()
        assert not lost.exists()
        assert not dead.exists()
        plant(shared, "parfocal-dead", process_start="1")
        own.remove_dead(cancelled.append)
        assert len(waited) == 1  # there is no doubt of a process of this machine


def test_only_dead_owners_are_cleaned_up_after(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owned_folder, "SURE_AFTER_S", 0.0)
    alive = plant(shared, "parfocal-alive", age_s=1e6)
    dead = plant(shared, "parfocal-dead", process_start="1")
    far = plant(shared, "parfocal-far", machine="elsewhere", age_s=DEAD_AFTER_S - 20)
    lost = plant(shared, "parfocal-lost", machine="elsewhere", age_s=DEAD_AFTER_S + 5)
    other = plant(shared, "parfocal-other", process_start="1", folder="somebody-else")
    (shared / "parfocal-notes").mkdir()
    cancelled: list[str] = []
    own = RunFolder(shared)
    own.remove_dead(cancelled.append)
    assert cancelled == ["parfocal-dead", "parfocal-lost"]
    kept = {alive, far, other, own.path, shared / "parfocal-notes"}
    assert set(shared.iterdir()) == kept
    assert not dead.exists()
    assert not lost.exists()
    own.remove()


def test_a_folder_stays_while_its_jobs_cannot_be_cancelled(slurm: Path, shared: Path) -> None:
    dead = plant(shared, "parfocal-dead", process_start="1")
    own = RunFolder(shared)
    (slurm / "scancel.fails").write_text("Unable to contact slurm controller\n")
    own.remove_dead(cancel_jobs)
    assert dead.exists()
    (slurm / "scancel.fails").unlink()
    own.remove_dead(cancel_jobs)
    assert not dead.exists()
    own.remove()


@pytest.fixture
def watched(shared: Path, monkeypatch: pytest.MonkeyPatch):
    """A watch over a cluster of two jobs whose workers have not come."""
    monkeypatch.setattr(watch, "LOOK_EVERY_S", 0.0)
    workers = {name: SimpleNamespace(job_id=str(name)) for name in (1, 2)}
    cluster = SimpleNamespace(
        workers=workers,
        scheduler=SimpleNamespace(workers={}),
        loop=SimpleNamespace(add_callback=lambda call, *args: call(*args)),
    )
    folder = RunFolder(shared)
    refusals: list[str] = []
    yield Watch(cluster, folder, refusals, set()), cluster, refusals, folder
    folder.remove()


def test_a_job_that_ended_early_is_replaced(slurm: Path, watched) -> None:
    look, cluster, _, _ = watched
    (slurm / "squeue.says").write_text("1 PENDING Resources\n")
    look()
    assert list(cluster.workers) == [1]


def test_job_after_job_that_ends_early_is_given_up(slurm: Path, watched) -> None:
    look, cluster, _, folder = watched
    (folder.logs / "3.log").write_text("No module named parfocal\n")
    look()
    cluster.workers[3] = SimpleNamespace(job_id="3")
    with pytest.raises(WorkerDiedError, match="No module named parfocal"):
        look()


def test_a_later_refusal_is_an_error_only_without_other_jobs(slurm: Path, watched, caplog) -> None:
    look, cluster, refusals, _ = watched
    (slurm / "squeue.says").write_text("1 RUNNING None\n2 RUNNING None\n")
    refusals.append("QOSMaxSubmitJobPerUserLimit")
    look()
    assert "QOSMaxSubmitJobPerUserLimit" in caplog.text
    cluster.workers.clear()
    refusals.append("Invalid qos")
    with pytest.raises(ConfigurationError, match="Invalid qos"):
        look()
