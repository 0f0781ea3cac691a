"""What a dotted name means: aliases, properties and where they lead."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tests.omero.server.calls import Call
from tests.omero.server.entities import Entity, Quantity
from tests.omero.server.model import KINDS, Field, Kind, kind_of
from tests.omero.server.permissions import can_read, rights

from .tokens import HqlError

__all__ = ["Row", "Scope", "Typed", "step", "subfield"]

Row = list[Any]
"""What the aliases of a query stand for, by slot."""

Get = Callable[[Row], Any]
Type = Kind | str | None
"""What a value is: an entity's kind, "Details", "Permissions", or its Slice type."""

_DETAILS: dict[str, tuple[str, str]] = {
    "owner": ("owner", "Experimenter"),
    "group": ("group", "ExperimenterGroup"),
    "creationEvent": ("created", "Event"),
    "updateEvent": ("updated", "Event"),
    "externalInfo": ("external", "ExternalInfo"),
}
_RIGHTS = ("canLink", "canEdit", "canDelete", "canAnnotate", "canChgrp", "canChown")


class Typed:
    """A way to a value.

    Attributes
    ----------
    get : the value in a row
    type : what it is
    many : whether it is several
    """

    def __init__(self, get: Get, of: Type = None, many: bool = False) -> None:
        self.get = get
        self.type = of
        self.many = many


class Scope:
    """The aliases that a query knows.

    Attributes
    ----------
    slots : slot by alias, those of outer queries included
    types : what each stands for
    """

    def __init__(self, call: Call, outer: Scope | None = None) -> None:
        self.call = call
        self.slots: dict[str, int] = dict(outer.slots) if outer else {}
        self.types: list[Type] = list(outer.types) if outer else []
        self.first = len(self.types)
        self.positions: dict[int, int] = dict(outer.positions) if outer else {}

    def add(self, alias: str | None, of: Type) -> int:
        """Give an alias a slot."""
        slot = len(self.types)
        self.types.append(of)
        if alias:
            self.slots[alias] = slot
        return slot

    def resolve(self, parts: tuple[str, ...]) -> Typed:
        """Return the way that a dotted name describes.

        Raises
        ------
        HqlError
            There is no such alias or property.
        """
        slot = self.slots.get(parts[0])
        if slot is not None:
            start = Typed(lambda row: row[slot], self.types[slot])
            return functools.reduce(self._step, parts[1:], start)
        literal = self._class(parts)
        if literal is not None:
            return literal
        if self.first < len(self.types) and subfield(self.types[self.first], parts[0]):
            first = self.first
            start = Typed(lambda row: row[first], self.types[first])
            return functools.reduce(self._step, parts, start)
        message = f"Invalid path: '{'.'.join(parts)}'"
        raise HqlError(message)

    def _step(self, typed: Typed, name: str) -> Typed:
        return step(self.call, typed, name)

    def _class(self, parts: tuple[str, ...]) -> Typed | None:
        """Return the name of a class, when the last part is one."""
        name = parts[-1]
        if name in KINDS and (len(parts) == 1 or parts[0] in {"ome", "omero"}):
            return Typed(lambda _: name, "class")
        return None


@functools.cache
def _subfields(kind: Kind) -> dict[str, Field]:
    derived = [other for other in KINDS.values() if other.is_a(kind.name)]
    return {name: field for other in derived for name, field in other.fields.items()}


def subfield(of: Type, name: str) -> Field | None:
    """Return a property of a kind, or of one derived from it."""
    if not isinstance(of, Kind):
        return None
    return of.fields.get(name) or _subfields(of).get(name)


def _through(get: Get, read: Callable[[Any], Any]) -> Get:
    def follow(row: Row) -> Any:
        value = get(row)
        return None if value is None else read(value)

    return follow


def step(call: Call, typed: Typed, name: str) -> Typed:
    """Return the way to a property of what another way leads to.

    Raises
    ------
    HqlError
        There is no such property.
    """
    get, of = typed.get, typed.type
    if typed.many:
        if name == "size":
            return Typed(_through(get, len), "RInt")
        message = (
            f"illegal attempt to dereference collection with element property reference {name}"
        )
        raise HqlError(message)
    if of == "Details":
        return _details_step(call, get, name)
    if of in {"Permissions", "NamedValue"} or isinstance(of, str):
        return _part_step(get, str(of), name)
    if name in {"id", "version"}:
        wire = "RLong" if name == "id" else "RInt"
        return Typed(_through(get, lambda entity: getattr(entity, name)), wire)
    if name == "details":
        return Typed(get, "Details")
    if name == "class":
        return Typed(_through(get, lambda entity: entity.kind.name), "class")
    return _field_step(call, get, of, name)


def _details_step(call: Call, get: Get, name: str) -> Typed:
    if name == "permissions":
        return Typed(_through(get, lambda entity: _permissions(call, entity)), "Permissions")
    if name not in _DETAILS:
        message = f"could not resolve property: details.{name}"
        raise HqlError(message)
    attribute, kind = _DETAILS[name]
    return Typed(_through(get, lambda e: getattr(e.details, attribute)), kind_of(kind))


def _permissions(call: Call, entity: Entity) -> dict[str, Any]:
    granted = rights(call, entity)
    group = entity.details.group
    text = entity.details.permissions or (group.details.permissions if group else None)
    flags = {flag: number in granted for number, flag in enumerate(_RIGHTS)}
    return {"perm": text or "------", **flags}


def _part_step(get: Get, of: str, name: str) -> Typed:
    """Return the way to a part of a number with a unit, or of a pair."""
    if name in {"value", "unit", "name"}:
        return Typed(_through(get, lambda value: _part(value, name)))
    message = f"could not resolve property: {name} of: {of}"
    raise HqlError(message)


def _part(value: Any, name: str) -> Any:
    if isinstance(value, Quantity):
        return getattr(value, name)
    return value[0] if name == "name" else value[1]


def _field_step(call: Call, get: Get, of: Type, name: str) -> Typed:
    field = subfield(of, name)
    if field is None:
        label = of.name if isinstance(of, Kind) else of
        message = f"could not resolve property: {name} of: ome.model.{label}"
        raise HqlError(message)
    if field.form == "collection":
        return Typed(
            _through(get, lambda entity: _elements(call, entity, name)), _kind(field), True
        )
    if field.wire == "NamedValueList":
        return Typed(_through(get, lambda entity: list(entity[name] or ())), "NamedValue", True)
    return Typed(_through(get, lambda entity: entity.values.get(name)), _kind(field))


def _elements(call: Call, entity: Entity, name: str) -> list[Entity]:
    if name not in entity.kind.fields:
        return []
    found = call.store.collection(entity, name)
    return [element for element in found if can_read(call, element)]


def _kind(field: Field) -> Type:
    return KINDS.get(field.wire, field.wire)
