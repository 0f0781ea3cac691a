"""What would fail is refused when a run is planned, before its first job."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from parfocal.compute import check_engine
from parfocal.core.step import Step
from parfocal.engine.paths import resolve_ports
from parfocal.errors import ConfigurationError, InputError
from parfocal.models.base import Parameters
from parfocal.models.compute import ComputeConfig, SlurmRunner
from parfocal.models.sheet import Row

__all__ = ["check_step", "check_workflow_engine"]


def check_workflow_engine(config: ComputeConfig, where: str) -> None:
    """Make sure that the jobs of a workflow can work where its configuration says.

    Parameters
    ----------
    config : ComputeConfig
        Where blocks of images are worked on.
    where : str
        The configuration files, for messages.

    Raises
    ------
    ConfigurationError
        If they cannot; see `parfocal.compute.check_engine`.
    RemoteError
        If Slurm does not answer.
    """
    if isinstance(config, SlurmRunner):
        what = "Engine slurm-runner is for one command under srun; a job of a workflow is one task"
        remedy = "Use engine slurm or threads, or run the step by itself: docs/howto/compute.md."
        raise ConfigurationError(what, where=f"{where}, key compute.engine", remedy=remedy)
    check_engine(config)


def check_step(
    step: Step, params: Parameters, rows: Sequence[Row], results: Path, sheet: str
) -> None:
    """Make sure that a step has what it needs besides the results of others.

    Parameters
    ----------
    step : Step
        A step of the workflow.
    params : Parameters
        Its parameters.
    rows : sequence of Row
        The images.
    results : Path
        The results folder.
    sheet : str
        The sample sheet, for messages.

    Raises
    ------
    InputError
        If a file that the sheet names is not there, or the step refuses parameters and inputs. The
        first such image is told, and how many there are.
    """
    if not step.from_sheet:  # the same for all images
        if step.check is not None and rows:
            step.check(resolve_ports(results, step, params, rows[0], {})[0], params)
        return
    found = list(_refusals(step, params, rows, results))
    if found:
        (image_id, first), others = found[0], len(found) - 1
        more = f" and {others} more" if others else ""
        raise ConfigurationError(
            first.what,
            where=f"{sheet}, image {image_id}{more}, {first.where}",
            expected=first.expected,
            found=first.found,
            remedy=first.remedy,
        ) from first


def _refusals(
    step: Step, params: Parameters, rows: Sequence[Row], results: Path
) -> Iterator[tuple[str, InputError]]:
    """Yield the images that the step cannot work on, and why."""
    for row in rows:
        inputs, _ = resolve_ports(results, step, params, row, {})
        try:
            _refuse_missing(step, inputs)
            if step.check is not None:
                step.check(inputs, params)
        except InputError as error:
            yield row.image_id, error


def _refuse_missing(step: Step, inputs: dict[str, Path]) -> None:
    for port in step.from_sheet:
        path = inputs.get(port.name)
        if path is not None and not path.exists():
            what = "A file that the sheet names is not there"
            remedy = "Correct the path, which counts from the folder that the run is started in."
            raise InputError(what, where=f"column {port.path[1:-1]}", found=path, remedy=remedy)
