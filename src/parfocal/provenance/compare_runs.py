"""In what two runs differ: inputs, parameters, versions, engines and results."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from parfocal.provenance.crate_lock import LOCK
from parfocal.provenance.crate_rules import RULES
from parfocal.provenance.crate_zip import INPUTS
from parfocal.provenance.read_crate import Action, Crate
from parfocal.provenance.read_crate_newest import newest_attempts, settings_of, target_of
from parfocal.provenance.verify_lists import LISTS

__all__ = ["Comparison", "Row", "compare_crates"]

_RUN = "_run"
_THERE = "there"
_TOLD_ELSE = (INPUTS, LISTS, LOCK)
"""Copies of what inputs, results and versions tell."""

Settings = tuple[tuple[str, str], ...]
"""Names and values of the parameters of an attempt; those of many attempts are one object."""


@dataclass(frozen=True, order=True, slots=True)
class Key:
    """What something is of: a kind, a step, a port or parameter, and an image.

    Step and image are empty for what is about the run. The step is told with its target, such
    as the name of a label image.
    """

    kind: str
    step: str
    what: str
    image_id: str

    @property
    def text(self) -> str:
        """Step and port, as a table shows them."""
        return f"{self.step}: {self.what}" if self.step else self.what


@dataclass(frozen=True)
class Row:
    """One thing in which two runs differ.

    Attributes
    ----------
    kind : str
        ``image`` or ``step`` that only one of them has; ``input``, ``parameter``, ``version``,
        ``engine``, ``container``; ``file`` for a copy in the crate; ``result``; ``run result`` for
        what a step on the whole run tells, such as the report, which has times in it.
    what : str
        The step and its port or parameter.
    images : tuple of str
        The images that it holds for; empty where it is about the run.
    first, second : str or None
        What each of them has; None for nothing.
    """

    kind: str
    what: str
    images: tuple[str, ...]
    first: str | None
    second: str | None

    def as_json(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        names = ("kind", "what", "first", "second")
        return {name: getattr(self, name) for name in names} | {"images": list(self.images)}


@dataclass(frozen=True)
class Comparison:
    """In what two runs differ, and how many results are the same.

    Attributes
    ----------
    same : int
        Results that both runs have, with the same digest.
    """

    rows: tuple[Row, ...]
    same: int

    @property
    def differing(self) -> int:
        """How many results differ, of steps that both have, and images that one alone has."""
        counted = (row for row in self.rows if row.kind in ("result", "image"))
        return sum(len(row.images) or 1 for row in counted)


def compare_crates(
    first: Crate, second: Crate, run_data: Collection[tuple[str, str]] = ()
) -> Comparison:
    """Compare two runs, whichever engines ran them.

    Inputs, parameters and results are matched by image, step and port, and where a step was run
    several times on an image, by the label image or plate: never by path. The newest attempt
    that ended well counts.

    Parameters
    ----------
    run_data : collection of (str, str)
        Steps on the whole run, and their outputs that are data, such as plates: they count as
        results.
    """
    runs = _Run(first, run_data), _Run(second, run_data)
    grouped: dict[tuple[str, str, str | None, str | None], list[str]] = defaultdict(list)
    same = 0
    for key in sorted(runs[0].facts.keys() | runs[1].facts.keys()):
        pair = runs[0].facts.get(key), runs[1].facts.get(key)
        if not all(run.has(key) for run in runs):
            continue
        if pair[0] != pair[1]:
            grouped[key.kind, key.text, *pair].append(key.image_id)
        elif key.kind == "result":
            same += 1
    for step, image_id in sorted(runs[0].settings.keys() & runs[1].settings.keys()):
        pairs = runs[0].settings[step, image_id], runs[1].settings[step, image_id]
        for name, *values in _unequal(*pairs):
            grouped["parameter", f"{step}: {name}", values[0], values[1]].append(image_id)
    rows = [
        *_alone("image", runs[0].images, runs[1].images),
        *_alone("step", runs[0].steps, runs[1].steps),
        *(
            Row(kind, what, tuple(name for name in images if name), *pair)
            for (kind, what, *pair), images in grouped.items()
        ),
    ]
    return Comparison(tuple(rows), same)


def _unequal(first: Settings, second: Settings) -> Iterator[tuple[str, str | None, str | None]]:
    """Yield the parameters of a step that differ, with both values."""
    if first == second:
        return
    one, other = dict(first), dict(second)
    for name in sorted(one.keys() | other.keys()):
        if one.get(name) != other.get(name):
            yield name, one.get(name), other.get(name)


def _alone(kind: str, first: set[str], second: set[str]) -> Iterator[Row]:
    """Yield rows of the images or steps that one run alone has."""
    for names, pair in ((first - second, (_THERE, None)), (second - first, (None, _THERE))):
        if names and kind == "image":
            yield Row(kind, kind, tuple(sorted(names)), *pair)
        else:
            yield from (Row(kind, name, (), *pair) for name in sorted(names))


class _Run:
    """A run as its crate tells it, by what can be compared.

    Attributes
    ----------
    facts : dict of Key to str
        All that can differ but for parameters, as text.
    settings : dict of (str, str) to Settings
        The parameters by step and image.
    images, steps : set of str
        Of all attempts, failed ones too.
    """

    def __init__(self, crate: Crate, run_data: Collection[tuple[str, str]]) -> None:
        self._crate = crate
        self.images = {one.image_id for one in crate.actions} - {_RUN}
        newest = newest_attempts(crate)
        self.steps = {f"{a.step}{target_of(crate, a)}" for a in crate.actions}
        self.settings: dict[tuple[str, str], Settings] = {}
        shared: dict[Settings, Settings] = {}
        self.facts = dict(_versions(crate, [action for action, _ in newest]))
        made = crate.made()
        for action, target in newest:
            step = f"{action.step}{target}"
            self.facts |= _data(crate, action, step, made, run_data)
            settings = tuple(sorted(settings_of(crate, action)))
            self.settings[step, _image(action)] = shared.setdefault(settings, settings)
        for datum in crate.data.values():
            folder, slash, _ = datum.name.partition("/")
            if datum.in_crate and slash and not datum.name.startswith(_TOLD_ELSE):
                what = datum.name if datum.name.startswith(RULES) else folder
                self.facts[Key("file", "", what, "")] = datum.digest

    def has(self, key: Key) -> bool:
        """Return whether it ran what could have given this: else a difference tells nothing."""
        if key.image_id and key.image_id not in self.images:
            return False
        if key.step and key.step not in self.steps:
            return False
        return key.kind != "input" or (key.step, key.image_id) in self.settings


def _data(
    crate: Crate,
    action: Action,
    step: str,
    made: set[str],
    run_data: Collection[tuple[str, str]],
) -> dict[Key, str]:
    """Return the digests of what an attempt took from outside the run, and of what it made."""
    found: dict[Key, list[str]] = defaultdict(list)
    for side, identifiers in (("input", action.used), ("output", action.made)):
        for identifier in identifiers:
            datum = crate.data.get(identifier)
            if datum is None or (side == "input" and identifier in made):
                continue
            prefix = f"#parameter/{action.step}/{side}/"
            ports = [p.removeprefix(prefix) for p in datum.ports if p.startswith(prefix)]
            for port in ports:
                told = action.image_id == _RUN and (action.step, port) not in run_data
                kind = "input" if side == "input" else "run result" if told else "result"
                found[Key(kind, step, port, _image(action))].append(datum.digest)
    return {key: ", ".join(sorted(digests)) for key, digests in found.items()}


def _versions(crate: Crate, actions: list[Action]) -> Mapping[Key, str]:
    """Return versions of steps, lock files, commits, engines and containers."""
    found: dict[Key, set[str]] = defaultdict(set)
    for action in actions:
        if action.tool in crate.tools:
            version = crate.tools[action.tool]
            found[Key("version", "", "parfocal", "")].add(version)
            of_step = Key("version", f"{action.step}{target_of(crate, action)}", "behaviour", "")
            found[of_step].add(action.tool.rpartition("-")[2])
        for name, value in (crate.values[n] for n in action.facts if n in crate.values):
            kind = "engine" if name == "engine" else "version"
            found[Key(kind, "", name, "")].add(value)
        if action.container:
            image = action.container.removeprefix("#container/")
            found[Key("container", "", "image", "")].add(image)
    return {key: ", ".join(sorted(values)) for key, values in found.items()}


def _image(action: Action) -> str:
    return "" if action.image_id == _RUN else action.image_id
