"""The README of a run crate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from parfocal.models.record import Record
from parfocal.provenance.crate_actions import error_text
from parfocal.provenance.crate_losses import losses_readme
from parfocal.provenance.crate_selection import Selection
from parfocal.provenance.crate_terms import redact
from parfocal.provenance.lost_records import Loss

__all__ = ["readme_text"]

_PROCESS = """\
This is a Process Run Crate: it tells each attempt, and not which workflow they belong to, since no
workflow was given to `record-run`.
"""
_PROVENANCE = """\
This is a Provenance Run Crate: besides each attempt it holds the workflow, and tells which step of
it passed what to which.
"""
_CHECK = """\
## Check a result

{data}: it names each file and folder by its path relative to the
results folder (`alternateName`) and tells its digest (`identifier`). `sha256:` is the digest of
a file, as `sha256sum FILE` prints it. `zarr-merkle-sha256:` is that of an OME-Zarr: the sha256 of
the lines `<sha256>  <key>` of its Zarr keys and of `OME/*`, sorted by key.
"""

_WITHOUT = "The data are not in this crate"
_WITH_INPUTS = """\
In `inputs/` are copies of what the run took from the machine that it ran on; an OME-Zarr is a zip
file there. The results are not in this crate"""
_NO_RECORD = (
    "No step was run on them, or no record of it was handed on: Galaxy hands on none of a job that "
    "failed."
)


def readme_text(
    name: str,
    description: str,
    selection: Selection,
    idle: Sequence[str],
    *,
    workflow: bool,
    inputs: bool = False,
    losses: Sequence[Loss] = (),
) -> str:
    """Return the README of a crate, in Markdown.

    Parameters
    ----------
    idle : sequence of str
        Images of the sheet of which there is no record at all.
    workflow : bool
        Whether the workflow is in the crate.
    inputs : bool
        Whether copies of the inputs are.
    losses : sequence of Loss
        Attempts without a record.
    """
    kind = _PROVENANCE if workflow else _PROCESS
    parts = [f"# {_line(name)}\n\n{_line(description)}\n", kind, _steps(selection)]
    if selection.open:
        parts.append(_failures(selection.open))
    parts += losses_readme(losses)
    if idle:
        listed = "\n".join(f"- `{image_id}`" for image_id in idle)
        parts.append(f"## Images without a record\n\n{_NO_RECORD}\n\n{listed}\n")
    parts.append(_CHECK.format(data=_WITH_INPUTS if inputs else _WITHOUT))
    return "\n".join(parts)


def _steps(selection: Selection) -> str:
    done = Counter(record.step for record in selection.done)
    failed = Counter(record.step for record in selection.failed)
    rows = "".join(
        f"| {step} | {done[step]} | {failed[step]} |\n" for step in sorted(done | failed)
    )
    head = "| step | attempts behind the results | attempts that failed |\n|---|---:|---:|\n"
    return f"## Steps\n\n{head}{rows}"


def _failures(open_failures: Sequence[Record]) -> str:
    listed = "".join(
        f"- `{record.image_id}` at {record.step}: {_line(error_text(record) or '')}\n"
        for record in open_failures
    )
    return f"## What failed and was not made good\n\n{listed}"


def _line(text: str) -> str:
    return " ".join(redact(text).split())
