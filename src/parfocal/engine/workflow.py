"""What a workflow knows before its first job: its checked configuration and its plan."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from string import Formatter
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError, create_model

from parfocal.core.digest import digest_path
from parfocal.core.step import Step
from parfocal.engine.batch import attempts_path
from parfocal.engine.paths import outcome_path
from parfocal.errors import ConfigurationError
from parfocal.models.base import Model, Parameters, explain_validation
from parfocal.models.sheet import Row, batch_count, batch_of, read_sheet, rows_digest

__all__ = ["Plan", "WorkflowConfig", "config_model", "make_plan", "read_config", "tell_jobs"]


MOST_THREADS = 8
"""Threads of a job, at most: memory grows with them."""

PathText = Annotated[
    str, Field(pattern=r"^[^{}<>\n\r\t]+$"), AfterValidator(lambda text: str(Path(text)))
]
"""A path that engines take as it stands: braces and angle brackets are wildcards to Snakemake."""


class WorkflowConfig(Model):
    """What every workflow is told, besides the parameters of its steps."""

    sheet: PathText = Field(description="Sample sheet, one row an image.")
    results: PathText = Field(
        default="results", description="Results folder; made if it is not there."
    )
    batch_size: int = Field(
        default=64, ge=1, le=10_000, description="Images that share a job and a process, at most."
    )
    label_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$", max_length=64)] = (
        Field(default="nuclei", description="Name of the label image, for all steps.")
    )


def config_model(steps: Sequence[Step], optional: Sequence[Step] = ()) -> type[WorkflowConfig]:
    """Return the model of a workflow's configuration: a key for each step, with its own model.

    Parameters
    ----------
    steps : sequence of Step
        Steps that always run; without their key they have their defaults.
    optional : sequence of Step
        Steps that run only when their key is there and not null.
    """
    fields: dict[str, Any] = {}
    for step in steps:
        fields[step.folder] = (step.params, Field(default_factory=step.params))
    for step in optional:
        fields[step.folder] = (step.params | None, None)
    return create_model("Configuration", __base__=WorkflowConfig, **fields)


def read_config(
    model: type[WorkflowConfig], values: Mapping[str, Any], where: str
) -> WorkflowConfig:
    """Check a configuration.

    Parameters
    ----------
    where : str
        The configuration files, for messages.

    Raises
    ------
    ConfigurationError
        It names the file, the key, and the nearest known one to an unknown key.
    """
    shared = values.get("label_name", model.model_fields["label_name"].default)
    given: dict[str, Any] = {
        key: {} for key, field in model.model_fields.items() if field.default_factory
    }
    complete = {
        key: _with_label_name(model, key, value, shared, where)
        for key, value in (given | dict(values)).items()
    }
    try:
        return model.model_validate(complete)
    except ValidationError as error:
        what = "The configuration is not valid"
        keys = ", ".join(".".join(str(part) for part in e["loc"]) for e in error.errors())
        found = explain_validation(error, model)
        remedy = "'parfocal schema STEP' describes the parameters of a step."
        raise ConfigurationError(
            what, where=f"{where}, key {keys}", found=found, remedy=remedy
        ) from error


def _params_model(model: type[Model], key: str) -> type[Parameters] | None:
    field = model.model_fields.get(key)
    kinds = getattr(field.annotation, "__args__", (field.annotation,)) if field else ()
    found = [k for k in kinds if isinstance(k, type) and issubclass(k, Parameters)]
    return found[0] if found else None


def _with_label_name(
    model: type[WorkflowConfig], key: str, value: Any, shared: Any, where: str
) -> Any:
    params = _params_model(model, key)
    if params is None or "label_name" not in params.model_fields or not isinstance(value, dict):
        return value
    if value.get("label_name", shared) != shared:
        what = "The name of the label image differs between steps"
        remedy = "Set 'label_name' at the top, and in no step."
        raise ConfigurationError(
            what,
            where=f"{where}, key {key}.label_name",
            expected=shared,
            found=value["label_name"],
            remedy=remedy,
        )
    return value | {"label_name": shared}


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
        columns = [port.path for port in step.inputs if _is_column(port.path)]
        state += [_file_state(row.free.get(c[1:-1])) for c in columns for row in rows]
        digest = hashlib.sha256("\n".join(state).encode()).hexdigest()[:16]
        counter = attempts_path(outcome_path(self.results, step, int(batch)))
        count = counter.read_text(encoding="utf-8").strip() if counter.exists() else "0"
        told = {"version": step.version, "rows": rows_digest(rows), "files": digest}
        return " ".join(f"{k} {v}" for k, v in (told | {"failures": count}).items())

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

    def config_text(self) -> str:
        """Return the whole configuration, defaults included, as JSON (which is YAML too)."""
        return json.dumps(self.config.model_dump(mode="json"), indent=1, ensure_ascii=False)

    def for_rules(self, **more: Any) -> dict[str, Any]:
        """Return the configuration of the rules; docs/howto/compose-rules.md describes it."""
        asked: dict[str, Callable[..., str]] = {"params": self.params, "trigger": self.trigger}
        values = {
            "sheet": self.config.sheet,
            "results": self.config.results,
            "batch_size": self.config.batch_size,
            "threads": self.threads,
            "run_trigger": self.run_trigger(),
        }
        return values | asked | more


def _is_column(path: str) -> bool:
    names = [name for _, name, _, _ in Formatter().parse(path) if name]
    return len(names) == 1 and path == f"{{{names[0]}}}"


def _file_state(path: str | None) -> str:
    if not path:
        return "none"
    try:
        stat = Path(path).stat()
    except OSError as error:
        return f"{path} {os.strerror(error.errno or 0)}"
    return f"{path} {stat.st_size} {stat.st_mtime_ns}"


def make_plan(
    values: Mapping[str, Any],
    *,
    steps: Sequence[str],
    optional: Sequence[str] = (),
    files: Sequence[str | Path] = (),
    cores: int | None = None,
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

    Raises
    ------
    ConfigurationError
        If the configuration or the sheet is not valid.
    """
    from parfocal.steps import STEPS

    known = {step.folder: step for step in STEPS}
    chosen = {name: known[name] for name in (*steps, *optional)}
    model = config_model([chosen[name] for name in steps], [chosen[name] for name in optional])
    where = ", ".join(str(file) for file in files) or "command line"
    config = read_config(model, values, where)
    return Plan(config, read_sheet(Path(config.sheet)), chosen, cores or 1)


def tell_jobs(engine: str, workflow: Path) -> None:
    """Put into the environment of all jobs what their records say of the run.

    Parameters
    ----------
    engine : str
        Name and version, such as ``snakemake 9.27.1``.
    workflow : Path
        Folder of the workflow.
    """
    os.environ["PARFOCAL_ENGINE"] = engine
    commit = _commit(workflow)
    if commit:
        os.environ["PARFOCAL_COMMIT"] = commit
    lock = workflow.parents[1] / "envs" / "workflow.lock.txt"
    if lock.exists():
        os.environ["PARFOCAL_LOCK_DIGEST"] = digest_path(lock)


def _commit(folder: Path) -> str | None:
    """Return the commit of the repository that a folder is part of, None outside of one."""
    git = ["git", "-C", str(folder)]
    try:
        head = subprocess.run(
            [*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        )
        # Configuration and sheet are the user's to change; the run crate holds them.
        code = [":/", ":(top,exclude)config"]
        changes = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no", "--", *code],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("-dirty" if changes.stdout.strip() else "")
