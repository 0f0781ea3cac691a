"""What would fail is refused when a run is planned, before its first job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from parfocal.compute import check_engine
from parfocal.core.step import Step
from parfocal.engine.configuration import WorkflowConfig
from parfocal.engine.paths import resolve_ports
from parfocal.errors import ConfigurationError, InputError
from parfocal.models.base import Parameters
from parfocal.models.compute import ComputeConfig, SlurmRunner
from parfocal.models.sheet import Row

__all__ = ["check_annotations", "check_step", "check_workflow_engine"]


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


def check_annotations(
    config: WorkflowConfig, steps: Mapping[str, Step], rows: Sequence[Row]
) -> None:
    """Make sure that what goes back to OMERO can be planned, and be written if it is to be.

    Parameters
    ----------
    config : WorkflowConfig
        Whether annotations are planned and applied, how, and which sheet the rows are from.
    steps : mapping of str to Step
        The steps of the workflow by the names of their rules.
    rows : sequence of Row
        The images.

    Raises
    ------
    InputError
        If the sheet does not fit the parameters, or there is nothing to log in with. No server is
        asked for anything.
    """
    name, path = "plan_annotations", Path(config.sheet)
    step = steps.get(name)
    if step is None or step.check is None or not config.annotate.enabled:
        return
    from parfocal.steps.annotations.cells import container_of, find_targets
    from parfocal.steps.annotations.servers import check_logins

    step.check({"sheet": path}, getattr(config, name))
    if config.annotate.apply:
        containers = [container_of(row, path) for row in rows]
        try:
            check_logins([*find_targets(rows, path).values(), *filter(None, containers)])
        except InputError as error:
            more = "Or set annotate.apply to false, and apply the plan when the run is done."
            error.remedy = " ".join(filter(None, (error.remedy, more)))
            raise


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
