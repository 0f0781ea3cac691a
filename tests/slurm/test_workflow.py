"""The main workflow on a real Slurm, through the profile of the project."""

from __future__ import annotations

from pathlib import Path

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
