"""What the server keeps: objects of the model with plain Python values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .model import Kind

__all__ = ["Details", "Entity", "Quantity"]


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with a unit.

    Attributes
    ----------
    value : the number
    unit : its unit's name in the enumeration of its kind, such as "MICROMETER"
    kind : such as "Length"
    """

    value: float
    unit: str
    kind: str


@dataclass(slots=True, eq=False)
class Details:
    """Who owns an object, in which group, made and changed by which event.

    ``permissions`` is written out for groups only, such as "rwra--".
    """

    owner: Entity | None = None
    group: Entity | None = None
    created: Entity | None = None
    updated: Entity | None = None
    permissions: str | None = None
    external: Entity | None = None


@dataclass(slots=True, eq=False)
class Entity:
    """A row: an object with an identity.

    Attributes
    ----------
    kind : its class
    id : number within its kind's root, None before it is added
    version : counted by updates; None of kinds that never change
    values : by field: plain values, another Entity, a Quantity, pairs; collections are not here
    details : owner, group, events
    """

    kind: Kind
    id: int | None = None
    version: int | None = None
    values: dict[str, Any] = field(default_factory=dict)
    details: Details = field(default_factory=Details)

    def __getitem__(self, name: str) -> Any:
        return self.values.get(name)

    def __repr__(self) -> str:
        return f"{self.kind.name}:{self.id}"
