"""Repeat the run of a crate: its environment compared, its inputs found, its work done again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from parfocal.core.publish import remove_tree
from parfocal.engine.repeat.choice import Choice, Wanted
from parfocal.engine.repeat.config import parse_config
from parfocal.engine.repeat.models import check_models
from parfocal.engine.repeat.place import Place, Work
from parfocal.engine.repeat.sheet import PlacedSheet, place_rows
from parfocal.engine.repeat.steps import Again, of_images, run_tasks, tasks_of
from parfocal.engine.repeat.workflow import model_of, placed_config, run_workflow
from parfocal.errors import ConfigurationError, InputError, OutputExistsError, StorageError
from parfocal.provenance.carried_inputs import take_out
from parfocal.provenance.crate_copies import copied_file, copied_name
from parfocal.provenance.crate_package import workflow_language
from parfocal.provenance.read_crate import Action, Crate
from parfocal.provenance.read_crate_newest import last_attempts
from parfocal.provenance.repeat_inputs import check_inputs, shown
from parfocal.provenance.verify_places import Places
from parfocal.steps import STEPS

__all__ = ["Repetition", "repeat_run"]

logger = logging.getLogger(__name__)

_STEPS = {step.name: step for step in STEPS}


@dataclass(frozen=True)
class Repetition:
    """How a run is to be repeated.

    Parameters
    ----------
    crate : Crate
    folder : Path
        Where to; it is made, or empty.
    places : Places
        Where inputs lie now.
    wanted : Wanted
        In which environment.
    threads : int
    """

    crate: Crate
    folder: Path
    places: Places
    wanted: Wanted = field(default_factory=Wanted)
    threads: int = 1


def repeat_run(asked: Repetition) -> Path:
    """Do the work of a crate again, and return the crate of the repetition.

    Raises
    ------
    InputError
        If an input is missing or changed, the folder is in use, or the workflow broke off.
    ConfigurationError
        If the run is none of those that can be repeated here, or the environment is not the
        recorded one and that is asked for.
    """
    crate = asked.crate
    _refuse_used(asked.folder)
    actions = last_attempts(crate)
    if not actions:
        what = "The crate has no attempt that ended well: there is nothing to repeat"
        raise InputError(what, where=crate.path)
    _refuse_galaxy(crate, actions)
    name = copied_name(crate, "workflow")
    config = parse_config(copied_file(crate, "config"), crate.path) if name else None
    choice = Choice(crate, actions, asked.wanted)
    with ExitStack() as stack:
        with _carried(crate, of_images(actions, _STEPS), asked) as places:
            sheet = _found(asked, actions, places, all_rows=name is not None)
            run = _planned_steps if config is None else partial(_planned_workflow, config)
            do = run(asked, actions, places, sheet, choice.open(stack))
        _make(asked.folder)
        return do()


def _found(
    asked: Repetition, actions: Sequence[Action], places: Places, *, all_rows: bool
) -> PlacedSheet:
    """Return the sheet with where its files lie now, after all inputs were digested."""
    images = of_images(actions, _STEPS)
    text = copied_file(asked.crate, "sheet")
    sheet = place_rows(text, asked.crate, images, _STEPS, places)
    # Of single steps not all rows of the sheet need have been fetched.
    absent = sheet.absent if all_rows else set()
    number = check_inputs(asked.crate, images, places, threads=asked.threads, absent=absent)
    logger.info("%d inputs are unchanged", number)
    return sheet


def _planned_steps(
    asked: Repetition,
    actions: Sequence[Action],
    places: Places,
    sheet: PlacedSheet,
    place: Place,
) -> Callable[[], Path]:
    again = Again(asked.crate, _STEPS, places, sheet.base, asked.threads)
    tasks = tasks_of(again, actions, asked.folder, sheet)
    check_models(asked.crate, actions, {path for task in tasks for path in task.models()})
    reads = {path for task in tasks for path in task.reads()}
    work = Work(asked.folder, reads | sheet.files, network=sheet.fetches)
    place.check(work)
    return partial(run_tasks, again, tasks, place, work, sheet)


def _planned_workflow(
    config: Mapping[str, Any],
    asked: Repetition,
    actions: Sequence[Action],
    places: Places,
    sheet: PlacedSheet,
    place: Place,
) -> Callable[[], Path]:
    values = placed_config(config, sheet.base, places)
    check_models(asked.crate, actions, model_of(values))
    work = Work(asked.folder, sheet.files | model_of(values), network=sheet.fetches)
    place.check(work)
    return partial(run_workflow, place, work, values, sheet, asked.threads)


@contextmanager
def _carried(crate: Crate, actions: Sequence[Action], asked: Repetition) -> Iterator[Places]:
    """Take the inputs that a crate carries out of it; what is wrong meanwhile leaves nothing."""
    if not crate.copies:
        yield asked.places
        return
    new = not asked.folder.exists()
    _make(asked.folder)
    try:
        taken = take_out(crate, sorted(actions, key=_age), asked.folder / "inputs", asked.places)
        logger.info("%d inputs are taken out of the crate", len(taken))
        yield replace(asked.places, copies=taken)
    except BaseException:
        remove_tree(asked.folder / "inputs")
        if new:
            asked.folder.rmdir()
        raise


def _age(action: Action) -> datetime:
    return action.started or datetime.min.replace(tzinfo=UTC)


def _refuse_used(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        what = "The folder to repeat the run in is there already, with something in it"
        remedy = "Name a new one with --folder: a run that is repeated begins with nothing."
        raise OutputExistsError(what, where=folder, remedy=remedy)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = "The folder to repeat the run in cannot be made"
        raise StorageError(what, where=folder, found=error) from error


def _refuse_galaxy(crate: Crate, actions: Sequence[Action]) -> None:
    """Refuse what other engines ran than Snakemake, Python and the shell."""
    name = copied_name(crate, "workflow")
    facts = (crate.values[f] for action in actions for f in action.facts if f in crate.values)
    engines = {value.partition(" ")[0] for fact, value in facts if fact == "engine"}
    if name is not None:
        language = workflow_language(name)
        if language == "snakemake":
            return
        engines |= {language}
    if "galaxy" in engines:
        what = "The run was one of Galaxy, and is repeated there"
        workflow = f"import {shown(name)} of the crate" if name else "run the same tools"
        remedy = (
            f"In Galaxy, {workflow}, upload the inputs that 'parfocal verify-run' lists, and run "
            "it with the parameters of the crate; then tell the two crates apart with 'parfocal "
            "compare-runs'. docs/howto/galaxy.md tells how to run a workflow there."
        )
        raise ConfigurationError(
            what, where=crate.path, found=shown(name or "galaxy"), remedy=remedy
        )
    if name is not None:
        what = "The workflow of the run is in a language that is not run here"
        expected = "a Snakefile"
        raise ConfigurationError(what, where=crate.path, expected=expected, found=shown(name))
