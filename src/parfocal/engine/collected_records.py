"""Records that were written in folders of their own, as they would be in one results folder.

Each job of an engine such as Galaxy works in a folder of its own, where every attempt is the
first, and every path is absolute. Here images and attempts are put together, and paths become
those of a results folder.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from parfocal.core.step import Port, Step
from parfocal.errors import InputError
from parfocal.models.naming import is_image_id
from parfocal.models.record import Artifact, Record
from parfocal.models.sheet import COLUMNS, Row
from parfocal.models.source import source_key

__all__ = ["Place", "RunLayout"]

_FIRST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Place:
    """Where an output, or an input from outside, lies in the results folder.

    Attributes
    ----------
    image_id : str
        Whose it is; ``_run`` for that of a whole run.
    uri : str
        Its path relative to the results folder.
    since : datetime
        When the attempt started that made it.
    """

    image_id: str
    uri: str
    since: datetime = _FIRST


class RunLayout:
    """The records of a run, and where their inputs and outputs lie in one results folder.

    Parameters
    ----------
    written : sequence of Record
        The records as their jobs wrote them; each has `written_as`.
    steps : iterable of Step
        All steps.
    rows : iterable of Row
        The sample sheet, as far as there is one: a fetched source is the image of its row.

    Raises
    ------
    InputError
        If a record is of an unknown step, or lacks what the path of an output is made of.
    """

    def __init__(
        self, written: Sequence[Record], steps: Iterable[Step], rows: Iterable[Row] = ()
    ) -> None:
        self._steps = {step.name: step for step in steps}
        for record in written:
            if record.step not in self._steps:
                what = "A record is of a step that this version does not have"
                raise InputError(what, where=_name(record), found=record.step)
            if not is_image_id(record.image_id):
                raise _no_place(record, record.image_id)
        self._records = _numbered(_by_lineage(written, _by_source(rows)))
        self._made: dict[str, list[Place]] = defaultdict(list)
        self._taken: set[str] = set()
        for record in self._records:
            for artifact in record.outputs:
                place = Place(record.image_id, self._uri(record, artifact), record.started)
                self._made[artifact.digest].append(place)
                self._taken.add(place.uri)
        self._newest = {
            place.uri: digest
            for digest, place in sorted(self._pairs(), key=lambda pair: pair[1].since)
        }

    def _pairs(self) -> Iterator[tuple[str, Place]]:
        return ((digest, place) for digest, places in self._made.items() for place in places)

    @property
    def sizes(self) -> set[int | None]:
        """The sizes in bytes of all inputs and outputs; None among them where one is not known."""
        return {a.size_bytes for record in self._records for a in record.inputs + record.outputs}

    def outputs(self, digest: str) -> list[Place]:
        """Return the outputs that have a digest."""
        return self._made.get(digest, [])

    def is_current(self, digest: str, place: Place) -> bool:
        """Return whether no later attempt wrote to the same place."""
        return self._newest[place.uri] == digest

    def take_in(self, digest: str) -> list[Place] | None:
        """Give what came from outside the place that a step looks for it at.

        Returns
        -------
        list of Place
            Empty where the path says nothing, or something else lies there; None where no
            record has such an input.
        """
        users = [
            (record, artifact)
            for record in self._records
            for artifact in record.inputs
            if artifact.digest == digest
        ]
        if not users:
            return None
        places = {}
        for record, artifact in users:
            port = self._port(record, artifact, inputs=True)
            uri = self._path(record, port) if _is_of_image(port) else ""
            if uri and uri not in self._taken:
                places[uri] = Place(record.image_id, uri)
        self._taken |= set(places)
        self._made[digest] += places.values()
        return list(places.values())

    def records(self) -> list[Record]:
        """Return the records with the paths of the results folder."""
        return [
            record.model_copy(
                update={
                    "inputs": tuple(self._moved(record, artifact) for artifact in record.inputs),
                    "outputs": tuple(
                        artifact.model_copy(update={"uri": self._uri(record, artifact)})
                        for artifact in record.outputs
                    ),
                }
            )
            for record in self._records
        ]

    def _moved(self, record: Record, artifact: Artifact) -> Artifact:
        """Return an input with the path of what made it, or as it is."""
        before = [p for p in self._made.get(artifact.digest, ()) if p.since < record.started]
        own = [place for place in before if place.image_id == record.image_id]
        uris = {place.uri for place in before}
        if own:
            uris = {max(own, key=lambda place: place.since).uri}
        return artifact.model_copy(update={"uri": uris.pop()}) if len(uris) == 1 else artifact

    def _uri(self, record: Record, artifact: Artifact) -> str:
        return self._path(record, self._port(record, artifact, inputs=False))

    def _path(self, record: Record, port: Port) -> str:
        try:
            path = port.path.format_map(_values(record))
        except KeyError as error:
            what = f"A record does not tell what the path of '{port.name}' is made of"
            raise InputError(what, where=_name(record), expected=error.args[0]) from error
        parts = path.split("/")
        if not all(parts) or {".", ".."} & set(parts) or "\0" in path:
            raise _no_place(record, path)
        return path

    def _port(self, record: Record, artifact: Artifact, *, inputs: bool) -> Port:
        step = self._steps[record.step]
        ports = {port.name: port for port in (step.inputs if inputs else step.outputs)}
        if artifact.role not in ports:
            what = f"{step.name} has no such input or output"
            expected = ", ".join(ports)
            raise InputError(what, where=_name(record), expected=expected, found=artifact.role)
        return ports[artifact.role]


def _name(record: Record) -> str:
    return record.written_as.uri if record.written_as else f"{record.step} of {record.image_id}"


def _no_place(record: Record, found: str) -> InputError:
    """Return that a record, which anyone may write, names what could lie outside the folder."""
    what = "A record names what is no place in a results folder"
    remedy = "Give the record as its job wrote it."
    return InputError(what, where=_name(record), found=repr(found), remedy=remedy)


def _is_of_image(port: Port) -> bool:
    return port.path.startswith("images/{image_id}/")


def _values(record: Record) -> Mapping[str, str]:
    """Return what the path of a port may be made of."""
    source = record.row.get("source") or record.parameters.get("source")
    values = dict.fromkeys(COLUMNS, "") | record.row | {"image_id": record.image_id}
    if isinstance(source, str):
        values["source_key"] = source_key(source)
    return values | {
        name: str(value) for name, value in record.parameters.items() if name != "image_id"
    }


def _by_source(rows: Iterable[Row]) -> dict[str, str]:
    """Return the image_ids by the sources that hold one image of the sheet each."""
    known: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        known[row.source].append(row.image_id)
    return {source: names[0] for source, names in known.items() if len(names) == 1}


def _by_lineage(written: Sequence[Record], by_source: Mapping[str, str]) -> list[Record]:
    """Return the records with the image_id of that image which their first input came from.

    What a job calls its image is the name of its input, and that may differ from job to job.
    """
    makers: dict[str, list[Record]] = defaultdict(list)
    found: dict[str, str] = {}
    ordered = sorted(written, key=lambda record: record.started)
    for record in ordered:
        first = record.inputs[0].digest if record.inputs else ""
        names = {found[_own(m)] for m in makers[first] if m.started < record.started} - {"_run"}
        own = by_source.get(str(record.parameters.get("source")), record.image_id)
        lone = len(names) == 1 and own not in names and own != "_run"
        found[_own(record)] = names.pop() if lone else own
        for artifact in record.outputs:
            makers[artifact.digest].append(record)
    return [r.model_copy(update={"image_id": found[_own(r)]}) for r in written]


def _own(record: Record) -> str:
    """Return what tells a record from all others: its digest."""
    return record.written_as.digest if record.written_as else ""


def _numbered(records: Iterable[Record]) -> list[Record]:
    """Return the records with their attempts counted by step and image, the earliest first."""
    known: dict[tuple[str, str], int] = defaultdict(int)
    numbered = []
    for record in sorted(records, key=lambda record: (record.started, _own(record))):
        known[record.step, record.image_id] += 1
        attempt = known[record.step, record.image_id]
        numbered.append(record.model_copy(update={"attempt": attempt}))
    return numbered
