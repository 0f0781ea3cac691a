"""The graph of a run crate while it is being drawn up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from parfocal.provenance.crate_terms import compact, fragment, redact, short_digest, value_text

__all__ = ["Graph", "Reference", "unique"]

Reference = dict[str, str]
"""A reference to an entity: ``{"@id": ...}``."""


def unique(references: Iterable[Reference]) -> list[Reference]:
    """Return each of `references` once, in the order of their first appearance."""
    return list({reference["@id"]: reference for reference in references}.values())


class Graph:
    """Contextual entities by their identifiers, each once, in the order of addition.

    They are plain dictionaries until the library writes them.
    """

    def __init__(self) -> None:
        self.entities: dict[str, dict[str, Any]] = {}

    def add(self, identifier: str, kind: str | list[str], /, **properties: Any) -> Reference:
        """Add an entity, or find it added, and return a reference to it.

        Properties that are None or empty lists are left out, lists of one are unpacked, and
        secrets in URIs are taken out of all text, identifiers and references too.
        """
        identifier = redact(identifier)
        if identifier not in self.entities:
            entity: dict[str, Any] = {"@type": kind}
            for name, value in properties.items():
                if value is None or value == []:
                    continue
                clean = _without_secrets(value)
                entity[name] = compact(clean) if isinstance(clean, list) else clean
            self.entities[identifier] = entity
        return {"@id": identifier}

    def value(self, about: str, name: str, value: object, **properties: Any) -> Reference:
        """Add a PropertyValue that all entities with this value share."""
        text = redact(value_text(value))
        identifier = fragment("value", about, name, short_digest(text))
        return self.add(identifier, "PropertyValue", name=name, value=text, **properties)


def _without_secrets(value: Any) -> Any:
    """Return text, references and lists of them without what may be secrets in URIs."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [_without_secrets(item) for item in value]
    if isinstance(value, dict):
        return {name: _without_secrets(item) for name, item in value.items()}
    return value
