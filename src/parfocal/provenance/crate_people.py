"""Who ran the steps of a run crate, who paid for them, and the terms it is given away under."""

from __future__ import annotations

import re
from dataclasses import dataclass

from parfocal.provenance.crate_graph import Graph, Reference
from parfocal.provenance.crate_terms import fragment, is_web, redact

__all__ = ["Agent", "Funding", "add_agent", "add_funding", "add_licence", "add_organization"]

_DOI = re.compile(r"(?i)(?:doi:)?(10\.\d{4,9}/\S+)")


@dataclass(frozen=True)
class Agent:
    """Who ran the steps: a person, an organization, or a person of an organization."""

    person_name: str | None = None
    orcid: str | None = None
    organization_name: str | None = None
    organization_url: str | None = None


@dataclass(frozen=True)
class Funding:
    """Who paid for a run: an organization, and a grant of it by its number, DOI or address."""

    funder_name: str | None = None
    funder_url: str | None = None
    grant: str | None = None
    grant_name: str | None = None


def add_organization(graph: Graph, agent: Agent) -> Reference | None:
    """Add the organization, if one was named."""
    return _organization(graph, agent.organization_name, agent.organization_url)


def add_agent(graph: Graph, agent: Agent) -> Reference | None:
    """Add who ran the steps: the person, else the organization, else nobody."""
    organization = add_organization(graph, agent)
    if agent.person_name is None:
        return organization
    orcid = f"https://orcid.org/{agent.orcid}" if agent.orcid else None
    return graph.add(
        orcid or fragment("person", redact(agent.person_name)),
        "Person",
        name=agent.person_name,
        affiliation=organization,
    )


def add_funding(graph: Graph, funding: Funding) -> dict[str, Reference | None]:
    """Add the funder and the grant, as far as they were named.

    Returns
    -------
    dict
        The properties ``funder`` and ``funding`` of the crate. RO-Crate 1.1 wants the funder named
        there directly, too, and not by the grant alone.
    """
    funder = _organization(graph, funding.funder_name, funding.funder_url)
    return {"funder": funder, "funding": _add_grant(graph, funding, funder)}


def _add_grant(graph: Graph, funding: Funding, funder: Reference | None) -> Reference | None:
    if funding.grant is None:
        return None
    number = redact(funding.grant)
    doi = _DOI.fullmatch(number)
    address = f"https://doi.org/{doi[1]}" if doi else number if is_web(number) else None
    return graph.add(
        address or fragment("grant", redact(funding.funder_name or ""), number),
        "Grant",
        name=funding.grant_name or f"Grant {number}",
        identifier=number,
        url=address,
        funder=funder,
    )


def _organization(graph: Graph, name: str | None, url: str | None) -> Reference | None:
    if name is None:
        return None
    return graph.add(
        url or fragment("organization", redact(name)), "Organization", name=name, url=url
    )


def add_licence(graph: Graph, address: str) -> Reference:
    """Add the licence of the crate."""
    address = redact(address)
    return graph.add(
        address,
        "CreativeWork",
        name=address.rstrip("/").rpartition("/")[2],
        description=f"The licence of this crate; its text is at {address}. "
        "The data that the crate refers to have licences of their own.",
    )
