"""Records that a results folder should have and lacks, by its outcomes and its other records."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from string import Formatter
from typing import Literal

from parfocal.core.outcomes import current_outcomes
from parfocal.core.publish import Stamp
from parfocal.core.step import Step
from parfocal.models.outcome import ImageOutcome
from parfocal.models.record import Artifact, Record
from parfocal.provenance.crate_selection import artifact_key

__all__ = [
    "Loss",
    "find_losses",
    "maker_of",
    "makers_of",
    "superseded_empties",
    "unrecorded_inputs",
]

_IMAGE_FOLDER = "images/{image_id}/"


@dataclass(frozen=True)
class Loss:
    """An attempt of which there is no record.

    Attributes
    ----------
    step, image_id : str
        What was attempted; the image_id is that of an image that used it, where several share it.
    place : str
        Where its record should lie, relative to the results folder.
    kind : {"done", "failed", "unknown"}
        How the attempt ended; of an empty record nobody knows.
    told_by : str
        What tells of the attempt.
    """

    step: str
    image_id: str
    place: str
    kind: Literal["done", "failed", "unknown"]
    told_by: str

    @property
    def text(self) -> str:
        """What is missing, in one line."""
        how = {"done": "was done", "failed": "failed", "unknown": "ended"}[self.kind]
        return f"No record tells how {self.step} of {self.image_id} {how}: {self.told_by}"


def find_losses(
    results: Path,
    records: Sequence[Record],
    done: Iterable[Record],
    image_ids: Collection[str],
    makers: Mapping[str, str],
    run_steps: Collection[str] = (),
) -> tuple[Loss, ...]:
    """Find the attempts of which there is no record.

    An outcome tells of an image that a step was done, or failed, and of what was made. Where there
    are no outcomes, an attempt that used what only a step makes tells of it.

    Parameters
    ----------
    records : sequence of Record
        All records of the results folder.
    done : iterable of Record
        Of these, the ones behind the results.
    image_ids : collection of str
        The images of the sheet.
    makers : mapping of str to str
        As `makers_of` returns it.
    run_steps : collection of str
        Steps that work on the whole run.

    Returns
    -------
    tuple of Loss
        One for each step and image, by these.

    Raises
    ------
    ConfigurationError
        If an outcome cannot be read.
    """
    known = _Known(results, records)
    found: dict[tuple[str, str], Loss] = {}
    for step, images in current_outcomes(results, image_ids).items():
        for outcome in images.values():
            loss = known.lacks(step, outcome)
            if loss is not None:
                found[step, outcome.image_id] = loss
    for user, artifact in unrecorded_inputs(results, records, done, makers):
        step, image_id = maker_of(artifact.uri, makers) or ("", "")
        key = step, image_id or user.image_id
        told = f"{user.step} of {user.image_id} used {artifact.uri}, and "
        found.setdefault(key, known.loss(*key, "done", told))
    for (step, image_id), path in known.empty.items():
        if image_id not in image_ids and step not in run_steps:
            continue
        if not known.has_later(path):
            told = "an attempt began, or was recorded, and "
            found.setdefault((step, image_id), known.loss(step, image_id, "unknown", told))
    return tuple(found[key] for key in sorted(found))


def superseded_empties(results: Path, records: Sequence[Record]) -> list[str]:
    """Return which records are empty, with a later attempt at the same step and image."""
    known = _Known(results, records)
    return [_below(results, path) for path in _empties(results) if known.has_later(path)]


def unrecorded_inputs(
    results: Path, records: Iterable[Record], users: Iterable[Record], makers: Mapping[str, str]
) -> Iterator[tuple[Record, Artifact]]:
    """Yield what attempts used that a step made in the results folder, and no record tells of.

    What lies there without the note that steps leave beside their results came from elsewhere.

    Parameters
    ----------
    records : iterable of Record
        Those that may tell who made it.
    users : iterable of Record
        Those whose inputs are looked at.
    makers : mapping of str to str
        As of `find_losses`.
    """
    made = {artifact_key(a) for r in records if r.status == "done" for a in r.outputs}
    places = {uri for uri, _ in made}
    told: set[tuple[str, str]] = set()
    for user in sorted(users, key=lambda user: user.started):
        # Of a run in Galaxy nobody knows what was put in from outside at such a place.
        for artifact in user.inputs if user.written_as is None else ():
            key = artifact_key(artifact)
            if key in made or key in told or maker_of(artifact.uri, makers) is None:
                continue
            path = results / artifact.uri
            stamp = Stamp(path).digests
            by_us = bool(stamp) or not path.exists()
            if artifact.digest in stamp.values() or (by_us and artifact.uri not in places):
                told.add(key)
                yield user, artifact


def makers_of(steps: Iterable[Step]) -> dict[str, str]:
    """Return where steps on images put their first outputs in a results folder, by their names."""
    return {step.name: step.outputs[0].path for step in steps if step.scope == "image"}


def maker_of(uri: str, makers: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the step that makes what lies at a place, and its image_id if the place tells it."""
    for step, place in makers.items():
        match = re.fullmatch(_pattern(place), uri)
        if match is not None and ".." not in uri.split("/"):
            return step, match.groupdict().get("image_id", "")
    return None


