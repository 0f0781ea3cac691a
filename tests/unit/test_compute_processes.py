"""Work in processes: order, errors, bounds, and workers that die."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parfocal.compute import Compute, cluster, dask_scheduler, taking_part
from parfocal.compute.dask_scheduler import DaskScheduler
from parfocal.errors import ConfigurationError, InputError, WorkerDiedError
from parfocal.models.compute import LocalProcesses, LocalThreads
from unit import compute_work as work

CONFIG = LocalProcesses(engine="processes", workers=2)


@pytest.fixture(scope="module")
def compute() -> Iterator[Compute]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
        patch.setitem(cluster.SCHEDULER, "allowed_failures", 1)
        with taking_part(CONFIG) as goes_on, Compute(CONFIG, 1) as opened:
            assert goes_on
            opened.scheduler()
            yield opened


@pytest.fixture
def scheduler(compute: Compute) -> DaskScheduler:
    found = compute.scheduler()
    assert found is not None
    return found


def test_results_come_in_the_order_of_the_items(scheduler: DaskScheduler) -> None:
    assert list(scheduler.map(work.double, range(500))) == [2 * n for n in range(500)]
    assert list(scheduler.map(work.double, [])) == []


def test_it_is_not_local_and_tells_its_workers(scheduler: DaskScheduler, compute: Compute) -> None:
    assert (scheduler.local, scheduler.workers) == (False, 2)
    assert compute.details() == {"compute": {"engine": "processes", "workers": 2}}
    assert compute.scheduler() is scheduler


def test_a_hundred_thousand_small_items_go_in_few_batches(
    scheduler: DaskScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted = []
    submit = scheduler._client.submit
    monkeypatch.setattr(
        scheduler._client, "submit", lambda *a, **k: submitted.append(1) or submit(*a, **k)
    )
    assert sum(scheduler.map(work.double, range(100_000))) == 100_000 * 99_999
    assert len(submitted) < 5_000
    assert scheduler.cpu_s > 0


def test_the_memory_of_the_largest_worker_is_told_once(
    scheduler: DaskScheduler, compute: Compute
) -> None:
    assert list(scheduler.map(work.double, range(3))) == [0, 2, 4]
    before = compute.take_peak_memory()
    assert before > 30e6
    list(scheduler.map(work.zeros, [80_000]))
    assert compute.take_peak_memory() > before + 60e6
    assert compute.take_peak_memory() == 0
    for _ in range(100):  # until the worker has let go of the result
        list(scheduler.map(work.double, range(3)))
        if compute.take_peak_memory() < before + 60e6:
            break
    else:
        pytest.fail("the peak of work that is over counts on")


def test_items_are_taken_as_they_are_needed(scheduler: DaskScheduler) -> None:
    taken = []

    def items() -> Iterator[int]:
        for number in range(1_000_000):
            taken.append(number)
            yield number

    results = scheduler.map(work.double, items())
    assert [next(results) for _ in range(3)] == [0, 2, 4]
    assert len(taken) < 1000
    results.close()


def test_large_results_are_not_gathered_in_batches(scheduler: DaskScheduler) -> None:
    results = scheduler.map(work.zeros, [9_000] * 6)
    first = next(results)
    first[0, 0] = 1  # as writable as from a thread
    assert [result.shape for result in results] == [(9_000, 1000)] * 5


def test_an_error_comes_back_as_it_was(scheduler: DaskScheduler) -> None:
    results = scheduler.map(work.fails_at_7, range(100))
    with pytest.raises(InputError, match="Seven is refused") as found:
        list(results)
    error = found.value
    assert (error.where, error.expected, error.remedy) == (7, 6, "Take six.")
    assert isinstance(error.__cause__, FileNotFoundError)
    with pytest.raises(IndexError):
        list(scheduler.map(work.broken, [0, 1]))
    assert list(scheduler.map(work.double, [4])) == [8]


def test_there_is_no_cluster_inside_of_a_worker(scheduler: DaskScheduler) -> None:
    assert list(scheduler.map(work.inside, ["threads"])) == [True]
    with pytest.raises(ConfigurationError, match="inside of a dask worker"):
        list(scheduler.map(work.inside, ["processes"]))


def test_work_is_unpickled_once_a_worker(scheduler: DaskScheduler, tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert list(scheduler.map(work.Counted(log), range(2000))) == list(range(2000))
    unpickled = log.read_text().split()
    assert 1 <= len(unpickled) == len(set(unpickled)) <= 2


def test_what_a_killed_worker_had_is_done_again(scheduler: DaskScheduler, tmp_path: Path) -> None:
    items = list(range(40))
    assert list(scheduler.map(work.kills_once(tmp_path / "flag", 17), items)) == items
    assert (tmp_path / "flag").exists()


def test_a_result_that_was_lost_is_waited_for(
    scheduler: DaskScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the client is told when the worker dies that had it; the scheduler has it made again."""
    submit = scheduler._client.submit

    def lose(*args: Any, **options: Any) -> Any:
        future = submit(*args, **options)
        scheduler._client._handle_lost_data(future.key)
        return future

    monkeypatch.setattr(dask_scheduler, "POLL_S", 0.05)
    monkeypatch.setattr(scheduler._client, "submit", lose)
    assert list(scheduler.map(work.slow, [7])) == [7]


def test_an_item_that_kills_every_worker_is_given_up(scheduler: DaskScheduler) -> None:
    with pytest.raises(WorkerDiedError, match="memory"):
        list(scheduler.map(work.kills_at_3, range(6)))


def test_without_workers_it_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Client:
        """Of a cluster whose workers are all gone."""

        def nthreads(self) -> dict[str, int]:
            return {}

    check = cluster.NoWorkers(Client())
    check()
    monkeypatch.setattr(cluster, "WITHOUT_WORKERS_S", -1.0)
    with pytest.raises(WorkerDiedError, match="All workers"):
        check()


def test_threads_open_nothing() -> None:
    with taking_part(LocalThreads()) as goes_on, Compute(LocalThreads(), 4) as compute:
        assert goes_on
        assert compute.scheduler() is None
        assert compute.details() == {}
        assert compute.scratch(Path("beside"), None) == Path("beside")
        assert compute.scratch(Path("beside"), "chosen") == "chosen"
