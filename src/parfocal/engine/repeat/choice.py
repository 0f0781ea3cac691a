"""Choose the environment that a run is repeated in, and have it at hand."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from parfocal.engine.repeat.address import refuse_secrets
from parfocal.engine.repeat.checkout import Checkout, python_for
from parfocal.engine.repeat.container import Image, built_image, image_here, place_in
from parfocal.engine.repeat.environment import (
    Difference,
    Recorded,
    compare_environment,
    how_to_build,
)
from parfocal.engine.repeat.facts import SNAKEFILE, Facts, facts_here, own_workflow
from parfocal.engine.repeat.place import Place, place_at, place_here
from parfocal.engine.repeat.workflow import find_workflow
from parfocal.errors import ConfigurationError, InputError, StorageError
from parfocal.provenance.crate_copies import copied_name
from parfocal.provenance.read_crate import Action, Crate
from parfocal.provenance.repeat_inputs import shown
from parfocal.steps import STEPS

__all__ = ["Choice", "Chosen", "Wanted"]

logger = logging.getLogger(__name__)

Chosen = Literal["recorded", "here", "container"]
_BY_COMMIT = {"commit", "lock file", "packages"}


@dataclass(frozen=True)
class Wanted:
    """What the user wants the environment to be.

    Parameters
    ----------
    environment : {"recorded", "here", "container"}
        The recorded one; that of this process; or the container image of the recorded commit.
    strict : bool
        Whether to refuse any other than the recorded one.
    workflow : Path or None
        A Snakefile of the user's own, which is run here.
    repository : str or None
        Path or URL that commits are taken from; by default the clone that Parfocal runs from.

    Raises
    ------
    ConfigurationError
        If the repository's address has a password in it.
    """

    environment: Chosen = "recorded"
    strict: bool = False
    workflow: Path | None = None
    repository: str | None = None

    def __post_init__(self) -> None:
        """Refuse addresses that have secrets."""
        if self.repository is not None:
            refuse_secrets(self.repository)


class Choice:
    """The environment that the work of a crate is to be done in.

    Parameters
    ----------
    actions : sequence of Action
        The attempts that counted.

    Raises
    ------
    ConfigurationError
        If it is strict, and the environment is that of this process, and not the recorded one.
    """

    def __init__(self, crate: Crate, actions: Sequence[Action], wanted: Wanted) -> None:
        self._crate, self._actions, self._wanted = crate, actions, wanted
        self._is_workflow = copied_name(crate, "workflow") is not None
        self._recorded = Recorded(crate, actions)
        self._here = facts_here(STEPS, wanted.workflow)
        self._differences = self._compare(self._here)
        self._kind = self._choose()
        if self._kind == "here":
            self._tell_here()

    def open(self, stack: ExitStack) -> Place:
        """Have the environment at hand until a stack is closed; make it where need be.

        Raises
        ------
        ConfigurationError
            If it is not the recorded one, or cannot be made, and that is asked for.
        InputError
            If an image that was built is another one.
        """
        if self._kind == "here":
            return self._at_home()
        for one in self._differences:
            logger.info("The environment here is not the recorded one: %s", _line(one))
        try:
            place = self._in_image(stack) if self._kind == "container" else self._at_commit(stack)
        except (ConfigurationError, StorageError) as error:
            if self._wanted.environment == "container":
                raise
            self._tell_here(error)
            return self._at_home()
        self._tell_made(place)
        return place

    def _choose(self) -> Literal["here", "checkout", "container"]:
        wanted = self._wanted.environment
        differing = {one.what for one in self._differences}
        if wanted == "here" or self._wanted.workflow is not None:
            return "here"
        if wanted == "container" or ("container" in differing and self._recorded.in_container):
            return "container"
        return "here" if differing.isdisjoint(_BY_COMMIT) else "checkout"

    def _compare(self, facts: Facts) -> list[Difference]:
        crate, actions = self._crate, self._actions
        return compare_environment(crate, actions, facts, is_workflow=self._is_workflow)

    def _at_home(self) -> Place:
        workflow = self._wanted.workflow or own_workflow()
        return place_here(self._here, find_workflow(workflow) if self._is_workflow else workflow)

    def _checkout(self) -> Checkout:
        repository = self._wanted.repository or _own_clone()
        return Checkout(self._recorded.commit(), self._recorded.lock_digest, repository)

    def _at_commit(self, stack: ExitStack) -> Place:
        return place_at(self._checkout(), stack, python_for(self._recorded.python))

    def _in_image(self, stack: ExitStack) -> Place:
        recorded = self._recorded
        digest = recorded.image_digest() if recorded.in_container else None
        image = image_here(digest) if digest else None
        if image is None:
            # What makes an image for Debian's Python is that of this machine.
            image = built_image(self._checkout(), stack, python_for("3.11.0"), self._builds())
            if digest and self._wanted.environment == "recorded":
                _refuse_other(image, digest)
        place = place_in(image)
        if digest and image.name.endswith(f"@{digest}"):  # wherever podman has it from
            (name,) = recorded.facts["container"]
            return replace(place, facts=replace(place.facts, container=name))
        return place

    def _builds(self) -> list[Path]:
        """Return where the user had images built: beside the code that commits are taken from."""
        homes = [Path(self._wanted.repository)] if self._wanted.repository else []
        homes += [own_workflow().parents[2]]
        return [home / "build" / "container" for home in homes]

    def _tell_here(self, reason: InputError | None = None) -> None:
        if not self._differences:
            logger.info("The environment is the recorded one")
            return
        remedy = shown(how_to_build(self._differences, self._here))
        if reason is not None:
            remedy = f"It cannot be made here: {reason}. {remedy}"
        self._refuse_if_strict(self._differences, remedy)
        for one in self._differences:
            logger.warning("The environment is not the recorded one: %s", _line(one))
        logger.warning("%s", remedy)

    def _tell_made(self, place: Place) -> None:
        differences = self._compare(place.facts)
        self._refuse_if_strict(differences, None)
        for one in differences:
            logger.warning("The environment made is not the recorded one: %s", _line(one))
        if not differences:
            logger.info("The recorded environment is at hand: %s", place.name)

    def _refuse_if_strict(self, differences: Sequence[Difference], remedy: str | None) -> None:
        if differences and self._wanted.strict:
            what = "The environment is not the recorded one"
            found = "; ".join(map(_line, differences))
            raise ConfigurationError(what, where=self._crate.path, found=found, remedy=remedy)


def _line(one: Difference) -> str:
    return f"{one.what} was {shown(one.recorded)}, and is {shown(one.here)}"


def _own_clone() -> str:
    """Return the clone that Parfocal runs from.

    Raises
    ------
    ConfigurationError
        If there is none.
    """
    home = own_workflow().parents[2]
    if not (home / ".git").exists() or not (home / SNAKEFILE).is_file():
        what = "Parfocal does not run from a clone of its repository, which has all commits"
        remedy = "Name one with --repository."
        raise ConfigurationError(what, remedy=remedy)
    return str(home)


def _refuse_other(image: Image, digest: str) -> None:
    if not image.name.endswith(f"@{digest}"):
        what = "The container image that the commit gives now is not the recorded one"
        remedy = (
            "Most often Debian has newer packages. 'podman load' the recorded image, if someone "
            "kept it; or take this one with '--environment container'."
        )
        raise InputError(what, where=image.commit, expected=digest, found=image.name, remedy=remedy)
