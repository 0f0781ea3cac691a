"""Outgoing graphs: entities as the objects of omero.model that a client gets.

An object that was not fetched is sent unloaded, with its id alone; a collection that was not
fetched is null. An object that was fetched anywhere is loaded wherever it appears.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import omero.model
from omero.constants.permissions import BINARYACCESS
from omero.model import enums
from omero.rtypes import rbool, rdouble, rint, rlong, rstring, rtime

from .calls import Call
from .entities import Entity, Quantity
from .model import Kind
from .original_files import is_restricted
from .permissions import rendered
from .store import Store

__all__ = ["Fetched", "quantity", "render", "render_one"]

_SCALARS: dict[str, Callable[[Any], Any]] = {
    "RString": rstring,
    "RInt": rint,
    "RLong": rlong,
    "RDouble": rdouble,
    "RBool": rbool,
    "RTime": rtime,
}
_DETAILS = {
    "owner": "owner",
    "group": "group",
    "creationEvent": "created",
    "updateEvent": "updated",
    "externalInfo": "external",
}


@dataclass(eq=False)
class Fetched:
    """What of a graph is sent.

    Attributes
    ----------
    loaded : the entities that are sent whole
    collections : by entity and field, the elements that are sent
    """

    loaded: set[Entity] = field(default_factory=set)
    collections: dict[tuple[Entity, str], list[Entity]] = field(default_factory=dict)

    def follow(self, store: Store, entity: Entity, path: str) -> None:
        """Fetch what a dotted path leads to, such as "channels.logicalChannel"."""
        name, _, rest = path.partition(".")
        if name == "details":
            name, _, rest = rest.partition(".")
            found = [getattr(entity.details, _DETAILS[name])]
        elif entity.kind.fields[name].form == "collection":
            found = self.collections[entity, name] = store.collection(entity, name)
        else:
            found = [entity[name]]
        for other in found:
            if other is not None:
                self.loaded.add(other)
                if rest:
                    self.follow(store, other, rest)


def quantity(value: Quantity) -> Any:
    """Return a number with its unit as omero.model has it."""
    python = getattr(omero.model, value.kind + "I")
    return python(value.value, getattr(getattr(enums, f"Units{value.kind}"), value.unit))


def _raw(wire: str, value: Any) -> Any:
    if wire == "NamedValueList":
        return [omero.model.NamedValue(name, text) for name, text in value]
    if wire == "StringArray":
        return list(value)
    return value


@functools.cache
def _members(kind: Kind, loaded: bool) -> dict[str, Any]:
    """Return the members of an object of omero.model that has no values yet."""
    made = kind.python(1, loaded)
    if loaded:
        made.unloadCollections()
    return vars(made)


class _Renderer:
    def __init__(self, call: Call, fetched: Fetched) -> None:
        self._call = call
        self._fetched = fetched
        self._done: dict[Entity, Any] = {}
        self._unloaded: dict[Entity, Any] = {}
        self._permissions: dict[Any, omero.model.PermissionsI] = {}

    def _make(self, entity: Entity, loaded: bool) -> Any:
        """Return an object with its id, faster than its class would make it."""
        python = entity.kind.python
        made = python.__new__(python)
        made.__dict__.update(_members(entity.kind, loaded))
        made.__dict__["_id"] = rlong(entity.id)
        return made

    def whole(self, entity: Entity) -> Any:
        """Return an object with its values."""
        if entity in self._done:
            return self._done[entity]
        made = self._done[entity] = self._make(entity, loaded=True)
        members = made.__dict__
        if entity.version is not None:
            members["_version"] = rint(entity.version)
        for name, value in entity.values.items():
            if value is not None and name in entity.kind.fields:
                of = entity.kind.fields[name]
                members["_" + name] = self._value(of.form, of.wire, value)
        for name in entity.kind.collections:
            elements = self._fetched.collections.get((entity, name))
            if elements is not None:
                members[f"_{name}Seq"] = [self.reference(element) for element in elements]
                members[f"_{name}Loaded"] = True
        members["_details"] = self._details(entity)
        return made

    def reference(self, entity: Entity | None) -> Any:
        """Return an object, whole or unloaded."""
        if entity is None:
            return None
        if entity in self._fetched.loaded:
            return self.whole(entity)
        if entity not in self._unloaded:
            self._unloaded[entity] = self._make(entity, loaded=False)
        return self._unloaded[entity]

    def _value(self, form: str, wire: str, value: Any) -> Any:
        if form == "scalar":
            return _SCALARS[wire](value)
        if form == "entity":
            return self.reference(value)
        return quantity(value) if form == "quantity" else _raw(wire, value)

    def _details(self, entity: Entity) -> Any:
        made = omero.model.DetailsI()
        own = entity.details
        made.__dict__.update(
            _owner=self.reference(own.owner),
            _group=self.reference(own.group),
            _creationEvent=self.reference(own.created),
            _updateEvent=self.reference(own.updated),
            _externalInfo=self.reference(own.external),
            _permissions=self._rendered(entity),
        )
        return made

    def _rendered(self, entity: Entity) -> omero.model.PermissionsI:
        """Return the permissions of an object; those that are alike are one object."""
        restricted = is_restricted(self._call, entity, self._call.store.policy)
        details = entity.details
        alike = (restricted, details.owner, details.group)
        key = entity if entity.kind.is_system or details.group is None else alike
        found = self._permissions.get(key)
        if found is None:
            found = self._permissions[key] = rendered(self._call, entity)
            if restricted:
                found._extendedRestrictions = [BINARYACCESS]
        return found


def render(call: Call, entities: Iterable[Entity], fetched: Fetched | None = None) -> list[Any]:
    """Return entities as the objects that a client gets, one graph for all."""
    entities = list(entities)
    fetched = fetched or Fetched()
    fetched.loaded.update(entities)
    renderer = _Renderer(call, fetched)
    return [renderer.whole(entity) for entity in entities]


def render_one(call: Call, entity: Entity, *paths: str) -> Any:
    """Return one entity and what dotted paths from it lead to."""
    fetched = Fetched()
    for path in paths:
        fetched.follow(call.store, entity, path)
    return render(call, [entity], fetched)[0]
