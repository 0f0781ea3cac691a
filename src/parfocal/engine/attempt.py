"""One attempt at a step on one image: leased, recorded, published whole or not at all."""

from __future__ import annotations

import errno
import logging
import os
import resource
import socket
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from parfocal import __version__
from parfocal.core.digest import digest_json, digest_path, size_of
from parfocal.core.lease import Lease
from parfocal.core.publish import Stamp, partial_path, publish, remove_partials, remove_tree
from parfocal.core.step import Context, Port, Step
from parfocal.engine.paths import relative_uri
from parfocal.errors import InputError, OutputExistsError, ParfocalError, StorageError
from parfocal.models.base import Parameters
from parfocal.models.record import Artifact, Engine, Failure, Record
from parfocal.models.sheet import Row
from parfocal.provenance.records import claim_attempt, write_record

__all__ = ["Job", "Result", "engine_from_environment", "failure_of", "perform"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """What is to be done: a step, its parameters, and the paths of one image.

    Parameters
    ----------
    results : Path, optional
        The results folder that records go to; a job without one keeps no numbered records.
    record : Path, optional
        Where else to write the record.
    reuse : bool
        Whether a result with the same key is taken as done, and one with another key is
        replaced; otherwise an existing output is an error.
    """

    step: Step
    params: Parameters
    inputs: dict[str, Path]
    outputs: dict[str, Path]
    image_id: str
    row: Row | None = None
    results: Path | None = None
    record: Path | None = None
    threads: int = 1
    reuse: bool = False
    progress: Callable[[int, int], None] | None = None

    @property
    def primary(self) -> Path:
        """The output that the lease and the stamp stand beside."""
        return self.outputs[self.step.outputs[0].name]

    def artifact(self, port: Port, path: Path, digest: str) -> Artifact:
        """Return the record's entry for an input or output."""
        return Artifact(
            role=port.name,
            kind=port.kind,
            uri=relative_uri(path, self.results),
            size_bytes=size_of(path),
            digest=digest,
        )


@dataclass
class Result:
    """How a job ended."""

    digests: dict[str, str]
    reused: bool = False
    error: BaseException | None = None


def perform(job: Job) -> Result:
    """Do a job, or find it done.

    Returns
    -------
    Result
        With the error if it failed; the record then tells it too.

    Raises
    ------
    StorageError
        If not even the record can be written.
    """
    if not job.reuse:
        _refuse_existing(job)
    result = Result({})
    with Lease(job.primary, engine_from_environment().job_id) as lease, _Attempt(job, result) as it:
        _check_inputs_are_not_outputs(job)
        digests = _input_digests(job)
        key = _key(job, digests)
        stamp = Stamp(job.primary)
        if job.reuse and _is_done(job, stamp, key):
            logger.info("Reused %s of %s", job.step.name, job.image_id)
            result.digests, result.reused = stamp.read()["digests"], True
            return result
        for final in job.outputs.values():
            remove_partials(final)
        it.start(key, digests)
        partials = {name: partial_path(path, lease.token) for name, path in job.outputs.items()}
        it.run(partials)
        lease.check()
        stamp.remove()
        made = {name: digest_path(path, job.threads) for name, path in partials.items()}
        for name, partial in partials.items():
            publish(partial, job.outputs[name])
        it.finish(made)
        stamp.write(key, made[job.step.outputs[0].name], made)
        result.digests = made
    return result


def _check_inputs_are_not_outputs(job: Job) -> None:
    for name, path in job.inputs.items():
        for other, final in job.outputs.items():
            if path.absolute() == final.absolute():
                what = f"Input '{name}' and output '{other}' are the same"
                remedy = "A step never writes into its inputs: name another output."
                raise InputError(what, where=path, remedy=remedy)


def _refuse_existing(job: Job) -> None:
    for name, path in job.outputs.items():
        if path.exists() or path.is_symlink():
            what = f"The output '{name}' exists already"
            remedy = "Name another output, or remove this one first."
            raise OutputExistsError(what, where=path, expected="nothing there", remedy=remedy)


def _input_digests(job: Job) -> dict[str, str]:
    digests = {}
    for port in job.step.inputs:
        path = job.inputs.get(port.name)
        if path is None or port.path == ".":
            continue
        known = Stamp(path).read().get("digest") if job.reuse and path.exists() else None
        digests[port.name] = known or digest_path(path, job.threads)
    return digests


def _key(job: Job, digests: dict[str, str]) -> str:
    shared = bool(job.results) and f"/{job.image_id}/" not in job.primary.as_posix()
    row = job.row
    return digest_json(
        {
            "step": job.step.name,
            "version": job.step.version,
            "parameters": job.params.model_dump(mode="json"),
            "inputs": digests,
            "image": None if shared else job.image_id,
            "row": [row.name, row.series] if row and not shared else None,
            "state": job.step.state(job.params, row) if job.step.state else None,
        }
    )


def _is_done(job: Job, stamp: Stamp, key: str) -> bool:
    return stamp.read().get("key") == key and all(path.exists() for path in job.outputs.values())


class _Attempt:
    """Keeps the record of an attempt, and cleans up behind it, however it ends."""

    def __init__(self, job: Job, result: Result) -> None:
        self._job = job
        self._result = result
        self._record: Record | None = None
        self._path: Path | None = None
        self._context: Context | None = None
        self._partials: list[Path] = []
        self._cpu_before = 0.0

    def __enter__(self) -> Self:
        return self

    def start(self, key: str, digests: dict[str, str]) -> None:
        """Write the record as started."""
        job = self._job
        attempt = 1
        if job.results:
            self._path, attempt = claim_attempt(job.results, job.step.folder, job.image_id)
        elif job.record:
            self._path = job.record
        ports = [port for port in job.step.inputs if port.name in digests]
        artifacts = [job.artifact(p, job.inputs[p.name], digests[p.name]) for p in ports]
        environment = os.environ
        _reset_peak_memory()
        self._cpu_before = _cpu_s()
        self._record = Record(
            step=job.step.name,
            step_version=job.step.version,
            parfocal_version=__version__,
            image_id=job.image_id,
            attempt=attempt,
            key=key or None,
            parameters=job.params.model_dump(mode="json"),
            row=job.row.as_text() if job.row else {},
            inputs=tuple(artifacts),
            started=datetime.now(UTC),
            host=socket.gethostname(),
            pid=os.getpid(),
            engine=engine_from_environment(),
            image_digest=environment.get("PARFOCAL_IMAGE_DIGEST"),
            lock_digest=environment.get("PARFOCAL_LOCK_DIGEST"),
            commit=environment.get("PARFOCAL_COMMIT"),
        )
        self._write()

    def run(self, partials: dict[str, Path]) -> None:
        """Let the step write its outputs to `partials`."""
        job = self._job
        with ExitStack() as stack:
            for partial in partials.values():
                self._partials.append(partial.parent)
                partial.parent.mkdir(parents=True)
            base = os.environ.get("PARFOCAL_SCRATCH") or self._partials[0]
            scratch = Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="scratch-", dir=base))
            )
            self._context = Context(
                scratch, image_id=job.image_id, row=job.row, threads=job.threads
            )
            if job.progress:
                self._context.progress = job.progress
            job.step.run(job.inputs, partials, job.params, self._context)
        missing = [name for name, partial in partials.items() if not partial.exists()]
        if missing:
            msg = f"step {job.step.name} did not write {missing}"
            raise AssertionError(msg)

    def finish(self, digests: dict[str, str]) -> None:
        """Write the record as done."""
        job = self._job
        ports = [port for port in job.step.outputs if port.name in digests]
        artifacts = [job.artifact(p, job.outputs[p.name], digests[p.name]) for p in ports]
        self._end(status="done", outputs=tuple(artifacts))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        """Record a failure of any kind; errors are handed on in the result."""
        for folder in self._partials:
            with suppress(OSError):
                remove_tree(folder)
        if error is None:
            return False
        failure = failure_of(error)
        if failure.exit_code == 1:
            logger.error("A bug in %s", self._job.step.name, exc_info=(kind, error, trace))  # type: ignore[arg-type]
        if self._record is None:
            self.start("", {})
        self._end(status="failed", error=failure)
        self._result.error = error
        return isinstance(error, Exception)

    def _end(self, **changes: Any) -> None:
        context, record = self._context, self._record
        if record is None:
            return
        told = {"warnings": tuple(context.warnings), "details": context.details} if context else {}
        ended = {"ended": datetime.now(UTC), "cpu_s": round(_cpu_s() - self._cpu_before, 3)}
        memory = {"peak_memory_bytes": _peak_memory_bytes()}
        self._record = record.model_copy(update=told | ended | memory | changes)
        self._write()

    def _write(self) -> None:
        record = self._record
        if record is None:
            return
        for path in {self._path, self._job.record} - {None}:
            write_record(path, record)  # type: ignore[arg-type]


def failure_of(error: BaseException) -> Failure:
    """Say what an exception means to the user, and which exit code it has."""
    storage = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
    full = isinstance(error, OSError) and error.errno in storage
    if full or "No space left on device" in str(error):
        where = getattr(error, "filename", None)
        remedy = "Free some space, or choose another results folder; then run again."
        error = StorageError(
            "The disk does not take the result", where=where, found=error, remedy=remedy
        )
    if isinstance(error, ParfocalError):
        code = error.exit_code
    elif isinstance(error, MemoryError):
        code = StorageError.exit_code
    else:
        code = 1
    message = str(error) or type(error).__name__
    return Failure(type=type(error).__name__, message=message, exit_code=code)


def engine_from_environment() -> Engine:
    """Return what runs this process, from ``PARFOCAL_ENGINE`` and the cluster's variables."""
    name, _, version = os.environ.get("PARFOCAL_ENGINE", "shell").partition(" ")
    return Engine(name=name, version=version or None, job_id=os.environ.get("SLURM_JOB_ID"))


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _reset_peak_memory() -> None:
    # So that an image does not answer for the memory of those before it; proc(5), clear_refs.
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_memory_bytes() -> int:
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                own = int(line.split()[1])
    return max(own, children) * 1024
