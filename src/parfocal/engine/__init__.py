"""Run steps: on one image, on a batch, with leases, records and outcomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from parfocal.compute import Compute
from parfocal.core.step import Step
from parfocal.engine.attempt import perform
from parfocal.engine.job import Job, Result
from parfocal.engine.packed_inputs import inner_zarr
from parfocal.errors import ConfigurationError
from parfocal.models.base import Parameters, explain_validation
from parfocal.models.compute import LocalThreads
from parfocal.models.naming import WHOLE_RUN, is_image_id
from parfocal.models.sheet import Row

__all__ = ["Result", "run_step"]


def run_step(
    step: Step,
    inputs: Mapping[str, str | Path],
    outputs: Mapping[str, str | Path],
    params: Parameters | Mapping[str, Any] | None = None,
    *,
    threads: int = 1,
    compute: Compute | None = None,
    record: str | Path | None = None,
    existing: Literal["refuse", "replace", "reuse"] = "refuse",
    progress: Callable[[int, int], None] | None = None,
    image_id: str | None = None,
    names: Mapping[str, str] | None = None,
    row: Row | None = None,
    results: str | Path | None = None,
) -> Result:
    """Run one step on one image, as its command does.

    Parameters
    ----------
    step : Step
        The step, such as ``parfocal.steps.filter_image.STEP``.
    inputs, outputs : mapping of str to path
        Where they lie, by the names of the step's ports.
    params : Parameters or mapping, optional
        The parameters of the step; those that are left out have their defaults.
    threads : int
        How many threads the step may use.
    compute : Compute, optional
        Where blocks of the image are worked on, if not in threads. The caller closes it.
    record : path, optional
        Where to write the record of the attempt.
    existing : {"refuse", "replace", "reuse"}
        What becomes of outputs that are there already; see `Job`.
    progress : callable, optional
        Called as ``progress(done, total)``.
    image_id : str, optional
        The name of the image in tables and records; that of its file if not given.
    names : mapping of str to str, optional
        What the step shall see input files called, by the names of the ports, where their paths
        say nothing of what they are.
    row : Row, optional
        Its row of a sample sheet, by which the image is called too.
    results : path, optional
        A results folder around the outputs, to keep the record of the attempt in; not for steps
        on a whole run, which have it as an input.

    Returns
    -------
    Result
        The digests of the outputs by the names of the ports.

    Raises
    ------
    ConfigurationError
        If a port or a parameter is unknown, missing, or out of its bounds.
    ParfocalError
        What the step raised; nothing is left at the outputs then.
    """
    _check_ports(step, inputs, outputs)
    called = row.image_id if row else image_id
    if called is None:
        called = _image_id(step, inputs, outputs)
    job = Job(
        step=step,
        params=_check_params(step, params),
        inputs={
            port.name: inner_zarr(port, Path(inputs[port.name]))
            for port in step.inputs
            if port.name in inputs
        },
        outputs={port.name: Path(outputs[port.name]) for port in step.outputs},
        image_id=called,
        row=row,
        # A step on a whole run keeps its record with those of the run.
        results=_results(inputs, outputs, results, called),
        record=Path(record) if record is not None else None,
        threads=threads,
        compute=compute or Compute(LocalThreads(), threads),
        existing=existing,
        progress=progress,
        names=dict(names or {}),
    )
    if step.check is not None:
        step.check(job.inputs, job.params)
    result = perform(job)
    if result.error is not None:
        raise result.error
    return result


def _results(
    inputs: Mapping[str, str | Path],
    outputs: Mapping[str, str | Path],
    results: str | Path | None,
    image_id: str,
) -> Path | None:
    """Return the results folder that the record goes to; None for none."""
    if "results" in inputs:
        return Path(inputs["results"])
    if results is None:
        return None
    if not is_image_id(image_id) or image_id == WHOLE_RUN:
        what = "An image cannot be called so in a results folder"
        expected = f"letters, digits, '.', '_' and '-', and not {WHOLE_RUN}"
        raise ConfigurationError(what, where=results, expected=expected, found=image_id)
    for output in outputs.values():
        if not Path(output).resolve().is_relative_to(Path(results).resolve()):
            what = "An output lies outside of the results folder that is to tell of it"
            raise ConfigurationError(what, where=output, expected=f"a path in {results}")
    return Path(results)


def _image_id(
    step: Step, inputs: Mapping[str, str | Path], outputs: Mapping[str, str | Path]
) -> str:
    """Name the image after its file, so that tables of one image agree with each other."""
    if step.scope == "run":
        return "_run"
    both = {**outputs, **inputs}
    named = [both[name] for name in ("image", "labels", step.outputs[0].name) if name in both]
    name = Path(named[0]).name
    return name.partition(".")[0] or name


def _check_params(step: Step, params: Parameters | Mapping[str, Any] | None) -> Parameters:
    if isinstance(params, step.params):
        return params
    try:
        return step.params.model_validate(dict(params or {}))
    except ValidationError as error:
        what = f"Parameters of {step.name} are not valid"
        remedy = f"'parfocal schema {step.name}' describes them all."
        found = explain_validation(error, step.params)
        raise ConfigurationError(what, found=found, remedy=remedy) from error


def _check_ports(step: Step, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
    for ports, given, kind in ((step.inputs, inputs, "inputs"), (step.outputs, outputs, "outputs")):
        names = {port.name for port in ports}
        needed = {port.name for port in ports if port.required or kind == "outputs"}
        if not needed <= set(given) <= names:
            what = f"The {kind} of {step.name} are not those that it has"
            expected = ", ".join(sorted(needed)) or "none"
            raise ConfigurationError(what, expected=expected, found=", ".join(sorted(given)))
