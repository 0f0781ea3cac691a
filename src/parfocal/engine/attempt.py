"""One attempt at a step on one image: leased, recorded, published whole or not at all."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from parfocal.core.digest import digest_json, digest_path, is_zarr
from parfocal.core.lease import Lease
from parfocal.core.publish import (
    Stamp,
    adopt_partial,
    partial_path,
    publish,
    remove_partials,
    remove_tree,
)
from parfocal.core.zipped_zarr import ZippedZarr
from parfocal.engine.job import (
    Job,
    Result,
    check_paths,
    engine_from_environment,
    refuse_existing,
)
from parfocal.engine.packed_inputs import zipped_inputs
from parfocal.engine.recording import Attempt
from parfocal.errors import OutputExistsError, VerificationError

__all__ = ["perform"]

logger = logging.getLogger(__name__)


def perform(job: Job) -> Result:
    """Do a job, or find it done.

    Returns
    -------
    Result
        With the error if it failed; the record then tells it too.

    Raises
    ------
    OutputExistsError, InputError
        If the job refuses existing outputs and there are some, or an output lies in an input:
        nothing was attempted, and no record is written.
    StorageError
        If not even the lease or the record can be written.
    """
    result = Result({})
    with Lease(job.primary, engine_from_environment().job_id) as lease:
        if job.existing == "refuse":
            check_paths(job)
            refuse_existing(job)
        with Attempt(job, result) as attempt:
            check_paths(job)
            _remove_torn(job)
            zipped = zipped_inputs(job)
            digests = _input_digests(job, zipped)
            key = _key(job, digests)
            stamp = Stamp(job.primary)
            if job.existing == "reuse" and _is_done(job, stamp, key):
                logger.info("Reused %s of %s", job.step.name, job.image_id)
                result.digests, result.reused = stamp.digests, True
                return result
            attempt.start(key, digests)
            result.digests = _make(job, attempt, lease, key, zipped)
    return result


def _remove_torn(job: Job) -> None:
    """Remove an OME-Zarr of ours that an engine took the root document out of.

    Snakemake deletes the files that a rule declares before the job, and nothing beside them; if
    the job then failed, what is left would stand under its final name.
    """
    for port in job.step.outputs:
        path = job.outputs[port.name]
        ours = path == job.primary and Stamp(path).digests
        if ours and port.kind in ("ome-zarr", "image") and path.is_dir() and not is_zarr(path):
            remove_tree(path)


def _make(
    job: Job, attempt: Attempt, lease: Lease, key: str, zipped: Mapping[str, ZippedZarr]
) -> dict[str, str]:
    """Make the outputs and publish them all, or leave none of them behind.

    Of a verification that found differences, what tells of them is published.
    """
    partials = _claim_partials(job, lease, key)
    try:
        digests = attempt.run(partials, zipped)
    except VerificationError:
        lease.check()
        if job.step.tells_differences:
            _publish_differences(job, partials)
        raise
    finally:
        lease.check()
    stamp = Stamp(job.primary)
    stamp.remove()
    with ExitStack() as undo:
        for name, partial in partials.items():
            undo.callback(remove_tree, job.outputs[name])
            publish(partial, job.outputs[name])
        attempt.finish(digests)
        stamp.write(key, digests, job.outputs)
        undo.pop_all()
    return digests


def _publish_differences(job: Job, partials: Mapping[str, Path]) -> None:
    """Publish what a verification found, without a stamp: nobody is to take it for done."""
    Stamp(job.primary).remove()
    for name, partial in partials.items():
        if partial.exists():
            publish(partial, job.outputs[name])


def _claim_partials(job: Job, lease: Lease, key: str) -> dict[str, Path]:
    """Return where to write the outputs; that of a resumable step may be half there already."""
    partials = {}
    for name, final in job.outputs.items():
        if job.step.resumable and final == job.primary:
            if adopt_partial(final, lease.token, key):
                logger.info("Going on with what an interrupted attempt left of %s", final)
            partials[name] = partial_path(final, lease.token, key)
        else:
            remove_partials(final)
            partials[name] = partial_path(final, lease.token)
    return partials


def _input_digests(job: Job, zipped: Mapping[str, ZippedZarr]) -> dict[str, str]:
    digests = {}
    for port in job.step.inputs:
        path = job.inputs.get(port.name)
        if path is not None and port.path != ".":
            known = Stamp(path).digest() if job.results else None
            if known is None and port.name in zipped and path.is_file():
                known = zipped[port.name].digest()
            digests[port.name] = known or digest_path(path, job.threads)
    return digests


def _key(job: Job, digests: Mapping[str, str]) -> str:
    row = job.row
    return digest_json(
        {
            "step": job.step.name,
            "version": job.step.version,
            "parameters": job.params.model_dump(mode="json"),
            "inputs": dict(digests),
            "image": None if job.shared else job.image_id,
            "row": [row.name, row.series] if row and not job.shared else None,
            "state": job.step.state(job.params, row) if job.step.state else None,
        }
    )


def _is_done(job: Job, stamp: Stamp, key: str) -> bool:
    """Return whether the outputs are there, made from the same, and unchanged since."""
    if not stamp.digests or not all(path.exists() for path in job.outputs.values()):
        return False
    changed = [name for name, path in job.outputs.items() if not stamp.vouches_for(name, path)]
    if changed:
        # Copying results changes the times of files only; the digest then says that they are whole.
        for name in changed:
            _refuse_edited(name, job.outputs[name], stamp.digests.get(name), job.threads)
        if stamp.key == key:
            stamp.write(key, stamp.digests, job.outputs)
    return stamp.key == key


def _refuse_edited(name: str, path: Path, expected: str | None, threads: int) -> None:
    found = digest_path(path, threads)
    if found != expected:
        what = f"The output '{name}' was changed since this step made it"
        remedy = "Move it away to keep the changes, or remove it; then run again."
        raise OutputExistsError(what, where=path, expected=expected, found=found, remedy=remedy)
