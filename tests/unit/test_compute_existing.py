"""A cluster that somebody else started: used by file and by address, and left as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from parfocal import __version__
from parfocal.compute import Compute, taking_part
from parfocal.compute.cluster import SCHEDULER
from parfocal.compute.keys import CERTIFICATE, KEY, make_keys
from parfocal.errors import ConfigurationError, RemoteError
from parfocal.models.compute import ExistingCluster
from unit import compute_work as work

if TYPE_CHECKING:
    from distributed import LocalCluster

FILE = "scheduler.json"


@contextmanager
def started(folder: Path, workers: int, **options: object) -> Iterator[LocalCluster]:
    """Start a cluster on the loopback, which writes its address to a file."""
    from distributed import LocalCluster

    with (
        pytest.MonkeyPatch.context() as patch,
        LocalCluster(
            n_workers=0,
            threads_per_worker=2,
            host="127.0.0.1",
            local_directory=str(folder),
            scheduler_kwargs=SCHEDULER | {"scheduler_file": str(folder / FILE)},
            **options,
        ) as cluster,
    ):
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
        if workers:
            cluster.scale(workers)
            cluster.wait_for_workers(workers, timeout=60)
        yield cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalCluster, Path]]:
    folder = tmp_path_factory.mktemp("cluster")
    with started(folder, 1) as made:
        yield made, folder


def existing(**values: object) -> ExistingCluster:
    return ExistingCluster.model_validate({"engine": "client"} | values)


def doubled(config: ExistingCluster) -> list[int]:
    """Work on a cluster as a step does, and return the results."""
    with taking_part(config) as goes_on, Compute(config, 1) as compute:
        assert goes_on
        scheduler = compute.scheduler()
        assert scheduler is not None
        assert (scheduler.local, scheduler.workers) == (False, 2)
        assert compute.details() == {"compute": {"engine": "client", "workers": 2}}
        return list(scheduler.map(work.double, range(5)))


def refusal(config: ExistingCluster, kind: type[Exception]) -> str:
    with Compute(config, 1) as compute, pytest.raises(kind) as found:
        compute.scheduler()
    return str(found.value)


def test_it_is_used_by_file_and_by_address_and_lives_on(
    cluster: tuple[LocalCluster, Path],
) -> None:
    made, folder = cluster
    before = set(made.scheduler.workers)
    assert doubled(existing(scheduler_file=str(folder / FILE))) == [0, 2, 4, 6, 8]
    assert doubled(existing(address=made.scheduler_address)) == [0, 2, 4, 6, 8]
    assert made.status.name == "running"
    assert set(made.scheduler.workers) == before


def test_scratch_files_lie_where_all_workers_see_them(
    cluster: tuple[LocalCluster, Path], tmp_path: Path
) -> None:
    address = cluster[0].scheduler_address
    for values, expected in (({}, Path("beside")), ({"shared_folder": str(tmp_path)}, tmp_path)):
        with Compute(existing(address=address, **values), 1) as compute:
            compute.scheduler()
            assert compute.scratch(Path("beside"), "chosen") == expected


def test_a_worker_of_another_version_is_refused(cluster: tuple[LocalCluster, Path]) -> None:
    from distributed import Client

    config = existing(address=cluster[0].scheduler_address)
    with Client(cluster[0], set_as_default=False) as client:
        client.run(work.pretend, "0.0.1")
        try:
            told = refusal(config, ConfigurationError)
        finally:
            client.run(work.pretend, __version__)
    assert "another version" in told
    assert "0.0.1" in told
    assert __version__ in told
    assert doubled(config) == [0, 2, 4, 6, 8]


def test_a_cluster_without_workers_is_told(tmp_path: Path) -> None:
    with started(tmp_path, 0) as made:
        assert "no workers" in refusal(existing(address=made.scheduler_address), RemoteError)


def test_an_encrypted_cluster_is_used_with_its_keys(tmp_path: Path) -> None:
    keys = make_keys(tmp_path)
    certificate, key = str(tmp_path / CERTIFICATE), str(tmp_path / KEY)
    files = {"tls_ca_file": certificate, "tls_cert_file": certificate, "tls_key_file": key}
    with started(tmp_path, 1, protocol="tls://", security=keys) as made:
        assert made.scheduler_address.startswith("tls://")
        assert doubled(existing(address=made.scheduler_address, **files)) == [0, 2, 4, 6, 8]
        file = existing(scheduler_file=str(tmp_path / FILE), **files)
        assert doubled(file) == [0, 2, 4, 6, 8]
        for place in ({"address": made.scheduler_address}, {"scheduler_file": file.scheduler_file}):
            assert "no keys are given" in refusal(existing(**place), ConfigurationError)


@pytest.mark.parametrize("text", ["", "{}", "[]", '"x"'])
def test_a_file_that_names_no_scheduler_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / FILE
    path.write_text(text)
    told = refusal(existing(scheduler_file=str(path)), ConfigurationError)
    assert "names no address" in told
    assert str(path) in told
