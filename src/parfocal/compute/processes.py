"""Worker processes of this machine."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from parfocal.compute.cluster import SCHEDULER, NoWorkers, Opened, connect
from parfocal.core.owned_folder import OwnedFolder
from parfocal.models.compute import LocalProcesses

__all__ = ["open_processes"]


@contextmanager
def open_processes(config: LocalProcesses, threads: int) -> Iterator[Opened]:
    """Start worker processes that speak over loopback only, encrypted: others use it too.

    Their memory is not bounded here but by whatever bounds this process, such as its job: what
    one needs more another may need less.

    Parameters
    ----------
    threads : int
        How many processes where `config` does not say.
    """
    from distributed import LocalCluster

    from parfocal.compute.keys import make_keys

    workers = config.workers or threads
    scratch = os.environ.get("PARFOCAL_SCRATCH") or tempfile.gettempdir()
    with (
        OwnedFolder(Path(scratch)) as folder,
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            protocol="tls://",
            security=make_keys(folder.path),
            memory_limit=0,
            local_directory=str(folder.path),
            scheduler_kwargs=SCHEDULER,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        connect(cluster) as client,
    ):
        folder.remove_dead()
        yield Opened(client, workers, check=NoWorkers(client))