@lru_cache
def _pattern(place: str) -> str:
    """Return the regular expression of the place of an output."""
    parts = []
    for literal, name, _, _ in Formatter().parse(place):
        parts.append(re.escape(literal))
        if name is not None:
            parts.append(r"(?P<image_id>[^/\0]+)" if name == "image_id" else r"[^/\0]+")
    return "".join(parts)


class _Known:
    """What the records of a results folder tell, by step and image."""

    def __init__(self, results: Path, records: Iterable[Record]) -> None:
        self._results = results
        self.empty = {_attempted(path): path for path in _empties(results)}
        self._attempts: dict[tuple[str, str], list[int]] = defaultdict(list)
        self._failed: set[tuple[str, str]] = set()
        self._made: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._shared: dict[str, set[str]] = defaultdict(set)
        for record in records:
            key = record.step, record.image_id
            self._attempts[key].append(record.attempt)
            if record.status != "done":
                self._failed.add(key)
                continue
            own = _IMAGE_FOLDER.format(image_id=record.image_id)
            self._made[key] |= {one.digest for one in record.outputs}
            self._shared[record.step] |= {
                one.digest for one in record.outputs if not one.uri.startswith(own)
            }

    def lacks(self, step: str, outcome: ImageOutcome) -> Loss | None:
        """Return that there is no record of what an outcome tells; None where there is one."""
        key = step, outcome.image_id
        if outcome.status == "failed":
            if key in self._failed:
                return None
            error = f", and its outcome says only: {outcome.error}" if outcome.error else ""
            return self.loss(*key, "failed", "", error)
        digests = set(outcome.digests.values())
        recorded = key in self._made if not digests else digests <= self._made.get(key, set())
        # A file of several images is fetched once, and its record is that of one of them.
        shared = bool(digests) and digests <= self._shared[step]
        if outcome.status == "skipped" or recorded or shared:
            return None
        return self.loss(*key, "done", "its outcome says that it was, and ")

    def loss(
        self,
        step: str,
        image_id: str,
        kind: Literal["done", "failed", "unknown"],
        before: str,
        after: str = "",
    ) -> Loss:
        """Return an attempt without a record, with where that should lie."""
        path = self.empty.get((step, image_id))
        state = "is empty" if path else "is not there"
        if path is None:
            numbers = {*self._attempts.get((step, image_id), ())}
            number = next(n for n in range(1, len(numbers) + 2) if n not in numbers)
            folder = self._results / "records" / step.replace("-", "_")
            path = folder / image_id / f"{number:04d}.json"
        place = _below(self._results, path)
        return Loss(step, image_id, place, kind, f"{before}{place} {state}{after}")

    def has_later(self, path: Path) -> bool:
        """Return whether there is a record of a later attempt than that of an empty record."""
        return max(self._attempts.get(_attempted(path), [0])) > int(path.stem)


def _empties(results: Path) -> Iterator[Path]:
    """Yield the records without content, the newest attempt last."""
    paths = (results / "records").glob("*/*/*.json")
    for path in sorted(paths, key=lambda path: (len(path.stem), path)):
        if path.stem.isascii() and path.stem.isdigit() and not path.stat().st_size:
            yield path


def _attempted(path: Path) -> tuple[str, str]:
    """Return the step and image_id of a record by its place."""
    return path.parent.parent.name.replace("_", "-"), path.parent.name


def _below(results: Path, path: Path) -> str:
    return path.relative_to(results).as_posix()
