"""The record of an attempt: written when it starts, and again however it ends."""

from __future__ import annotations

import logging
import os
import platform
import socket
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from parfocal import __version__
from parfocal.core.digest import digest_path, lines_told
from parfocal.core.memory import reset_peak
from parfocal.core.owned_folder import OwnedFolder
from parfocal.core.publish import remove_tree
from parfocal.core.step import Context
from parfocal.core.zipped_zarr import ZippedZarr
from parfocal.engine.failures import explain, failure_of
from parfocal.engine.job import Job, Result, engine_from_environment
from parfocal.engine.lock_file import unlocked_here
from parfocal.engine.packed_inputs import renamed_inputs, unpack
from parfocal.engine.packed_sets import unpack_sets
from parfocal.engine.paths import digest_lists_of
from parfocal.engine.replaced_crate import refuse_other
from parfocal.engine.strange_files import refuse_references
from parfocal.engine.usage import cpu_s, peak_memory_bytes
from parfocal.errors import RemoteError, StorageError, WorkerDiedError
from parfocal.models.record import Record
from parfocal.models.source import without_secret
from parfocal.provenance.records import claim_attempt, iter_attempts, write_record
from parfocal.provenance.verify_lists import DigestLists

__all__ = ["Attempt", "base_record", "record_at"]

logger = logging.getLogger(__name__)

_MOST_LISTED = 1 << 20  # characters in a record: some 13,000 files


class Attempt:
    """Keeps the record of an attempt, and cleans up behind it, however it ends.

    Parameters
    ----------
    job : Job
        What is attempted.
    result : Result
        Where an error is handed on.
    """

    def __init__(self, job: Job, result: Result) -> None:
        self._job = job
        self._result = result
        self._record: Record | None = None
        self._path: Path | None = None
        self._context: Context | None = None
        self._partials: list[Path] = []
        self._cpu_before_s = 0.0
        self._lines: dict[str, bytes] = {}
        self._listed: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def start(self, key: str | None, digests: Mapping[str, str]) -> None:
        """Write the record as started.

        Parameters
        ----------
        key : str, optional
            The reuse key.
        digests : mapping of str to str
            Digests of the inputs by role.

        Raises
        ------
        StorageError
            If the record cannot be written.
        """
        job = self._job
        attempt = 1
        if job.results:
            with record_at(job.results / "records"):
                self._path, attempt = claim_attempt(job.results, job.step.folder, job.image_id)
                _end_broken(job)
        ports = [port for port in job.step.inputs if port.name in digests]
        artifacts = [job.artifact(p, job.inputs[p.name], digests[p.name]) for p in ports]
        reset_peak()
        job.compute.take_peak_memory()
        self._cpu_before_s = self._cpu_s()
        record = base_record(job, attempt)
        self._record = record.model_copy(update={"key": key, "inputs": tuple(artifacts)})
        self._write()

    def run(self, partials: Mapping[str, Path], zipped: Mapping[str, ZippedZarr]) -> dict[str, str]:
        """Let the step write its outputs to `partials`, and return their digests by name.

        Parameters
        ----------
        partials : mapping of str to Path
            Where to write, by the names of the outputs.
        zipped : mapping of str to ZippedZarr
            The inputs that are unpacked before, by their names.

        Raises
        ------
        OutputExistsError
            If something lies where a crate goes that is none.
        """
        job = self._job
        for port in job.step.outputs:
            if port.kind == "crate":
                refuse_other(job.outputs[port.name])
        for partial in partials.values():
            self._partials.append(partial.parent)
            partial.parent.mkdir(parents=True, exist_ok=True)
        distributed = job.compute.scheduler()
        chosen = os.environ.get("PARFOCAL_SCRATCH")
        base = job.compute.scratch(self._partials[0], chosen)
        with _scratch_folder(Path(base), owned=base == chosen) as scratch:
            self._context = Context(
                scratch,
                image_id=job.image_id,
                row=job.row,
                threads=job.threads,
                distributed=distributed,
                details=job.compute.details(),
            )
            if job.progress:
                self._context.progress = job.progress
            inputs = job.inputs | renamed_inputs(job, scratch) | unpack(zipped, scratch)
            inputs |= unpack_sets(job, zipped, scratch)
            refuse_references(job, inputs, scratch)
            with lines_told(self._lines.__setitem__):
                job.step.run(inputs, partials, job.params, self._context)
        missing = [name for name, partial in partials.items() if not partial.exists()]
        if missing:
            msg = f"step {job.step.name} did not write {missing}"
            raise AssertionError(msg)
        known = self._context.digests
        with lines_told(self._lines.__setitem__):
            made = {n: known.get(p) or digest_path(p, job.threads) for n, p in partials.items()}
        self._keep_lines(made.values())
        return made

    def _keep_lines(self, digests: Iterable[str]) -> None:
        """Keep the digests of the files of each OME-Zarr: they name a chunk that changes later."""
        known = {
            digest: self._lines[digest] for digest in sorted(set(digests) & self._lines.keys())
        }
        if self._job.results is None:
            whole = sum(map(len, known.values())) <= _MOST_LISTED
            texts = {d: lines.decode("ascii") for d, lines in known.items() if lines.isascii()}
            self._listed = texts if whole else {}
            return
        lists = DigestLists(digest_lists_of(self._job.results))
        for digest, lines in known.items():
            lists.keep(digest, lines)

    def finish(self, digests: Mapping[str, str]) -> None:
        """Write the record as done, with the digests of the outputs by role."""
        job = self._job
        ports = [port for port in job.step.outputs if port.name in digests]
        artifacts = [job.artifact(p, job.outputs[p.name], digests[p.name]) for p in ports]
        self._end(status="done", outputs=tuple(artifacts), digest_lists=self._listed)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        """Record a failure of any kind; all but requests to stop are handed on in the result."""
        if error is not None:
            error = explain(error, self._job.primary)
        self._clean_up(error)
        if error is None:
            return False
        if self._record is None:
            self.start(None, {})
        self._end(status="failed", outputs=(), error=failure_of(error))
        self._result.error = error
        return isinstance(error, Exception)

    def _clean_up(self, error: BaseException | None) -> None:
        """Remove what was being written, unless a later attempt can go on with it."""
        resumable = self._job.step.resumable and _may_go_on(error)
        for folder in self._partials:
            if resumable and (folder / self._job.primary.name).is_dir():
                logger.warning("The next attempt goes on with what is kept in %s", folder)
                continue
            try:
                remove_tree(folder)
            except OSError as left:
                logger.warning("A partial output could not be removed: %s", left)

    def _end(self, **changes: Any) -> None:
        context, record = self._context, self._record
        if record is None:
            return
        told = {"warnings": tuple(context.warnings), "details": context.details} if context else {}
        ended = {"ended": datetime.now(UTC), "cpu_s": round(self._cpu_s() - self._cpu_before_s, 3)}
        peak = max(peak_memory_bytes(), self._job.compute.take_peak_memory())
        memory = {"peak_memory_bytes": peak}
        self._record = record.model_copy(update=told | ended | memory | changes)
        self._write()

    def _cpu_s(self) -> float:
        return cpu_s() + self._job.compute.cpu_s

    def _write(self) -> None:
        for path in (self._path, self._job.record):
            if path is not None and self._record is not None:
                with record_at(path):
                    write_record(path, self._record)


