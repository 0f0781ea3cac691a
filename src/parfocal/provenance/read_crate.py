"""A run crate that was read again: its data, its actions, and what is wrong with its graph."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from parfocal.errors import InputError
from parfocal.models.naming import can_name_file, is_image_id
from parfocal.provenance.crate_terms import FAILED, HOME
from parfocal.provenance.read_crate_files import METADATA, CrateFiles, crate_files
from parfocal.provenance.read_crate_text import iter_entities

__all__ = ["Action", "Crate", "Datum", "read_crate"]

_TOOL = f"{HOME}/reference/steps/#"
_PROFILE = "https://w3id.org/ro/wfrun/process/"
_SPECIFICATION = "https://w3id.org/ro/crate/1."
_DIGEST = re.compile(r"(?:sha256|(?:zarr-merkle|manifest|tree)-sha256):[0-9a-f]{64}")
_PROGRAMS = ("SoftwareApplication", "ComputerLanguage", "SoftwareSourceCode", "Organization")
_KEPT_FACTS = tuple(
    f"#value/fact/{name}/"
    for name in ("engine", "commit", "lock_digest", "unlocked", "model_digest", "python")
)
_APART = ("#", "http://", "https://")  # what is described, and not in the crate
_MOST_FINDINGS = 20
_REMEDY = "Name the folder or zip file that 'parfocal record-run' wrote."


@dataclass(frozen=True, slots=True)
class Datum:
    """A file or folder that the crate names.

    Attributes
    ----------
    identifier : str
        Its ``@id``.
    name : str
        The path or URI under which the run knew it; in the crate, its path there.
    digest : str
        What it was.
    size_bytes : int or None
    in_crate : bool
        Whether it is a copy in the crate, and no data of the run.
    ports : tuple of str
        The formal parameters that it was the value of.
    """

    identifier: str
    name: str
    digest: str
    size_bytes: int | None
    in_crate: bool
    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Action:
    """One attempt at a step: what it used and made, by identifiers.

    Attributes
    ----------
    tool : str
        Identifier of the version of the step.
    image_id : str
        The image, or ``_run``.
    used, made, facts : tuple of str
        Data and parameters; outputs, or the record of an attempt that made none; facts.
    record : str or None
        Its record; None in crates from before records of all attempts were in them.
    """

    identifier: str
    step: str
    image_id: str
    tool: str
    used: tuple[str, ...]
    made: tuple[str, ...]
    facts: tuple[str, ...]
    container: str | None
    started: datetime | None
    ended: datetime | None
    failed: bool
    record: str | None


@dataclass
class Crate:
    """What a crate says, as far as it can be checked or compared.

    Attributes
    ----------
    data : dict of str to Datum
        By identifier.
    values : dict of str to (str, str)
        Names and values of parameters, and of facts that tell versions.
    copies : dict of str to str
        Identifiers of copies of inputs in the crate, by those of the inputs.
    tools : dict of str to str
        Versions of Parfocal by the identifiers of versions of steps.
    findings : list of str
        What is wrong with the graph.
    """

    files: CrateFiles
    data: dict[str, Datum] = field(default_factory=dict)
    actions: list[Action] = field(default_factory=list)
    values: dict[str, tuple[str, str]] = field(default_factory=dict)
    copies: dict[str, str] = field(default_factory=dict)
    tools: dict[str, str] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)

    @property
    def path(self) -> Path:
        """The folder or zip file."""
        return self.files.path

    def made(self) -> set[str]:
        """Return the identifiers of what the run made."""
        return {identifier for action in self.actions for identifier in action.made}


Watch = Callable[[Mapping[str, Any], Collection[str]], None]
"""Called with each entity, and the identifiers of those before it and its own."""


def read_crate(path: Path, watch: Watch | None = None) -> Crate:
    """Read a crate of record-run, a folder or a zip file, which is not unpacked.

    Parameters
    ----------
    watch : callable, optional
        Is shown all entities, of which the crate keeps what is needed.

    Raises
    ------
    InputError
        If there is none, it is damaged, larger than a crate is, or was not made by record-run.
    """
    crate = Crate(crate_files(path))
    reader = _Reader(crate)
    with crate.files.metadata() as stream:
        for entity in iter_entities(stream, path / METADATA if path.is_dir() else path):
            reader.add(entity)
            if watch is not None:
                watch(entity, reader.known)
    reader.conclude()
    return crate


class _Reader:
    """Takes in entity after entity, and keeps of each what is needed."""

    def __init__(self, crate: Crate) -> None:
        self._crate = crate
        self._texts: dict[str, str] = {}
        self.known: set[str] = set()
        self._programs: list[str] = []
        self._descriptor: Mapping[str, Any] = {}
        self._root: Mapping[str, Any] = {}
        self._fault: InputError | None = None
        self._found = 0

    def add(self, entity: Mapping[str, Any]) -> None:
        """Take in an entity."""
        try:
            self._add(entity)
        except InputError as error:  # a crate of another tool says other things in other ways
            self._fault = self._fault or error

    def _add(self, entity: Mapping[str, Any]) -> None:
        identifier = self._shared(entity["@id"])
        if identifier in self.known:
            what = "The crate describes the same thing twice"
            raise InputError(
                what, where=self._crate.path, found=ascii(identifier)[:200], remedy=_REMEDY
            )
        self.known.add(identifier)
        kinds = _texts(entity.get("@type"))
        if identifier == METADATA:
            self._descriptor = entity
        elif identifier == "./":
            self._root = {name: entity.get(name) for name in ("conformsTo", "hasPart")}
        elif identifier.startswith("#value/"):
            if "/setting/" in identifier or identifier.startswith(_KEPT_FACTS):
                self._crate.values[identifier] = (_text(entity, "name"), _text(entity, "value"))
        elif "CreateAction" in kinds and identifier.startswith("#action/"):
            self._crate.actions.append(self._action(identifier, entity))
        elif "File" in kinds or "Dataset" in kinds:
            self._add_datum(identifier, entity)
        elif not {*_PROGRAMS}.isdisjoint(kinds):
            self._add_program(identifier, entity)

    def conclude(self) -> None:
        """Check that the crate is ours, and that what refers to something finds it."""
        crate = self._crate
        if not crate.tools:
            what = "The crate was not made by 'parfocal record-run'"
            found = ", ".join(ascii(name)[1:-1] for name in self._programs[:10])
            found = f"a crate of {found}" if found else "a crate that names no program"
            raise InputError(what, where=crate.path, found=found, remedy=_REMEDY)
        if self._fault is not None:
            raise self._fault
        if not any(one.startswith(_SPECIFICATION) for one in _ids(self._descriptor, "conformsTo")):
            self._find(f"{METADATA} does not say that it is an RO-Crate")
        if "./" not in _ids(self._descriptor, "about"):
            self._find(f"{METADATA} is not about ./")
        if not any(one.startswith(_PROFILE) for one in _ids(self._root, "conformsTo")):
            self._find("./ does not say that it is a Process Run Crate")
        self._check_references("./", _ids(self._root, "hasPart"))
        if not crate.actions:
            self._find("There is no action: the crate tells nothing that was done")
        for action in crate.actions:
            named = (action.tool, *action.used, *action.made, *action.facts)
            record = () if action.record is None else (action.record,)
            self._check_references(action.identifier, (*named, *record))
            if not action.made:
                self._find(f"{action.identifier} has no result")
            if action.tool not in crate.tools:
                self._find(f"{action.identifier} does not say which version of its step was used")
        if self._found > _MOST_FINDINGS:
            crate.findings.append(f"and {self._found - _MOST_FINDINGS} more")

    def _check_references(self, identifier: str, references: Iterable[str]) -> None:
        for reference in references:
            if reference not in self.known:
                self._find(f"{identifier} refers to {reference}, which is not described")

    def _find(self, text: str) -> None:
        self._found += 1
        if self._found <= _MOST_FINDINGS:
            self._crate.findings.append(text)

    def _shared(self, text: str) -> str:
        """Return the one copy that is kept of a text which occurs often."""
        return self._texts.setdefault(text, text)

    def _references(self, entity: Mapping[str, Any], name: str) -> tuple[str, ...]:
        return tuple(map(self._shared, _ids(entity, name)))

    def _action(self, identifier: str, entity: Mapping[str, Any]) -> Action:
        parts = [unquote(part) for part in identifier.removeprefix("#action/").split("/")]
        if len(parts) != 3:
            raise self._not_valid(identifier, "#action/<step>/<image>/<attempt>", "@id")
        if not is_image_id(parts[1]):
            raise self._not_valid(identifier, "the image_id of a sample sheet, or _run", "@id")
        container = self._references(entity, "containerImage")
        return Action(
            identifier=identifier,
            step=self._shared(parts[0].replace("_", "-")),
            image_id=self._shared(parts[1]),
            tool=next(iter(self._references(entity, "instrument")), ""),
            used=self._references(entity, "object"),
            made=self._references(entity, "result"),
            facts=tuple(
                fact
                for fact in self._references(entity, "additionalProperty")
                if fact.startswith(_KEPT_FACTS)
            ),
            container=container[0] if container else None,
            started=self._time(identifier, entity, "startTime"),
            ended=self._time(identifier, entity, "endTime"),
            failed=FAILED in (_text(entity, "actionStatus"), *_ids(entity, "actionStatus")),
            record=next(iter(self._references(entity, "subjectOf")), None),
        )

    def _time(self, identifier: str, entity: Mapping[str, Any], name: str) -> datetime | None:
        text = _text(entity, name)
        try:
            moment = datetime.fromisoformat(text) if text else None
        except ValueError as error:
            raise self._not_valid(identifier, "a time", name) from error
        if moment is not None and moment.tzinfo is None:
            raise self._not_valid(identifier, "a time with its zone", name)
        return moment

    def _add_datum(self, identifier: str, entity: Mapping[str, Any]) -> None:
        described = identifier.lower().startswith(_APART)
        if described:
            digest = _text(entity, "identifier")
            name = _text(entity, "alternateName") or _text(entity, "contentUrl")
            name = name or _address(identifier, digest)
        else:
            digest, name = f"sha256:{_text(entity, 'sha256')}", unquote(identifier)
        if described and not can_name_file(name):  # the crate itself lacks such a copy
            raise self._not_valid(identifier, "a name that a file can have", "name")
        if not _DIGEST.fullmatch(digest):
            raise self._not_valid(identifier, "a digest", "identifier or sha256")
        path = PurePosixPath(name)
        if not described and (path.is_absolute() or str(path) != name or ".." in path.parts):
            raise self._not_valid(identifier, "a path in the crate", "@id")
        size = _text(entity, "contentSize")
        if size and not (size.isascii() and size.isdigit() and len(size) < 20):
            raise self._not_valid(identifier, "a number of bytes", "contentSize")
        self._crate.data[identifier] = Datum(
            identifier=identifier,
            name=self._shared(name),
            digest=digest,
            size_bytes=int(size) if size else None,
            in_crate=not described,
            ports=self._references(entity, "exampleOfWork"),
        )
        if not described:
            self._crate.copies |= dict.fromkeys(self._references(entity, "sameAs"), identifier)

    def _add_program(self, identifier: str, entity: Mapping[str, Any]) -> None:
        if identifier.startswith(_TOOL):
            self._crate.tools[identifier] = _text(entity, "softwareVersion")
        elif len(self._programs) < 100:
            self._programs.append(_text(entity, "name") or identifier)

    def _not_valid(self, identifier: str, expected: str, name: str) -> InputError:
        what = f"The crate is not valid: {name} of {ascii(identifier)[:200]}"
        return InputError(what, where=self._crate.path, expected=expected, remedy=_REMEDY)


def _address(identifier: str, digest: str) -> str:
    """Return an address without the digest that tells apart what lay there at different times."""
    address, _, version = identifier.partition("#")
    return address if version.rstrip("/") == digest else identifier


def _text(entity: Mapping[str, Any], name: str) -> str:
    """Return a property that is text; empty where there is none, or something else."""
    value = entity.get(name)
    return value if isinstance(value, str) else ""


def _texts(value: object) -> set[str]:
    items = value if isinstance(value, list) else [value]
    return {item for item in items if isinstance(item, str)}


def _ids(entity: Mapping[str, Any], name: str) -> list[str]:
    """Return the identifiers that a property refers to."""
    value = entity.get(name)
    items = value if isinstance(value, list) else [value]
    found = [item.get("@id") for item in items if isinstance(item, dict)]
    return [identifier for identifier in found if isinstance(identifier, str)]
