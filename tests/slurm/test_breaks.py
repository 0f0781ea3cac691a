"""Runs on a real Slurm that is broken while they run: each ends as if nothing had happened."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from slurm.runs import Undisturbed
from slurm.stories import STORIES, Stories

SEGMENTED = "segment_objects/"


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


CAUSES = {
    "node_lost": ["Took over the output"],
    "daemon_killed": ["Waiting for another writer"],
    "out_of_time": ["TIMEOUT"],
    "out_of_memory": ["OUT_OF_MEMORY"],
    "never_enough": ["because memory ran out", "leaves out huge, for the others"],
    "snakemake_killed": ["Waiting for another writer"],
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
    expected = {k: v for k, v in undisturbed.digests.items() if k.startswith(SEGMENTED)}
    made = {k: v for k, v in end.run.digests().items() if k.startswith(SEGMENTED)}
    assert made == expected
    assert not end.broken_wrong
    assert not end.run.wrong(undisturbed.digests)
    assert not end.run.leftovers()
    assert not end.jobs
    for cause in CAUSES[name]:
        assert cause in end.told
