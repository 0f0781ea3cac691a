"""Run the steps of a crate again that were run one by one, without a workflow."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from parfocal.core.step import Port, Step
from parfocal.engine.attempt import perform
from parfocal.engine.job import Job
from parfocal.engine.repeat.jobs import Task, put, run_task
from parfocal.engine.repeat.place import Place, Work
from parfocal.engine.repeat.sheet import PlacedSheet
from parfocal.engine.tell_jobs import own_code_told
from parfocal.errors import InputError, ParfocalError
from parfocal.models.base import Parameters
from parfocal.models.model_options import LearnedModel
from parfocal.models.naming import WHOLE_RUN, can_name_file
from parfocal.models.sheet import Row, write_sheet
from parfocal.models.source import is_uri
from parfocal.provenance.crate_terms import flatten, value_text
from parfocal.provenance.read_crate import Action, Crate, Datum
from parfocal.provenance.read_crate_newest import settings_of
from parfocal.provenance.verify_places import Places

__all__ = ["Again", "of_images", "recorded_parameters", "run_tasks", "tasks_of"]

logger = logging.getLogger(__name__)


def tasks_of(
    again: Again, actions: Sequence[Action], folder: Path, sheet: PlacedSheet
) -> list[Task]:
    """Return what is to be done again, each after what its inputs come from; nothing is written.

    Parameters
    ----------
    actions : sequence of Action
        The attempts that counted; those of the whole run are left out, with a message.
    folder : Path
        Where ``results`` will lie.

    Raises
    ------
    InputError
        If the crate names a step that there is none of here, or an output that lay outside of the
        results folder, or parameters that are none of the step.
    """
    rows = {row.image_id: row for row in sheet.rows}
    images = of_images(actions, again.steps)
    left_out = sorted({one.step for one in actions} - {one.step for one in images})
    if left_out:
        logger.warning("Not run again, since they are about a whole run: %s", ", ".join(left_out))
    return [again.task(one, folder / "results", rows) for one in _in_order(images)]


def run_tasks(
    again: Again, tasks: Sequence[Task], place: Place, work: Work, sheet: PlacedSheet
) -> Path:
    """Run steps again, and return the crate of what was done.

    An image whose step fails has no more results; what failed is logged.
    """
    (work.folder / "results").mkdir()
    write_sheet(work.folder / "samples.tsv", sheet.rows)
    for task in tasks:
        job = task.job
        logger.info("%s of %s", job.step.name, job.image_id)
        if not place.here:
            run_task(task, place, work)
            continue
        with own_code_told() if again.tells_code else nullcontext():
            error = perform(job).error
        if isinstance(error, ParfocalError):
            logger.error("%s of %s: %s", job.step.name, job.image_id, error)
        elif error is not None:
            raise error
    return again.record(work.folder)


def of_images(actions: Iterable[Action], steps: Mapping[str, Step]) -> list[Action]:
    """Return the attempts at steps on images; all that writes to a server is about a whole run.

    What a step is about is told by the step: a crate can have any name for the image. Steps that
    there are none of here are among them, and refused later.
    """
    known = {name for name, step in steps.items() if step.scope == "run"}
    return [one for one in actions if one.step not in known]


def _in_order(images: Sequence[Action]) -> list[Action]:
    """Return the attempts, makers before users."""
    makers = {name: one for one in images for name in one.made}
    order: TopologicalSorter[Action] = TopologicalSorter()
    for one in images:
        order.add(one, *(makers[n] for n in one.used if n in makers and makers[n] is not one))
    try:
        return list(order.static_order())
    except CycleError as error:
        what = "The crate tells of results that were made from themselves"
        found = ", ".join(sorted({ascii(one.identifier)[1:-1] for one in error.args[1]}))
        raise InputError(what, found=found) from error


@dataclass(frozen=True)
class Again:
    """What is needed to make jobs of the attempts of a crate.

    Parameters
    ----------
    crate : Crate
    steps : mapping of str to Step
        By their names.
    places : Places
        Where inputs lie now.
    base : Path
        What relative sources were relative to.
    threads : int
    """

    crate: Crate
    steps: Mapping[str, Step]
    places: Places
    base: Path
    threads: int = 1

    def task(self, action: Action, results: Path, rows: Mapping[str, Row]) -> Task:
        """Return what does again what an attempt did."""
        step = self.steps.get(action.step)
        if step is None:
            what = "The crate tells of a step that there is none of here"
            raise InputError(what, where=self.crate.path, found=ascii(action.step)[1:-1])
        if action.image_id == WHOLE_RUN:
            what = "The crate tells of a step on an image, and of which image it does not"
            raise InputError(what, where=self.crate.path, found=ascii(action.identifier)[1:-1])
        used, made = self._data(action, "input"), self._data(action, "output")
        absent = _names(p for p in step.inputs if p.required) - used.keys()
        absent |= _names(step.outputs) - made.keys()
        if absent:
            what = "The crate does not tell all that an attempt used and made"
            found = f"{ascii(action.identifier)[1:-1]} without {', '.join(sorted(absent))}"
            raise InputError(what, where=self.crate.path, found=found)
        params = recorded_parameters(self.crate, action, step)
        source = getattr(params, "source", None)
        if isinstance(source, str):
            params = params.model_copy(update={"source": self._source(source)})
        model = getattr(params, "model", None)
        if isinstance(model, LearnedModel):
            model = model.model_copy(update={"path": self._source(model.path)})
            params = params.model_copy(update={"model": model})
        recorded = frozenset(name for name, _ in settings_of(self.crate, action))
        job = Job(
            step,
            params,
            {n: self._input(d, results) for n, d in used.items() if n in _names(step.inputs)},
            {n: results / self._below(made[n]) for n in _names(step.outputs)},
            action.image_id,
            row=rows.get(action.image_id),
            results=results,
            threads=self.threads,
            existing="reuse",
        )
        return Task(job, recorded)

    def record(self, folder: Path) -> Path:
        """Write the crate of what was done."""
        step, results = self.steps["record-run"], folder / "results"
        inputs = {"results": results, "sheet": folder / "samples.tsv"}
        outputs = {"crate": results / "run-crate"}
        error = perform(Job(step, step.params(), inputs, outputs, WHOLE_RUN)).error
        if error is not None:
            raise error
        return outputs["crate"]

    @cached_property
    def tells_code(self) -> bool:
        """Whether the attempts tell their commit, so that those made again are to tell theirs."""
        facts = (fact for action in self.crate.actions for fact in action.facts)
        return any(self.crate.values.get(fact, ("",))[0] == "commit" for fact in facts)

    @cached_property
    def _made(self) -> set[str]:
        return self.crate.made()

    def _data(self, action: Action, side: str) -> dict[str, Datum]:
        """Return what an attempt was given or made, by the names of ports."""
        prefix = f"#parameter/{action.step}/{side}/"
        names = action.used if side == "input" else action.made
        data = [self.crate.data[name] for name in names if name in self.crate.data]
        return {
            port.removeprefix(prefix): datum
            for datum in data
            for port in datum.ports
            if port.startswith(prefix)
        }

    def _input(self, datum: Datum, results: Path) -> Path:
        if datum.identifier in self._made:
            return results / self._below(datum)
        place = self.places.of(datum.name)
        if place is None:
            what = "An input is not on this machine"
            remedy = "Name a copy with --map OLD=NEW."
            found = ascii(datum.name)[1:-1]
            raise InputError(what, where=self.crate.path, found=found, remedy=remedy)
        return place

    def _source(self, source: str) -> str:
        known = source if is_uri(source) else str(self.base / source)
        return str(self.places.of(known) or source)

    def _below(self, datum: Datum) -> PurePosixPath:
        """Return the path of a result relative to the results folder."""
        path = PurePosixPath(datum.name)
        if path.is_absolute() or ".." in path.parts or is_uri(datum.name):
            what = "A result lay outside of the results folder, and is made nowhere else again"
            raise InputError(what, where=self.crate.path, found=ascii(datum.name)[1:-1])
        return path


def _names(ports: Iterable[Port]) -> set[str]:
    return {port.name for port in ports}


def recorded_parameters(crate: Crate, action: Action, step: Step) -> Parameters:
    """Return the parameters of an attempt: the crate has them as text, flat.

    Raises
    ------
    InputError
        If they are none of the step as it is here, or would not be recorded as the same text.
    """
    recorded = dict(settings_of(crate, action))
    values: dict[str, Any] = {}
    what = f"The recorded parameters of {step.name} are none that it has here"
    for name, text in recorded.items():
        if not can_name_file(text):  # many are paths, and no record could hold it
            raise InputError(what, where=action.identifier, found=f"{name!a}: {text[:200]!a}")
        put(values, name.split("."), _value(text))
    for _ in range(len(recorded) + 1):
        try:
            params = step.params.model_validate(values)
        except ValidationError as error:
            if not _take_as_text(values, error, recorded):
                raise InputError(what, where=action.identifier, found=error) from error
        else:
            break
    told = {n: value_text(v) for n, v in flatten(params.model_dump(mode="json"))}
    if differing := sorted(n for n, v in recorded.items() if told.get(n) != v):
        raise InputError(what, where=action.identifier, found=", ".join(differing))
    return params


def _value(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if isinstance(value, str) else value  # texts are recorded as they stand


def _take_as_text(
    values: dict[str, Any], error: ValidationError, recorded: Mapping[str, str]
) -> bool:
    """Put texts in the place of values that look like numbers; return whether there were any."""
    found = False
    for problem in error.errors():
        inner: Any = values
        path: list[str] = []
        for name in problem["loc"]:  # in it are names of variants, too
            if isinstance(inner, dict) and name in inner:
                path.append(str(name))
                inner = inner[name]
        text = recorded.get(".".join(path))
        if text is not None and inner != text:
            put(values, path, text)
            found = True
    return found
