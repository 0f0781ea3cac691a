"""Repeat the run of a crate: its environment compared, its inputs found, its work done again."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from parfocal.core.publish import remove_tree
from parfocal.engine.repeat_config import parse_config
from parfocal.engine.repeat_environment import Difference, compare_environment, how_to_build
from parfocal.engine.repeat_sheet import place_rows
from parfocal.engine.repeat_steps import Again, of_images, run_steps
from parfocal.engine.repeat_workflow import find_workflow, placed_config, run_workflow
from parfocal.errors import ConfigurationError, InputError, OutputExistsError, StorageError
from parfocal.provenance.carried_inputs import take_out
from parfocal.provenance.crate_copies import copied_file, copied_name
from parfocal.provenance.crate_package import workflow_language
from parfocal.provenance.read_crate import Action, Crate, read_crate
from parfocal.provenance.read_crate_newest import newest_attempts
from parfocal.provenance.repeat_inputs import check_inputs, shown
from parfocal.provenance.verify_places import Places
from parfocal.steps import STEPS

__all__ = ["Repetition", "repeat_run"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Repetition:
    """How a run is to be repeated.

    Parameters
    ----------
    crate : Path
        Folder or zip file of its crate.
    folder : Path
        Where to; it is made, or empty.
    places : Places
        Where inputs lie now.
    strict : bool
        Whether to refuse an environment other than the recorded one.
    workflow : Path or None
        The Snakefile, if not that of the clone that Parfocal runs from.
    threads : int
    """

    crate: Path
    folder: Path
    places: Places
    strict: bool = False
    workflow: Path | None = None
    threads: int = 1


def repeat_run(asked: Repetition) -> Path:
    """Do the work of a crate again, and return the crate of the repetition.

    Raises
    ------
    InputError
        If there is no crate of ours, an input is missing or changed, the folder is in use, or the
        workflow broke off.
    ConfigurationError
        If the run is none of those that can be repeated here, or the environment is not the
        recorded one and `asked` is strict.
    """
    crate = read_crate(asked.crate)
    _refuse_used(asked.folder)
    actions = [action for action, _ in newest_attempts(crate)]
    if not actions:
        what = "The crate has no attempt that ended well: there is nothing to repeat"
        raise InputError(what, where=asked.crate)
    _refuse_galaxy(crate, actions)
    name = copied_name(crate, "workflow")
    workflow = find_workflow(asked.workflow) if name else None
    config = parse_config(copied_file(crate, "config"), asked.crate) if name else {}
    steps = {step.name: step for step in STEPS}
    _tell(compare_environment(crate, actions, STEPS, workflow), asked)
    images = of_images(actions, steps)
    with _carried(crate, images, asked) as places:
        sheet = place_rows(copied_file(crate, "sheet"), crate, images, steps, places)
        # Of single steps not all rows of the sheet need have been fetched.
        absent = sheet.absent if workflow else set()
        number = check_inputs(crate, images, places, threads=asked.threads, absent=absent)
    logger.info("%d inputs are unchanged", number)
    _make(asked.folder)
    if workflow is None:
        again = Again(crate, steps, places, sheet.base, asked.threads)
        return run_steps(again, actions, asked.folder, sheet)
    values = placed_config(config, sheet.base, places)
    return run_workflow(workflow, asked.folder, values, sheet, asked.threads)


@contextmanager
def _carried(crate: Crate, actions: Sequence[Action], asked: Repetition) -> Iterator[Places]:
    """Take the inputs that a crate carries out of it; what is wrong meanwhile leaves nothing."""
    if not crate.copies:
        yield asked.places
        return
    new = not asked.folder.exists()
    _make(asked.folder)
    try:
        taken = take_out(crate, sorted(actions, key=_age), asked.folder / "inputs")
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


def _tell(differences: Sequence[Difference], asked: Repetition) -> None:
    """Warn of an environment that is not the recorded one, or refuse it."""
    if not differences:
        logger.info("The environment is the recorded one")
        return
    lines = [f"{d.what} was {shown(d.recorded)}, and is {shown(d.here)}" for d in differences]
    remedy = shown(how_to_build(differences, asked.crate))
    if asked.strict:
        what = "The environment is not the recorded one"
        raise ConfigurationError(what, where=asked.crate, found="; ".join(lines), remedy=remedy)
    for line in lines:
        logger.warning("The environment is not the recorded one: %s", line)
    logger.warning("%s", remedy)
