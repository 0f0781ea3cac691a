"""The data of a run crate: inputs and outputs by reference, each with its digest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from parfocal.models.record import Artifact, Record
from parfocal.provenance.crate_graph import Graph, Reference
from parfocal.provenance.crate_terms import (
    compact,
    fragment,
    is_folder,
    is_web,
    media_type,
    redact,
    short_digest,
    time_text,
)

__all__ = ["DataCatalog"]


class DataCatalog:
    """The files and folders that records name, as entities of the graph.

    What is on the web is identified by its address. All else is identified by a local
    identifier made of its path and digest, a record by that of its path: in RO-Crate's words it
    is described, but not part of the payload. Its path relative to the results folder is its
    ``alternateName``.

    Parameters
    ----------
    graph : Graph
        Where the entities go.
    records : iterable of Record
        Those of the crate; an address that they saw with several digests is several entities.
    """

    def __init__(self, graph: Graph, records: Iterable[Record]) -> None:
        self._graph = graph
        self._examples: dict[str, dict[str, Reference]] = defaultdict(dict)
        self._digests: dict[str, set[str]] = defaultdict(set)
        self.web: dict[str, dict[str, Any]] = {}
        for record in records:
            for artifact in record.inputs + record.outputs:
                if is_web(artifact.uri):
                    self._digests[artifact.uri].add(artifact.digest)

    def add(self, artifact: Artifact, record: Record) -> Reference:
        """Return a reference to the entity of an artifact of `record`."""
        uri = redact(artifact.uri)
        folder = is_folder(artifact.digest)
        algorithm, _, digest = artifact.digest.partition(":")
        properties = {
            "name": uri.rstrip("/").rpartition("/")[2] or uri,
            "encodingFormat": None if folder else media_type(uri, artifact.kind),
            "contentSize": None if artifact.size_bytes is None else str(artifact.size_bytes),
            "identifier": artifact.digest,
            "sha256": digest if algorithm == "sha256" else None,
        }
        kind = "Dataset" if folder else "File"
        if is_web(uri):
            accessed = time_text(record.ended or record.started)
            return self._add_web(artifact, uri, kind, properties | {"sdDatePublished": accessed})
        # There is one state of a record, with times in it: by its path it is comparable.
        state = "" if artifact.role == "record" else f"@{short_digest(uri + artifact.digest)}"
        identifier = fragment(uri + state)
        remote = uri if "://" in uri else None
        properties |= {"alternateName": None if remote else uri, "contentUrl": remote}
        return self._graph.add(identifier, kind, **properties)

    def _add_web(
        self, artifact: Artifact, uri: str, kind: str, properties: dict[str, Any]
    ) -> Reference:
        identifier = quote(uri, safe="%/:?#@!$&'()*+,;=~")
        if len(self._digests[artifact.uri]) > 1:
            identifier = f"{identifier.partition('#')[0]}#{artifact.digest}"
        if kind == "Dataset":
            identifier = identifier.rstrip("/") + "/"
        known = {name: value for name, value in properties.items() if value is not None}
        self.web.setdefault(identifier, {"@type": kind} | known)
        return {"@id": identifier}

    def is_example(self, data: Reference, *parameters: Reference) -> None:
        """Say that `data` was the value of formal parameters."""
        self._examples[data["@id"]] |= {item["@id"]: item for item in parameters}

    def close(self) -> None:
        """Write into each entity which formal parameters it was the value of."""
        for identifier, parameters in self._examples.items():
            entities = self.web if identifier in self.web else self._graph.entities
            entities[identifier]["exampleOfWork"] = compact(parameters.values())
