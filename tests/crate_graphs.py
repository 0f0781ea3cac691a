"""Crates of made-up runs, and what is in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from crate_records import SNAKEMAKE, artifact, example_run, write_results
from parfocal.models.record import Record
from parfocal.provenance.crate import CrateRequest, write_crate
from parfocal.provenance.crate_people import Agent, Funding

__all__ = [
    "AGENT",
    "DIGEST",
    "by_path",
    "of_type",
    "read_graph",
    "references",
    "request_for",
    "rich_run",
    "write_graph",
]


AGENT = Agent(
    "Josiah Carberry", "0000-0002-1825-0097", "Example institute", "https://ror.org/000000000"
)
FUNDING = Funding("Example council", "https://ror.org/000000001", "EX 123/4-1")
DIGEST = "sha256:" + "cd" * 32


def rich_run() -> list[Record]:
    """Return the example run with all that a record can tell, and several versions and engines."""
    records = example_run()
    on_web = artifact("original", "ome-zarr", "https://example.org/b image [1].ome.zarr?token=XYZ")
    changes: list[dict[str, Any]] = [
        {
            "python_version": "3.11.2",
            "image_digest": f"localhost:5000/parfocal@{DIGEST}",
            "parfocal_version": "0.2.0",
        },
        {
            "image_digest": f"docker.io/parfocal/parfocal@{DIGEST}",
            "container_id": "sha256:" + "1d" * 32,
            "engine": SNAKEMAKE,
        },
        {"details": {"objects": 12, "note": "ünï \U0001f52c"}, "warnings": ("one", "two")},
        {"inputs": (*records[3].inputs, on_web)},
    ]
    return [
        *(item.model_copy(update=change) for item, change in zip(records, changes, strict=False)),
        *records[len(changes) :],
    ]


def request_for(results: Path, sheet: Path, *roles: str, **changes: Any) -> CrateRequest:
    """Return the request for the example run's crate."""
    files = {"sheet": sheet, "config": sheet.with_name("config.yaml")}
    files["workflow"] = sheet.with_name("Snakefile")
    fields: dict[str, Any] = {
        "results": results,
        "image_ids": list("abcde"),
        "name": "Nuclei",
        "description": "Nuclei of a few images",
        "licence": "https://spdx.org/licenses/CC-BY-4.0",
        "files": {role: files[role] for role in roles or files},
        "run_steps": ["render-report"],
        "agent": AGENT,
        "workflow_url": "https://example.org/workflow",
        "funding": FUNDING,
    }
    return CrateRequest(**(fields | changes))


def write_graph(
    folder: Path, records: list[Record], *roles: str, image_ids: str = "abcde", **changes: Any
) -> dict[str, dict[str, Any]]:
    """Write a crate of records to ``run-crate`` in a folder, and return its entities by id."""
    sheet = write_results(folder, records, image_ids)
    write_crate(folder / "run-crate", request_for(folder, sheet, *roles, **changes))
    return read_graph(folder / "run-crate")


def read_graph(crate: Path) -> dict[str, dict[str, Any]]:
    """Return the entities of a crate by id; each id must occur once."""
    document = json.loads((crate / "ro-crate-metadata.json").read_text(encoding="utf-8"))
    entities = {entity["@id"]: entity for entity in document["@graph"]}
    assert len(entities) == len(document["@graph"])
    return entities


def references(value: Any) -> list[str]:
    """Return the ids that a property, or an entity, refers to."""
    if isinstance(value, list):
        return [identifier for item in value for identifier in references(item)]
    if isinstance(value, dict) and set(value) == {"@id"}:
        return [value["@id"]]
    if isinstance(value, dict):
        return [i for name, item in value.items() if name != "@id" for i in references(item)]
    return []


def of_type(graph: dict[str, dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Return the entities of a type."""
    return [
        entity
        for entity in graph.values()
        if kind == entity["@type"]
        or (isinstance(entity["@type"], list) and kind in entity["@type"])
    ]


def by_path(graph: dict[str, dict[str, Any]], path: str) -> dict[str, Any]:
    """Return the one entity of the data at a path of the results folder."""
    (found,) = [entity for entity in graph.values() if entity.get("alternateName") == path]
    return found
