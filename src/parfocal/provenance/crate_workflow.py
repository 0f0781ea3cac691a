"""The workflow of a run crate: its steps, its wiring, and the engines that drove it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from parfocal.models.record import Record
from parfocal.provenance.crate_actions import record_path
from parfocal.provenance.crate_graph import Graph, Reference
from parfocal.provenance.crate_plan import Plan, Port
from parfocal.provenance.crate_terms import COMPLETED, FAILED, HOME, fragment, time_text

__all__ = ["add_orchestration", "period", "plan_workflow"]

_ENGINE_PAGES = {
    "galaxy": "https://galaxyproject.org",
    "python": "https://www.python.org",
    "snakemake": "https://snakemake.github.io",
}


def period(records: Sequence[Record]) -> tuple[datetime, datetime]:
    """Return when the first of `records` started and the last ended, or started."""
    return (
        min(record.started for record in records),
        max(record.ended or record.started for record in records),
    )


def plan_workflow(graph: Graph, plan: Plan) -> dict[str, Any]:
    """Add the steps and their connections.

    Connections go by the CWL convention: those to outputs of the workflow are the workflow's,
    all others those of the step that receives the data.

    Returns
    -------
    dict
        The properties ``hasPart``, ``step``, ``connection``, ``input`` and ``output`` of the
        workflow.
    """
    received: dict[str, list[Reference]] = defaultdict(list)
    for target in sorted(plan.connections):
        for source in sorted(plan.connections[target], key=str):
            received[target[0]].append(_connect_input(graph, plan, source, target))
    steps = [
        graph.add(
            fragment("step", step),
            "HowToStep",
            name=step,
            position=str(position),
            workExample=plan.tools_of(step),
            connection=received[step],
        )
        for position, step in enumerate(plan.steps, 1)
    ]
    delivered = [
        _connection(graph, plan.parameter(port), plan.workflow_parameter(port))
        for port in plan.outputs
    ]
    return {
        "hasPart": [tool for step in plan.steps for tool in plan.tools_of(step)],
        "step": steps,
        "connection": delivered,
        "input": [plan.workflow_parameter(port) for port in plan.outside],
        "output": [plan.workflow_parameter(port) for port in plan.outputs],
    }


def _connect_input(graph: Graph, plan: Plan, source: Port | None, target: Port) -> Reference:
    origin = plan.workflow_parameter(target) if source is None else plan.parameter(source)
    return _connection(graph, origin, plan.parameter(target))


def _connection(graph: Graph, source: Reference, target: Reference) -> Reference:
    ends = [end["@id"].removeprefix("#") for end in (source, target)]
    return graph.add(
        "#connection/" + "/to/".join(ends),
        "ParameterConnection",
        sourceParameter=source,
        targetParameter=target,
    )


def add_orchestration(
    graph: Graph,
    actions: Mapping[str, Reference],
    records: Sequence[Record],
    run: Reference,
    agent: Reference | None,
) -> list[Reference]:
    """Add for each engine how it organized the actions of its records.

    Parameters
    ----------
    actions : mapping of str to Reference
        The action of each record by `record_path`.
    run : Reference
        The action of the whole workflow.

    Returns
    -------
    list of Reference
        The OrganizeActions, one an engine.
    """
    by_engine: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        by_engine[record.engine.name, _version(record)].append(record)
    organized = []
    for (name, version), driven in sorted(by_engine.items()):
        started, ended = period(driven)
        organized.append(
            graph.add(
                fragment("organize", name, version),
                "OrganizeAction",
                name=f"Steps run by {name} {version}",
                instrument=_engine(graph, name, version),
                object=[_control(graph, record, actions) for record in driven],
                result=run,
                agent=agent,
                startTime=time_text(started),
                endTime=time_text(ended),
            )
        )
    return organized


def _control(graph: Graph, record: Record, actions: Mapping[str, Reference]) -> Reference:
    place = record_path(record)
    return graph.add(
        fragment("control", place.removeprefix("records/").removesuffix(".json")),
        "ControlAction",
        name=f"start {record.step} of {record.image_id}, attempt {record.attempt}",
        instrument={"@id": fragment("step", record.step)},
        object=actions[place],
        actionStatus=COMPLETED if record.status == "done" else FAILED,
    )


def _version(record: Record) -> str:
    if record.engine.version:
        return record.engine.version
    return "unknown" if record.engine.name in _ENGINE_PAGES else record.parfocal_version


def _engine(graph: Graph, name: str, version: str) -> Reference:
    page = _ENGINE_PAGES.get(name, HOME)
    title = name.capitalize() if name in _ENGINE_PAGES else f"Parfocal, started from a {name}"
    return graph.add(
        f"{page}/#{name}-{version}",
        "SoftwareApplication",
        name=title,
        softwareVersion=version,
        url=page,
    )
