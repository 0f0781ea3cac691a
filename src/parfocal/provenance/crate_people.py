"""Who ran the steps of a run crate, and under which terms it is given away."""

from __future__ import annotations

from dataclasses import dataclass

from parfocal.provenance.crate_graph import Graph, Reference
from parfocal.provenance.crate_terms import fragment

__all__ = ["Agent", "add_agent", "add_licence", "add_organization"]


@dataclass(frozen=True)
class Agent:
    """Who ran the steps: a person, an organization, or a person of an organization."""

    person_name: str | None = None
    orcid: str | None = None
    organization_name: str | None = None
    organization_url: str | None = None


def add_organization(graph: Graph, agent: Agent) -> Reference | None:
    """Add the organization, if one was named."""
    if agent.organization_name is None:
        return None
    return graph.add(
        agent.organization_url or fragment("organization", agent.organization_name),
        "Organization",
        name=agent.organization_name,
        url=agent.organization_url,
    )


def add_agent(graph: Graph, agent: Agent) -> Reference | None:
    """Add who ran the steps: the person, else the organization, else nobody."""
    organization = add_organization(graph, agent)
    if agent.person_name is None:
        return organization
    orcid = f"https://orcid.org/{agent.orcid}" if agent.orcid else None
    return graph.add(
        orcid or fragment("person", agent.person_name),
        "Person",
        name=agent.person_name,
        affiliation=organization,
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
