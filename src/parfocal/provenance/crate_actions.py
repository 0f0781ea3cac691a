"""The actions of a run crate: one for each attempt, with what it used, made and cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from parfocal.models.record import Artifact, Record
from parfocal.provenance.crate_data import DataCatalog
from parfocal.provenance.crate_graph import Graph, Reference
from parfocal.provenance.crate_plan import Plan
from parfocal.provenance.crate_terms import (
    COMPLETED,
    FAILED,
    HOME,
    flatten,
    fragment,
    redact,
    time_text,
    value_text,
)

__all__ = ["Actions", "action_of", "error_text", "record_path"]

DOCKER_IMAGE = "https://w3id.org/ro/terms/workflow-run#DockerImage"
_UNITS = {
    "cpu_s": "https://qudt.org/vocab/unit/SEC",
    "peak_memory_bytes": "https://qudt.org/vocab/unit/BYTE",
}


def record_path(record: Record) -> str:
    """Return where a record lies, relative to the results folder."""
    folder = record.step.replace("-", "_")
    return f"records/{folder}/{record.image_id}/{record.attempt:04d}.json"


def action_of(record: Record) -> str:
    """Return the identifier of the action of a record."""
    return fragment("action", record_path(record).removeprefix("records/").removesuffix(".json"))


def error_text(record: Record) -> str | None:
    """Say why an attempt failed; None if it did not."""
    if record.status == "done":
        return None
    if record.error is not None:
        return f"{record.error.type}: {record.error.message}"
    return "The attempt started and never ended: its process, or its machine, was killed."


class Actions:
    """Draws up the actions of records.

    Parameters
    ----------
    graph, plan, data
        Where the entities go, and what they refer to.
    files : mapping of str to Artifact
        The files of the records, by `record_path`.
    agent : Reference, optional
        The person or organization that ran the steps.
    """

    def __init__(
        self,
        graph: Graph,
        plan: Plan,
        data: DataCatalog,
        files: Mapping[str, Artifact],
        agent: Reference | None,
    ) -> None:
        self._graph = graph
        self._plan = plan
        self._data = data
        self._files = files
        self._agent = agent

    def add(self, record: Record) -> Reference:
        """Add the action of a record and all that it refers to."""
        place = record_path(record)
        error = error_text(record)
        attempt = f"attempt {record.attempt}"
        return self._graph.add(
            action_of(record),
            "CreateAction",
            name=f"{record.step} of {record.image_id}, {attempt}",
            description=f"parfocal {record.step} on image {record.image_id}, {attempt}; "
            f"recorded in {place}.",
            instrument=self._plan.tool(record),
            object=[*self._used(record), *self._settings(record)],
            result=[*self._made(record)] or [self.record_file(record)],
            subjectOf=self.record_file(record),
            agent=self._agent,
            startTime=time_text(record.started),
            endTime=time_text(record.ended) if record.ended else None,
            actionStatus=FAILED if error else COMPLETED,
            error=error,
            resourceUsage=[*self._usage(record)],
            containerImage=self._container(record),
            additionalProperty=[*self._facts(record)],
        )

    def _used(self, record: Record) -> Iterator[Reference]:
        for artifact in record.inputs:
            data = self._data.add(artifact, record)
            port = (record.step, "input", artifact.role)
            self._data.is_example(data, self._plan.parameter(port))
            yield data

    def _made(self, record: Record) -> Iterator[Reference]:
        for artifact in record.outputs:
            data = self._data.add(artifact, record)
            port = (record.step, "output", artifact.role)
            self._data.is_example(data, self._plan.parameter(port))
            yield data

    def record_file(self, record: Record) -> Reference:
        """Return the record itself, which is all that an attempt leaves that made nothing."""
        return self._data.add(self._files[record_path(record)], record)

    def _settings(self, record: Record) -> Iterator[Reference]:
        for name, value in flatten(record.parameters):
            formal = self._plan.setting(record.step, name)
            yield self._graph.value(f"{record.step}/setting", name, value, exampleOfWork=formal)

    def _usage(self, record: Record) -> Iterator[Reference]:
        place = record_path(record).removeprefix("records/").removesuffix(".json")
        for name, unit in _UNITS.items():
            value = getattr(record, name)
            if value is not None:
                yield self._graph.add(
                    fragment("usage", place, name),
                    "PropertyValue",
                    name=name,
                    propertyID=f"{HOME}/reference/run-crate/#{name}",
                    unitCode=unit,
                    value=value_text(value),
                )

    def _facts(self, record: Record) -> Iterator[Reference]:
        facts: list[tuple[str, object]] = [
            ("host", record.host),
            ("engine", " ".join(filter(None, (record.engine.name, record.engine.version)))),
            ("job_id", record.engine.job_id),
            ("key", record.key),
            ("seed", record.seed),
            ("commit", record.commit),
            ("lock_digest", record.lock_digest),
            ("unlocked", _unlocked(record)),
            ("python", record.python_version),
            ("exit_code", _exit_code(record)),
            ("model_digest", _model(record)),
            ("details", record.details or None),
            *(("warning", warning) for warning in record.warnings),
        ]
        for name, value in facts:
            if value is not None:
                yield self._graph.value("fact", name, value)

    def _container(self, record: Record) -> Reference | None:
        if record.image_digest is None:
            return None
        name, _, digest = record.image_digest.rpartition("@")
        host, _, path = name.partition("/")
        has_registry = path and ("." in host or ":" in host or host == "localhost")
        return self._graph.add(
            fragment("container", record.image_digest),
            "ContainerImage",
            name=(path if has_registry else name) or digest,
            registry=host if has_registry else None,
            additionalType={"@id": DOCKER_IMAGE},
            sha256=digest.partition(":")[2] if digest.startswith("sha256:") else None,
            identifier=[
                redact(name) for name in (record.image_digest, record.container_id) if name
            ],
        )


def _unlocked(record: Record) -> str | None:
    """Return what was installed in other versions than the lock file names, in its notation."""
    if record.unlocked is None:
        return None
    return ", ".join(f"{name}=={version}" for name, version in record.unlocked.items()) or "none"


def _model(record: Record) -> str | None:
    """Return the digest of the learned model that was used, if one was."""
    model = record.details.get("model")
    return model.get("digest") if isinstance(model, dict) else None


def _exit_code(record: Record) -> int | None:
    """Return how the process of an attempt ended; of one that was killed nobody knows."""
    if record.error is not None:
        return record.error.exit_code
    return 0 if record.status == "done" else None