def _end_broken(job: Job) -> None:
    """Tell in records that say started what broke them off; the lease says that nobody is at it."""
    if not job.broken_off or job.results is None:
        return
    for path, record in iter_attempts(job.results, job.step.folder, job.image_id):
        if record.status == "started":
            what = "The attempt was broken off"
            error = failure_of(WorkerDiedError(what, where=job.image_id, found=job.broken_off))
            write_record(path, record.model_copy(update={"status": "failed", "error": error}))


def _may_go_on(error: BaseException | None) -> bool:
    """Tell whether the same attempt may end well another time: it was stopped, or lacked room."""
    stopped = error is not None and not isinstance(error, Exception)
    return stopped or isinstance(error, (StorageError, RemoteError))


@contextmanager
def _scratch_folder(base: Path, *, owned: bool) -> Iterator[Path]:
    """Make an empty folder; beside an output, a partial takes it along when it is removed."""
    if not owned:
        # What stays goes with the partial, or is told there: never in place of an error.
        made = tempfile.TemporaryDirectory(prefix="scratch-", dir=base, ignore_cleanup_errors=True)
        with made as folder:
            yield Path(folder)
        return
    with OwnedFolder(base, parts=("scratch",)) as own:
        own.remove_dead()
        yield own.path / "scratch"


@contextmanager
def record_at(where: Path) -> Iterator[None]:
    """Turn the errors of the file system into one that says that a record is lacking.

    Raises
    ------
    StorageError
        In place of an OSError.
    """
    try:
        yield
    except OSError as error:
        what = "The record of an attempt cannot be written"
        remedy = "Free some space, or make the folder writable; then run again."
        raise StorageError(what, where=where, found=error, remedy=remedy) from error


def base_record(job: Job, attempt: int) -> Record:
    """Return the record of an attempt that starts now, without inputs."""
    return Record(
        step=job.step.name,
        step_version=job.step.version,
        parfocal_version=__version__,
        python_version=platform.python_version(),
        image_id=job.image_id,
        attempt=attempt,
        parameters=without_secret(job.params.model_dump(mode="json")),
        row=without_secret(job.row.as_text()) if job.row else {},
        started=datetime.now(UTC),
        threads=job.threads,
        predicted=job.predicted,
        host=socket.gethostname(),
        pid=os.getpid(),
        engine=engine_from_environment(),
        image_digest=os.environ.get("PARFOCAL_IMAGE_DIGEST"),
        container_id=os.environ.get("PARFOCAL_IMAGE_ID"),
        lock_digest=os.environ.get("PARFOCAL_LOCK_DIGEST"),
        unlocked=unlocked_here(),
        commit=os.environ.get("PARFOCAL_COMMIT"),
    )
