"""From a configuration to a scheduler: checked before any work, opened when it is needed."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from parfocal.errors import ConfigurationError, ParfocalError
from parfocal.models.compute import (
    ComputeConfig,
    ExistingCluster,
    LocalProcesses,
    LocalThreads,
    SlurmJobs,
    SlurmRunner,
)

if TYPE_CHECKING:
    from parfocal.compute.cluster import Opened
    from parfocal.compute.dask_scheduler import DaskScheduler

__all__ = ["Compute", "check_engine", "taking_part"]

logger = logging.getLogger(__name__)

_NEEDED = {
    "processes": ("distributed", "cryptography"),
    "client": ("distributed",),
    "slurm": ("distributed", "dask_jobqueue", "cryptography"),
    "slurm-runner": ("distributed", "dask_jobqueue", "cryptography"),
}


def check_engine(config: ComputeConfig) -> None:
    """Find out before any work whether an engine could work here.

    Raises
    ------
    ConfigurationError
        If an extra, a command, a folder or a partition is missing, Slurm rejects the jobs, or it
        would be a cluster inside of a cluster.
    RemoteError
        If Slurm does not answer.
    """
    _check_extra(config.engine)
    _refuse_inside_worker(config.engine)
    if isinstance(config, SlurmJobs):
        from parfocal.compute.slurm import check_slurm

        check_slurm(config)
    elif isinstance(config, ExistingCluster):
        from parfocal.compute.existing import check_existing

        check_existing(config)


@contextmanager
def taking_part(config: ComputeConfig) -> Iterator[bool]:
    """Check an engine before any work; of several tasks, let one go on with the step.

    Yields
    ------
    bool
        Whether this process goes on with the step. The others have done their part when they
        come to the body.

    Raises
    ------
    ConfigurationError, RemoteError
        See `check_engine`; and if this is not one of the tasks that engine slurm-runner needs.
    """
    check_engine(config)
    if isinstance(config, SlurmRunner):
        from parfocal.compute.runner import part_of_runner

        with part_of_runner(config) as goes_on:
            yield goes_on
        return
    yield True


def _check_extra(engine: str) -> None:
    missing = [name for name in _NEEDED.get(engine, ()) if find_spec(name) is None]
    if missing:
        what = f"Engine {engine} needs packages that are not installed"
        remedy = "Install them with: pip install 'parfocal[distributed]'"
        raise ConfigurationError(what, found=f"no {', '.join(missing)}", remedy=remedy)


def _refuse_inside_worker(engine: str) -> None:
    """Refuse a cluster inside of a cluster: who is in a worker has its module loaded."""
    module = sys.modules.get("distributed.worker")
    workers = module.Worker._instances if module else ()  # noqa: SLF001  # nothing else tells
    if engine != "threads" and any(worker.status.name == "running" for worker in workers):
        what = "A step inside of a dask worker would start a cluster of its own"
        remedy = "Use engine threads there."
        raise ConfigurationError(what, found=f"engine {engine}", remedy=remedy)


class Compute:
    """Opens an engine when its scheduler is first asked for, and closes it in the end.

    Parameters
    ----------
    config : ComputeConfig
        The engine.
    threads : int
        How many threads the step may use on this machine.
    """

    def __init__(self, config: ComputeConfig, threads: int) -> None:
        self.config = config
        self._threads = threads
        self._stack = ExitStack()
        self._opened: Opened | None = None
        self._scheduler: DaskScheduler | None = None
        self._error: ParfocalError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close what was opened."""
        self._scheduler = self._opened = None
        try:
            self._stack.close()
        except (
            OSError,
            RuntimeError,
        ) as left:  # the work is done, or has failed for its own reason
            logger.warning("Engine %s did not end well: %s", self.config.engine, left)

    def scheduler(self) -> DaskScheduler | None:
        """Return the scheduler, None for threads of this process.

        Raises
        ------
        ParfocalError
            If the engine cannot be opened; each time again, without another try.
        """
        if isinstance(self.config, LocalThreads):
            return None
        if self._error is not None:
            raise self._error
        if self._scheduler is None:
            try:
                self._scheduler = self._open()
            except ParfocalError as error:
                self._error = error
                raise
        return self._scheduler

    def scratch(self, beside: Path, chosen: str | None) -> str | Path:
        """Return the folder for scratch files: one that all workers see.

        Parameters
        ----------
        beside : Path
            Folder beside the output.
        chosen : str, optional
            Folder that the user chose, on this machine.
        """
        if self._opened is not None and self._opened.scratch is not None:
            return self._opened.scratch
        if self._opened is not None and self._opened.beside_output:
            return beside
        return chosen or beside

    def details(self) -> dict[str, Any]:
        """Return what a record tells of it; nothing where it was not opened."""
        if self._opened is None:
            return {}
        told = {"engine": self.config.engine, "workers": self._opened.workers}
        return {"compute": told | self._opened.details}

    @property
    def cpu_s(self) -> float:
        """CPU time of the workers so far, in seconds."""
        return self._scheduler.cpu_s if self._scheduler else 0.0

    def take_peak_memory(self) -> int:
        """Return the largest resident set of a worker, in bytes, since this was asked last."""
        if self._scheduler is None:
            return 0
        peak, self._scheduler.peak_bytes = self._scheduler.peak_bytes, 0
        return peak

    def _open(self) -> DaskScheduler:
        from parfocal.compute.cluster import silence_logs
        from parfocal.compute.dask_scheduler import DaskScheduler

        silence_logs()
        opened = self._opened = self._stack.enter_context(self._cluster())
        logger.info("Working on engine %s, %d at once", self.config.engine, opened.workers)
        return DaskScheduler(opened.client, opened.workers, opened.check, opened.by)

    def _cluster(self) -> AbstractContextManager[Opened]:
        config = self.config
        if isinstance(config, LocalProcesses):
            from parfocal.compute.processes import open_processes

            return open_processes(config, self._threads)
        if isinstance(config, SlurmJobs):
            from parfocal.compute.slurm import open_slurm

            return open_slurm(config)
        if isinstance(config, SlurmRunner):
            from parfocal.compute.runner import open_runner

            return open_runner(config)
        if isinstance(config, ExistingCluster):
            from parfocal.compute.existing import open_existing

            return open_existing(config)
        msg = f"engine {config.engine} has no cluster"
        raise AssertionError(msg)
