"""Whether results that are not exact agree: those of learned models, and what was made of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from parfocal.core.digest import digest_path
from parfocal.core.scheduler import Threads
from parfocal.core.step import Exactness
from parfocal.engine.changed_zarr import DAMAGE
from parfocal.errors import InputError
from parfocal.provenance.compare_runs import Comparison
from parfocal.provenance.read_crate import Action, Crate, Datum
from parfocal.provenance.read_crate_newest import (
    last_attempts,
    model_of,
    newest_attempts,
    settings_of,
)
from parfocal.provenance.verify_places import Places
from parfocal.steps import STEPS

__all__ = ["Agreement", "Findings", "Side", "compare_repeated"]

_PORT = "labels"
_RUN = "_run"


@dataclass(frozen=True)
class Agreement:
    """How well two label images of a learned model agree.

    Attributes
    ----------
    image_id, step : str
        The image, and the step with the name of its label image.
    f1 : float or None
        Of the objects, at an overlap (intersection over union) of 0.5; 1 where there are none,
        None where the two could not be compared.
    reason : str
        Why they could not be compared.
    least : float
        What F1 is at least where they agree.
    """

    image_id: str
    step: str
    f1: float | None
    reason: str
    least: float

    @property
    def holds(self) -> bool:
        """Whether they agree within the tolerance of the step."""
        return self.f1 is not None and self.f1 >= self.least

    def as_json(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        names = ("image_id", "step", "f1", "least", "reason")
        return {name: getattr(self, name) for name in names} | {"holds": self.holds}


@dataclass(frozen=True)
class Side:
    """One of two runs: its crate, and where its results lie."""

    crate: Crate
    places: Places

    def made(self, attempt: Action) -> Datum | None:
        """Return the label image that an attempt made."""
        port = f"#parameter/{attempt.step}/output/{_PORT}"
        data = (self.crate.data.get(name) for name in attempt.made)
        return next((datum for datum in data if datum and port in datum.ports), None)

    def numeric(self) -> dict[tuple[str, str], Action]:
        """Return the attempts, by step and image, that are not exact or used what is not."""
        found, names = {}, set[str]()
        attempts = newest_attempts(self.crate)
        for attempt, target in sorted(attempts, key=lambda one: str(one[0].started)):
            settings = settings_of(self.crate, attempt)
            if _exactness(attempt.step).is_numeric_with(settings) or names & set(attempt.used):
                found[attempt.step + target, attempt.image_id] = attempt
                names.update(attempt.made)
        return found


@dataclass(frozen=True)
class Findings:
    """What the data of two runs tell that the table of what differs does not.

    Attributes
    ----------
    agreements : list of Agreement
        Of the label images of learned models whose digests differ.
    derived : list of (str, str)
        Steps and images whose results differ and were made from such label images; they are not
        compared.
    explained : bool
        Whether nothing else differs than these, and all label images agree.
    lost : list of str
        What is wrong with results that the table does not have: those that were not made again, or
        are others, of steps that the second run lacks or that were run several times on an image.
    """

    agreements: list[Agreement] = field(default_factory=list)
    derived: list[tuple[str, str]] = field(default_factory=list)
    explained: bool = False
    lost: list[str] = field(default_factory=list)


def compare_repeated(first: Side, second: Side, found: Comparison, threads: int) -> Findings:
    """Compare what a table of digests cannot tell of a run and its repetition.

    Parameters
    ----------
    found : Comparison
        In what the two differ.
    """
    lost = list(_lost(first.crate, second.crate))
    differing: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in (row for row in found.rows if row.kind == "result"):
        step, _, port = row.what.rpartition(": ")
        for image_id in row.images or (_RUN,):
            differing[step, image_id].add(port)
    sides = first.numeric(), second.numeric()
    agreements: list[Agreement] = []
    derived: list[tuple[str, str]] = []
    excused: set[str] = set()  # in the first crate: what differs, and why is known
    for key, one in sides[0].items():  # makers before users
        other = sides[1].get(key)
        if key not in differing or other is None or _models(first, one) != _models(second, other):
            continue
        exactness = _exactness(one.step)
        tolerance = exactness.tolerance
        is_numeric = exactness.is_numeric_with(settings_of(first.crate, one))
        if is_numeric and differing[key] == {_PORT}:
            step, image_id = key
            pair = (first.made(one), first.places), (second.made(other), second.places)
            agreements.append(Agreement(image_id, step, *_f1(*pair, threads), 1 - tolerance))
            if not agreements[-1].holds:
                continue
        elif excused & set(one.used):
            derived.append(key)
        else:
            continue
        excused |= set(one.made)
        del differing[key]
    explained = bool(agreements) and not differing
    explained = explained and all(row.kind != "image" for row in found.rows)
    return Findings(agreements, derived, explained, lost)


def _lost(first: Crate, second: Crate) -> Iterator[str]:
    """Yield what is wrong with results of the first run that the table of digests does not have."""
    on_runs = {step.name for step in STEPS if step.scope == "run"} | {"fetch-image"}
    made = {name for action in second.actions for name in action.made if not action.failed}
    again = [second.data[name] for name in sorted(made & second.data.keys())]
    digests: dict[str, set[str]] = defaultdict(set)
    for datum in again:
        digests[datum.name].add(datum.digest)
    known = {datum.digest for datum in again}
    in_table = {action.identifier for action, _ in newest_attempts(first)}
    for action in last_attempts(first):
        if action.step in on_runs:
            continue
        for datum in (first.data[name] for name in action.made if name in first.data):
            if datum.name not in digests and datum.digest not in known:
                yield f"{action.step}: {datum.name} was not made again"
            elif action.identifier not in in_table and datum.digest not in known:
                yield f"{action.step}: {datum.name} is another one"


def _models(side: Side, attempt: Action) -> str | None:
    return model_of(side.crate, attempt)


def _exactness(step: str) -> Exactness:
    return next((one.exactness for one in STEPS if one.name == step), Exactness())


Placed = tuple[Datum | None, Places]


def _f1(first: Placed, second: Placed, threads: int) -> tuple[float | None, str]:
    """Return F1 of two label images, or None and why there is none."""
    from parfocal.analysis.score import count_overlaps, score_overlaps
    from parfocal.images import open_image

    try:
        paths = [_unchanged(*placed, threads) for placed in (first, second)]
        with open_image(paths[0]) as one, open_image(paths[1]) as other:
            workers = Threads(threads)
            overlaps = count_overlaps(one, other, other.block5, workers, lambda *_: None)
        n_first, n_second, (score, *_) = score_overlaps(overlaps)
    except (InputError, *DAMAGE) as error:
        return None, " ".join(str(error).split())
    return (score.f1 if n_first or n_second else 1.0), ""


def _unchanged(datum: Datum | None, places: Places, threads: int) -> Path:
    """Return where a label image lies that is as its crate says.

    Raises
    ------
    InputError
        If it is not there, or changed.
    """
    path = places.of(datum.name) if datum else None
    if datum is None or path is None or not path.exists():
        what = "The label image is not here"
        remedy = "Name the results of the run with --results, or where they lie with --map."
        raise InputError(what, where=path, remedy=remedy)
    digest = digest_path(path, threads)
    if digest != datum.digest:
        what = "The label image was changed"
        raise InputError(what, where=path, expected=datum.digest, found=digest)
    return path
