"""The plan behind a run: tools, their ports and parameters, and how the steps are wired."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from graphlib import CycleError, TopologicalSorter

from parfocal.models.record import Artifact, Record
from parfocal.provenance.crate_graph import Graph, Reference
from parfocal.provenance.crate_selection import artifact_key
from parfocal.provenance.crate_terms import (
    HOME,
    flatten,
    fragment,
    is_folder,
    media_type,
    value_type,
)

__all__ = ["FORMAL_PARAMETER_PROFILE", "Plan"]

FORMAL_PARAMETER_PROFILE = "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"

Port = tuple[str, str, str]
"""Step, ``input`` or ``output``, and role."""


class Plan:
    """What the records of a crate say of the steps that were run.

    Parameters
    ----------
    graph : Graph
        Where the entities go.
    records : sequence of Record
        Those of the crate.

    Attributes
    ----------
    connections : dict
        For each input port the output ports that its data came from, and None where some
        came from outside the run.
    steps : list of str
        The steps, each after those whose data it took.
    """

    def __init__(self, graph: Graph, records: Sequence[Record]) -> None:
        self._graph = graph
        self._tools: dict[tuple[str, str, str], Reference] = {}
        self._ports: dict[Port, set[tuple[str, str | None]]] = defaultdict(set)
        self._settings: dict[str, dict[str, list[object]]] = defaultdict(lambda: defaultdict(list))
        self._makers: dict[tuple[str, str], Port] = {}
        versions = set()
        for record in records:
            versions.add((record.step, record.parfocal_version, record.step_version))
            self._read(record)
        self.connections = self._connect(records)
        self.steps = self._order({step for step, _, _ in versions})
        self._parameters = {port: self._port(port) for port in sorted(self._ports)}
        self._setting_references = {
            (step, name): self._setting(step, name, values)
            for step in sorted(self._settings)
            for name, values in sorted(self._settings[step].items())
        }
        for version in sorted(versions):
            self._tools[version] = self._tool(*version)

    def tool(self, record: Record) -> Reference:
        """Return the tool that made a record."""
        return self._tools[record.step, record.parfocal_version, record.step_version]

    def tools_of(self, step: str) -> list[Reference]:
        """Return the tools that did a step, one a version."""
        return [tool for (name, _, _), tool in self._tools.items() if name == step]

    def parameter(self, port: Port) -> Reference:
        """Return the formal parameter of a port."""
        return self._parameters[port]

    def setting(self, step: str, name: str) -> Reference:
        """Return the formal parameter of a parameter, named as `flatten` names it."""
        return self._setting_references[step, name]

    def maker(self, artifact: Artifact) -> Port | None:
        """Return the port at which the run made an artifact, or None if it came from outside."""
        return self._makers.get(artifact_key(artifact))

    @property
    def outputs(self) -> list[Port]:
        """The ports of all outputs."""
        return [port for port in self._parameters if port[1] == "output"]

    @property
    def outside(self) -> list[Port]:
        """The ports at which data entered the run from outside."""
        return sorted(target for target, sources in self.connections.items() if None in sources)

    def workflow_parameter(self, port: Port) -> Reference:
        """Return the formal parameter of the workflow that stands for a port of a step."""
        step, side, role = port
        return self._formal(("workflow", side, f"{step}.{role}"), self._ports[port])

    def file_parameter(self, role: str) -> Reference:
        """Return the formal parameter of a file that the workflow as a whole was given."""
        return self._graph.add(
            fragment("workflow", "input", role),
            "FormalParameter",
            name=role,
            additionalType="File",
            conformsTo={"@id": FORMAL_PARAMETER_PROFILE},
        )

    def _read(self, record: Record) -> None:
        for artifact in record.inputs:
            self._ports[record.step, "input", artifact.role].add(_type_and_format(artifact))
        for artifact in record.outputs:
            port = (record.step, "output", artifact.role)
            self._ports[port].add(_type_and_format(artifact))
            self._makers[artifact_key(artifact)] = port
        for name, value in flatten(record.parameters):
            self._settings[record.step][name].append(value)

    def _connect(self, records: Iterable[Record]) -> dict[Port, set[Port | None]]:
        connections: dict[Port, set[Port | None]] = defaultdict(set)
        for record in records:
            for artifact in record.inputs:
                target = (record.step, "input", artifact.role)
                connections[target].add(self.maker(artifact))
        return connections

    def _order(self, steps: Iterable[str]) -> list[str]:
        """Return the steps so that each comes after those whose data it took."""
        before: dict[str, set[str]] = {step: set() for step in sorted(steps)}
        for (step, _, _), sources in self.connections.items():
            before[step] |= {source[0] for source in sources if source and source[0] != step}
        try:
            sorter = TopologicalSorter(before)
            sorter.prepare()
        except CycleError:
            return sorted(before)
        order: list[str] = []
        while sorter.is_active():
            ready = sorted(sorter.get_ready())
            order += ready
            sorter.done(*ready)
        return order

    def _tool(self, step: str, parfocal_version: str, step_version: str) -> Reference:
        page = f"{HOME}/reference/steps/#{step}"
        ports = [(port, reference) for port, reference in self._parameters.items()]
        settings = [r for (name, _), r in self._setting_references.items() if name == step]
        inputs = [r for (name, side, _), r in ports if (name, side) == (step, "input")]
        return self._graph.add(
            f"{page}-{parfocal_version}-{step_version}",
            "SoftwareApplication",
            name=f"parfocal {step}",
            description=f"The step {step} of Parfocal; version {step_version} of its behaviour.",
            softwareVersion=parfocal_version,
            url=page,
            input=inputs + settings,
            output=[r for (name, side, _), r in ports if (name, side) == (step, "output")],
        )

    def _port(self, port: Port) -> Reference:
        return self._formal(("parameter", *port), self._ports[port])

    def _formal(
        self, path: tuple[str, ...], examples: Iterable[tuple[str, str | None]]
    ) -> Reference:
        return self._graph.add(
            fragment(*path),
            "FormalParameter",
            name=path[-1],
            additionalType=sorted({kind for kind, _ in examples}),
            encodingFormat=sorted(media for _, media in examples if media),
            conformsTo={"@id": FORMAL_PARAMETER_PROFILE},
        )

    def _setting(self, step: str, name: str, values: Iterable[object]) -> Reference:
        return self._graph.add(
            fragment("parameter", step, "setting", name),
            "FormalParameter",
            name=name,
            additionalType=value_type(values),
            conformsTo={"@id": FORMAL_PARAMETER_PROFILE},
        )


def _type_and_format(artifact: Artifact) -> tuple[str, str | None]:
    if is_folder(artifact.digest):
        return "Dataset", None
    return "File", media_type(artifact.uri, artifact.kind)
