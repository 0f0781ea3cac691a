"""The main workflow on a real Slurm, through the profile of the project."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slurm.cluster import Cluster
from slurm.runs import SlurmRun, Undisturbed


def test_a_run_on_slurm_gives_the_bytes_of_a_run_at_home(
    cluster: Cluster, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    run = SlurmRun(tmp_path, undisturbed.converted.rows, cluster=cluster)
    run.write_sheet()
    assert run.on_slurm() == 0, run.told
    assert run.digests() == undisturbed.digests
    assert not run.leftovers()
    assert not run.jobs()
    assert (run.results / "all-done").exists()
    logs = list((run.folder / "slurm_logs").glob("rule_segment_objects/*/*.log"))
    assert len(logs) == 1
    assert not lacking(run)


PER_ATTEMPT = {"host", "engine", "job_id", "commit", "lock_digest", "unlocked", "python", "cpu_s"}
PER_ATTEMPT |= {"peak_memory_bytes", "startTime", "endTime", "actionStatus", "exit_code"}


def lacking(run: SlurmRun) -> dict[str, set[str]]:
    """Return what the crate of a run does not tell of attempts that were made in jobs."""
    text = (run.results / "run-crate/ro-crate-metadata.json").read_text(encoding="utf-8")
    entities = {entity["@id"]: entity for entity in json.loads(text)["@graph"]}
    jobs = {log.stem for log in (run.folder / "slurm_logs").rglob("*.log")}
    found = {}
    for name in (one for one in entities if one.startswith("#action/") and "/_run/" not in one):
        facts = [entities[one["@id"]] for one in entities[name]["additionalProperty"]]
        usage = [entities[one["@id"]] for one in entities[name].get("resourceUsage", [])]
        told = {one["name"]: one["value"] for one in (*facts, *usage)}
        assert told.get("job_id") in jobs, (name, told, jobs)
        found[name] = PER_ATTEMPT - told.keys() - entities[name].keys()
    assert len(found) >= 4 * len(run.rows)
    return {name: missing for name, missing in found.items() if missing}


@pytest.mark.parametrize(
    ("partition", "told"),
    [("nowhere", "There is no such partition: nowhere"), ("closed", "partition not available")],
)
def test_a_queue_that_takes_no_jobs_is_told_and_nothing_is_lost(
    cluster: Cluster, undisturbed: Undisturbed, tmp_path: Path, partition: str, told: str
) -> None:
    chosen = ["--set-resources", f"segment_objects:slurm_partition={partition}"]
    run = undisturbed.converted.copy_to(tmp_path / "run", options=chosen)
    assert run.on_slurm("results/outcomes/segment_objects/0.json") != 0
    assert told in run.told
    assert set(run.outcomes("convert_image").values()) == {"done"}
    assert not run.jobs()
    run.options = []
    assert run.on_slurm("results/outcomes/segment_objects/0.json") == 0, run.told
    assert not undisturbed.wrong(run)
