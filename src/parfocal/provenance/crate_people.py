"""Who ran the steps of a run crate, and under which terms it is given away."""

from __future__ import annotations

from dataclasses import dataclass

from parfocal.provenance.crate_graph import Graph, Reference
from parfocal.provenance.crate_terms import fragment

__all__ = ["Agent", "add_agent", "add_licence", "add_organization"]


@dataclass(frozen=True)
class Agent:
    """Who ran the steps: a person, and the organization that they belong to."""

    name: str
    orcid: str | None = None
    affiliation_name: str | None = None
    affiliation_url: str | None = None


def add_organization(graph: Graph, agent: Agent | None) -> Reference | None:
    """Add the organization of an agent, if one was named."""
    if agent is None or agent.affiliation_name is None:
        return None
    return graph.add(
        agent.affiliation_url or fragment("organization", agent.affiliation_name),
        "Organization",
        name=agent.affiliation_name,
        url=agent.affiliation_url,
    )


def add_agent(graph: Graph, agent: Agent | None) -> Reference | None:
    """Add the person who ran the steps, if one was named."""
    if agent is None:
        return None
    return graph.add(
        f"https://orcid.org/{agent.orcid}" if agent.orcid else fragment("person", agent.name),
        "Person",
        name=agent.name,
        affiliation=add_organization(graph, agent),
    )


def add_licence(graph: Graph, address: str) -> Reference:
    """Add the licence of the crate."""
    return graph.add(
        address,
        "CreativeWork",
        name=address.rstrip("/").rpartition("/")[2],
        description=f"The licence of this crate; its text is at {address}. "
        "The data that the crate refers to have licences of their own.",
    )
