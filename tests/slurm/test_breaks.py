"""Runs on a real Slurm that is broken while they run: each ends as if nothing had happened."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from slurm.runs import IMAGES, Undisturbed
from slurm.stories import STORIES, Stories

TAKEN_OVER = ("snakemake_killed", "daemon_killed")
"""What leaves a job behind that goes on, while another one comes to the same images."""


@pytest.fixture(scope="module")
def stories(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    undisturbed: Undisturbed,
) -> Iterator[Stories]:
    # Only those of which a test was chosen.
    chosen = {item.callspec.params["name"] for item in request.session.items if _has_name(item)}
    names = [name for name in STORIES if name in chosen]
    made = Stories(tmp_path_factory.mktemp("stories"), undisturbed, names)
    yield made
    made.close()


def _has_name(item: pytest.Item) -> bool:
    return "name" in getattr(getattr(item, "callspec", None), "params", {})


NODE_LOST = ["Trying again: Slurm says DOWN", "(Not responding)", '"before": "Slurm says DOWN']
CAUSES = {
    "node_lost": [*NODE_LOST, "The attempt was broken off", "Took over the output"],
    "daemon_killed": [*NODE_LOST, "Waiting for another writer"],
    "out_of_time": ["TIMEOUT"],
    "out_of_memory": ["OUT_OF_MEMORY"],
    "never_enough": ["because memory ran out", "leaves out huge, for the others"],
    "snakemake_killed": ["Waiting for another writer", "'job': '"],
    "worker_killed": ["was killed (SIGKILL)"],
    "job_cancelled": ["CANCELLED"],
    "scratch_full": ["The result cannot be written", "No space left on device"],
    "folder_gone": ["cannot be written"],
}


@pytest.mark.parametrize("name", STORIES)
def test_a_broken_run_ends_as_if_nothing_had_happened(
    name: str, stories: Stories, undisturbed: Undisturbed
) -> None:
    end = stories[name]
    assert end.last_code == 0, end.run.told
    step = f"{end.run.step}/"
    expected = {k: v for k, v in undisturbed.digests.items() if k.startswith(step)}
    made = {k: v for k, v in end.run.digests().items() if k.startswith(step)}
    assert made == expected
    assert not end.broken_wrong
    assert not undisturbed.wrong(end.run)
    assert not end.run.leftovers()
    assert not end.jobs
    assert end.run.done() == dict.fromkeys(IMAGES, 1)
    if name in TAKEN_OVER:  # what one has begun the other waits for, and takes
        attempts = {k: v for k, v in end.run.attempts().items() if k.startswith(step)}
        assert set(attempts.values()) == {1}
    for cause in CAUSES[name]:
        assert cause in end.told
