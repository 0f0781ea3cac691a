"""What a workflow knows before its first job: its plan, from configuration and sheet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from parfocal.core.step import Step
from parfocal.engine.batch import attempts_path
from parfocal.engine.configuration import (
    WorkflowConfig,
    check_results,
    config_model,
    read_config,
)
from parfocal.engine.file_state import file_state
from parfocal.engine.foresight import check_annotations, check_step, check_workflow_engine
from parfocal.engine.job_attempt import last_attempt
from parfocal.engine.paths import job_attempt_path, outcome_path
from parfocal.engine.resource_model import read_model
from parfocal.engine.resource_plan import allot, plan_resources, resources_path
from parfocal.errors import ConfigurationError
from parfocal.models.base import Parameters
from parfocal.models.compute import LocalProcesses, LocalThreads, SlurmJobs
from parfocal.models.naming import image_id_of
from parfocal.models.resources import ResourceModel, Resources
from parfocal.models.sheet import Row, batch_count, batch_of, read_sheet, rows_digest

__all__ = ["Plan", "make_plan"]


MOST_THREADS = 8
"""Threads of a job, at most: memory grows with them."""


@dataclass(frozen=True)
class Plan:
    """The batches of a sheet, and what the rules ask about them.

    Parameters
    ----------
    config : WorkflowConfig
        The checked configuration.
    rows : sequence of Row
        The images.
    steps : mapping of str to Step
        The steps of the workflow by the names of their rules.
    cores : int
        How many cores there are for all jobs together.
    """

    config: WorkflowConfig
    rows: Sequence[Row]
    steps: Mapping[str, Step]
    cores: int = 1

    @property
    def results(self) -> Path:
        """The results folder."""
        return Path(self.config.results)

    @cached_property
    def members(self) -> dict[int, list[Row]]:
        """The rows of each batch that has any."""
        count = batch_count(len(self.rows), self.config.batch_size)
        members: dict[int, list[Row]] = {}
        for row in self.rows:
            members.setdefault(batch_of(row.image_id, count), []).append(row)
        return dict(sorted(members.items()))

    @property
    def threads(self) -> int:
        """Threads of one job: more than one only where there are fewer batches than cores."""
        return min(max(1, self.cores // len(self.members)), MOST_THREADS)

    def has(self, name: str) -> bool:
        """Return whether a step is part of this run."""
        return getattr(self.config, name, None) is not None

    def batches_with(self, column: str) -> list[int]:
        """Return the batches in which any image has a value in a free column of the sheet."""
        return [n for n, rows in self.members.items() if any(row.free.get(column) for row in rows)]

    def params(self, name: str) -> str:
        """Return the parameters of a step as JSON, the same text for the same values."""
        values = self._params(name).model_dump(mode="json")
        return json.dumps(values, sort_keys=True, ensure_ascii=False)

    def _params(self, name: str) -> Parameters:
        params: Parameters = getattr(self.config, name) or self.steps[name].params()
        return params

    def trigger(self, name: str, batch: str | int) -> str:
        """Return a text that differs when a batch has to be done again.

        It is made of the version of the step, the rows, the state of files that the sheet
        names, and the number of times that the batch ended with failed images.
        """
        step, rows = self.steps[name], self.members[int(batch)]
        state = [step.state(self._params(name), row) for row in rows] if step.state else []
        columns = [port.path[1:-1] for port in step.from_sheet]
        state += [file_state(row.free.get(name)) for name in columns for row in rows]
        digest = hashlib.sha256("\n".join(state).encode()).hexdigest()[:16]
        counter = attempts_path(outcome_path(self.results, step, int(batch)))
        count = counter.read_text(encoding="utf-8").strip() if counter.exists() else "0"
        told = {"version": step.version, "rows": rows_digest(rows), "files": digest}
        return " ".join(f"{k} {v}" for k, v in (told | {"failures": count}).items())

    @cached_property
    def plates(self) -> dict[str, str]:
        """The names of plates by the names of their folders; none unless they are asked for."""
        if not self.has("assemble_plate"):
            return {}
        return {image_id_of(row.plate, row.plate): row.plate for row in self.rows if row.plate}

    @property
    def group_document(self) -> str:
        """Which document of a Zarr group is written last, in the version of NGFF configured."""
        return (
            ".zattrs"
            if getattr(self._params("convert_image"), "ngff", "") == "0.4"
            else "zarr.json"
        )

    def plate_documents(self) -> list[str]:
        """Return the document of each plate to be made."""
        folder = self.results / "plates"
        return [str(folder / f"{name}.ome.zarr" / self.group_document) for name in self.plates]

    def plate_params(self, name: str) -> str:
        """Return the parameters of assemble-plate for the plate in a folder of this name."""
        values = self._params("assemble_plate").model_dump(mode="json")
        return json.dumps(values | {"plate": self.plates[name]}, sort_keys=True)

    def run_trigger(self) -> str:
        """Return a text that differs when the sheet does."""
        return f"rows {rows_digest(self.rows)}"

    def outcomes(self, names: Sequence[str], batches: Sequence[int] | None = None) -> list[str]:
        """Return the outcomes of steps, of all batches unless `batches` are given."""
        numbers = self.members if batches is None else batches
        steps = [self.steps[name] for name in names]
        return [str(outcome_path(self.results, step, n)) for step in steps for n in numbers]

    def remove_stale_outcomes(self, outcomes: Sequence[str]) -> None:
        """Remove outcomes of this workflow's steps that are no part of this run.

        They come from other sizes of batches and from optional steps that are no longer
        configured, and would go on telling of failures.
        """
        current = {Path(outcome) for outcome in outcomes}
        for name in self.steps:
            for path in (self.results / "outcomes" / name).glob("[0-9]*.json"):
                if path not in current:
                    path.unlink()

    def report_is_current(self, outcomes: Sequence[str]) -> bool:
        """Return whether the report is there and newer than all `outcomes`."""
        report = self.results / "report.html"
        paths = [Path(outcome) for outcome in outcomes]
        if not report.exists() or not all(path.exists() for path in paths):
            return False
        return all(path.stat().st_mtime_ns <= report.stat().st_mtime_ns for path in paths)

    @cached_property
    def model(self) -> ResourceModel:
        """The resource model."""
        path = self.config.resource_model
        return read_model(Path(path) if path else None)

    @cached_property
    def resources(self) -> Resources:
        """What the steps are expected to take for each image."""
        return plan_resources(
            Path(self.config.sheet),
            self.rows,
            self.results,
            {
                step.name: self._params(name)
                for name, step in self.steps.items()
                if step.scope == "image" and self.has(name)
            },
            self._worker_threads,
            self.model,
            spread=not isinstance(self.config.compute, LocalThreads),
        )

    def allotment(self, name: str, batch: str | int, attempt: int) -> dict[str, int]:
        """Return what an attempt at a batch is given: ``mem_mb`` (MiB) and ``runtime`` (minutes).

        See `parfocal.engine.resource_plan.allot`.
        """
        step, resources = self.steps[name], self.resources
        sizes = [resources.images[row.image_id] for row in self.members[int(batch)]]
        predictions = [resources.sizes[number].steps[step.name] for number in sizes]
        last = last_attempt(job_attempt_path(self.results, step, str(batch)))
        memory, minutes = allot(predictions, self.model.job, last, attempt, self._processes)
        return {"mem_mb": memory, "runtime": minutes}

    def check(self, where: str) -> None:
        """Refuse what would fail, before the first job.

        Parameters
        ----------
        where : str
            The configuration files, for messages.

        Raises
        ------
        InputError
            If something that the run will need is missing, or cannot be read.
        RemoteError
            If Slurm does not answer.
        """
        check_workflow_engine(self.config.compute, where)
        _ = self.model
        for name, step in self.steps.items():
            if step.scope == "image" and self.has(name):
                check_step(step, self._params(name), self.rows, self.results, self.config.sheet)
        check_annotations(self.config, self.steps, self.rows)

    @property
    def _worker_threads(self) -> int:
        compute = self.config.compute
        if isinstance(compute, LocalProcesses):
            return 1
        return compute.cores if isinstance(compute, SlurmJobs) else self.threads

    @property
    def _processes(self) -> int:
        compute = self.config.compute
        if isinstance(compute, LocalProcesses):
            return 1 + (compute.workers or self.threads)
        return 1

    def compute_options(self) -> list[str]:
        """Return the options that tell a command where to work, none for threads of its own."""
        if isinstance(self.config.compute, LocalThreads):
            return []
        values = self.config.compute.model_dump(mode="json", exclude_defaults=True)
        return ["--compute", json.dumps(values | {"engine": self.config.compute.engine})]

    def config_text(self) -> str:
        """Return the whole configuration, defaults included, as JSON (which is YAML too)."""
        return json.dumps(self.config.model_dump(mode="json"), indent=1, ensure_ascii=False)

    def for_rules(self, **more: Any) -> dict[str, Any]:
        """Return the configuration of the rules; docs/howto/compose-rules.md describes it."""
        asked: dict[str, Callable[..., Any]] = {
            "params": self.params,
            "trigger": self.trigger,
            "resources": self.allotment,
        }
        values = {
            "sheet": self.config.sheet,
            "results": self.config.results,
            "batch_size": self.config.batch_size,
            "threads": self.threads,
            "compute": self.compute_options(),
            "transfer": self.config.transfer.as_environment(),
            "run_trigger": self.run_trigger(),
            "resources_file": str(resources_path(Path(self.config.sheet))),
        }
        return values | asked | more


def make_plan(
    values: Mapping[str, Any],
    *,
    steps: Sequence[str],
    optional: Sequence[str] = (),
    files: Sequence[str | Path] = (),
    cores: int | None = None,
    workflow: Path | None = None,
    is_main: bool = True,
) -> Plan:
    """Check configuration and sample sheet, and plan the run.

    Parameters
    ----------
    values : mapping
        The configuration as it was read.
    steps, optional : sequence of str
        Names of the workflow's rules; the optional ones run when they are configured.
    files : sequence of path
        Where the configuration was read from, for messages.
    cores : int, optional
        How many cores the engine may use on this machine.
    workflow : Path, optional
        Folder of the workflow, in a repository that must not be taken for the results.
    is_main : bool
        Whether this process is the engine's own, and not one that it started for a job: it alone
        looks whether all is there that the jobs will need.

    Raises
    ------
    InputError
        If the configuration or the sheet is not valid, or something is missing that steps need.
    RemoteError
        If the configuration names a Slurm that does not answer.
    """
    from parfocal.steps import STEPS

    known = {step.folder: step for step in STEPS}
    chosen = {name: known[name] for name in (*steps, *optional)}
    model = config_model([chosen[name] for name in steps], [chosen[name] for name in optional])
    where = ", ".join(str(file) for file in files) or "command line"
    config = read_config(model, values, where)
    check_results(config.results, where, workflow.parents[1] if workflow else None)
    _check_conversion(config, where)
    plan = Plan(config, read_sheet(Path(config.sheet)), chosen, cores or 1)
    if plan.has("assemble_plate") and not plan.plates:
        what = "A plate is to be assembled, and no image of the sheet belongs to one"
        remedy = "Fill in the columns plate, well and field, or take the key assemble_plate out."
        raise ConfigurationError(what, where=config.sheet, remedy=remedy)
    if is_main:
        plan.check(where)
    return plan


def _check_conversion(config: WorkflowConfig, where: str) -> None:
    """Refuse conversions to what later steps do not read."""
    convert = getattr(config, "convert_image", None)
    for key, needed in (("format", "ome.zarr"), ("all_series", False)):
        found = getattr(convert, key, needed)
        if found != needed:
            what = "The steps after the conversion read one image as OME-Zarr"
            remedy = "Take the key out here, and run 'parfocal convert-image' for that."
            place = f"{where}, key convert_image.{key}"
            raise ConfigurationError(what, where=place, expected=needed, found=found, remedy=remedy)
