"""Run single steps in an environment that was made: by its ``parfocal`` command."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from parfocal.core.outcomes import read_outcome
from parfocal.core.publish import write_json
from parfocal.engine.job import Job
from parfocal.engine.repeat.place import Place, Work, work_in
from parfocal.models.sheet import Row, write_sheet
from parfocal.provenance.crate_terms import flatten

__all__ = ["Task", "put", "run_task"]

logger = logging.getLogger(__name__)

_PATHS = ("source", "model.path")


@dataclass(frozen=True)
class Task:
    """A job, and by which names its parameters were recorded.

    A step may have parameters here that it did not have then, and would not take there.
    """

    job: Job
    recorded: frozenset[str]

    def parameters(self) -> dict[str, Any]:
        """Return the values of the parameters that were recorded."""
        values: dict[str, Any] = {}
        for name, value in self._flat():
            if name in self.recorded:
                put(values, name.split("."), value)
        return values

    def reads(self) -> set[Path]:
        """Return what the step takes from outside of the results folder."""
        job = self.job
        named = {Path(value) for name, value in self._flat() if name in _PATHS and value}
        inputs = {
            path for path in job.inputs.values() if not path.is_relative_to(job.results or "")
        }
        return inputs | {path for path in named if path.is_absolute()}

    def models(self) -> set[Path]:
        """Return where the learned model lies that the step uses, if it uses one."""
        return {Path(value) for name, value in self._flat() if name == "model.path" and value}

    def _flat(self) -> Iterator[tuple[str, Any]]:
        yield from flatten(self.job.params.model_dump(mode="json"))


def run_task(task: Task, place: Place, work: Work) -> None:
    """Run the step of a task in an environment, as a batch of one image; log if it fails."""
    job = task.job
    with TemporaryDirectory(dir=work.folder, prefix=".job-") as scratch:
        sheet, params, outcome = (Path(scratch, n) for n in ("row.tsv", "params.json", "0.json"))
        source = str(getattr(job.params, "source", None) or "unknown")
        write_sheet(sheet, [job.row or Row(image_id=job.image_id, source=source)])
        write_json(params, task.parameters())
        paths = {name: str(path) for name, path in (job.inputs | job.outputs).items()}
        escaped = {name: path.replace("{", "{{").replace("}", "}}") for name, path in paths.items()}
        command = [
            *("-m", "parfocal", job.step.name, "--batch=0", "--batch-size=1"),
            *(f"--sheet={sheet}", f"--folder={job.results}", f"--outcome={outcome}"),
            *(f"--params={params}", f"--threads={job.threads}"),
            *(f"--path={name}={path}" for name, path in escaped.items()),
        ]
        code = work_in(place, work, command)
        done = not code and read_outcome(outcome).images[0].status == "done"
    if not done:
        logger.error("%s of %s failed: exit code %d", job.step.name, job.image_id, code)


def put(values: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Put a value into mappings in each other, by the names that lead to it."""
    for name in path[:-1]:
        inner = values.setdefault(name, {})
        values = inner if isinstance(inner, dict) else {}
    values[path[-1]] = value
