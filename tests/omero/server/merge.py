"""Incoming graphs: what a client sends to be saved, merged into the database.

As Hibernate does it: an unloaded object stands for the row with its id; a loaded one with an id is
compared with its row and updated where it differs, if its version is the row's; one without an id
is a new row. What an object leads to is saved with it.
"""

from __future__ import annotations

from typing import Any, NoReturn

import omero
import omero.model
from omero.rtypes import unwrap

from .calls import Call
from .checks import (
    check_details,
    check_links,
    check_permissions,
    check_unique,
    check_version,
    refuse,
)
from .entities import Entity, Quantity
from .model import Field, Kind, kind_of
from .permissions import Right, check, check_read
from .render import Fetched
from .store import Store

__all__ = ["Merger"]


def _invalid(message: str) -> NoReturn:
    raise omero.ValidationException(None, "ome.conditions.ValidationException", message)


def _quantity(value: Any, wire: str) -> Quantity | None:
    if value._value is None:
        return None
    return Quantity(float(unwrap(value._value)), value._unit.name, wire)


def _plain(field: Field, value: Any) -> Any:
    """Return a value that is not an object of the model as the store keeps it."""
    if field.form == "scalar":
        return value._val
    if field.form == "quantity":
        return _quantity(value, field.wire)
    if field.wire == "NamedValueList":
        return tuple((pair.name, pair.value) for pair in value if pair is not None)
    return tuple(value) if field.wire == "StringArray" else bytes(value)


class Merger:
    """Saves the graphs of one call."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._store: Store = call.store
        self._done: dict[int, Entity] = {}
        self._kept: list[Any] = []
        self._collections: list[tuple[Entity, str]] = []
        self._loaded: set[Entity] = set()

    @property
    def fetched(self) -> Fetched:
        """What of the saved graphs was loaded, to send it back."""
        collections = {
            (of, name): self._store.collection(of, name) for of, name in self._collections
        }
        return Fetched(self._loaded, collections)

    def save_all(self, incoming: list[Any]) -> list[Entity]:
        """Save objects and everything that they lead to.

        Raises
        ------
        omero.ValidationException
            A row is missing, a required value is null, or a row would not be unique.
        omero.OptimisticLockException
            A row was changed since the client loaded it.
        omero.SecurityViolation
            The user may not make, change or link an object.
        """
        return [self._merge(each) for each in incoming]

    def _merge(self, incoming: Any) -> Entity:
        done = self._done.get(id(incoming))
        if done is None:
            self._kept.append(incoming)
            done = self._begin(incoming)
        return done

    def _begin(self, incoming: Any) -> Entity:
        kind = kind_of(incoming)
        if kind.is_enumeration and incoming._id is None:
            return self._remember(incoming, self._enumeration(kind.name, unwrap(incoming._value)))
        if incoming._id is None:
            return self._create(incoming, kind)
        entity = self._store.get(kind.name, incoming._id.val)
        if entity is None:
            _invalid(f"No row with the given identifier exists: [{kind.name}#{incoming._id.val}]")
        check_read(self._call, entity)
        self._remember(incoming, entity)
        if incoming._loaded and kind.name != "Event":
            self._update(incoming, entity)
        return entity

    def _remember(self, incoming: Any, entity: Entity) -> Entity:
        self._done[id(incoming)] = entity
        return entity

    def _enumeration(self, kind: str, value: Any) -> Entity:
        found = self._store.find_by(kind, "value", value)
        if found is None:
            refuse(f"{kind} {value!r} is a System-type")
        return found

    def _values(self, incoming: Any, entity: Entity) -> dict[str, Any]:
        members = incoming.__dict__
        values = {
            name: None if (value := members[member]) is None else _plain(field, value)
            for name, member, field in entity.kind.members
        }
        for name in entity.kind.entities:
            value = members["_" + name]
            merged = None if value is None else self._merge(value)
            if merged is not None and value._loaded:
                self._loaded.add(merged)
            values[name] = merged
        return values

    def _create(self, incoming: Any, kind: Kind) -> Entity:
        entity = self._remember(incoming, Entity(kind))
        self._loaded.add(entity)
        entity.values = self._values(incoming, entity)
        for field in entity.kind.required:
            if entity[field.name] is None:
                self._missing(entity, field)
        group = self._stated(incoming, "group")
        linked = check_links(self._call, entity)
        self._own(entity, incoming, group or linked)
        check_unique(self._store, entity)
        self._store.insert(entity)
        self._elements(incoming, entity)
        return entity

    def _missing(self, entity: Entity, field: Field) -> NoReturn:
        _invalid(
            "not-null property references a null or transient value: "
            f"ome.model.{entity.kind.name}.{field.name}"
        )

    def _stated(self, incoming: Any, name: str) -> Entity | None:
        details = incoming._details
        value = None if details is None else getattr(details, "_" + name)
        kind = {"group": "ExperimenterGroup", "owner": "Experimenter"}[name]
        return None if value is None else self._store.get(kind, value.id.val)

    def _own(self, entity: Entity, incoming: Any, group: Entity | None) -> None:
        """Give a new object its owner, group and events."""
        call = self._call
        if entity.kind.is_system:
            if not call.is_admin:
                refuse(
                    f"{entity.kind.name} is a System-type, and may be created only through "
                    "privileged APIs."
                )
            return
        entity.details = call.new_details(group)
        check_permissions(incoming, entity)
        owner = self._stated(incoming, "owner")
        if owner is not None and owner is not call.user:
            if not call.is_admin:
                refuse(f"You are not authorized to set the Experimenter for {entity} to {owner}")
            entity.details.owner = owner
        entity.details.external = self._external(incoming)
        self._loaded.update(
            e for e in (entity.details.owner, entity.details.group) if e is not None
        )

    def _external(self, incoming: Any) -> Entity | None:
        """Save what an object is elsewhere."""
        stated = incoming._details and incoming._details._externalInfo
        external = self._merge(stated) if stated else None
        if external is not None and stated._loaded:
            self._loaded.add(external)
        return external

    def _update(self, incoming: Any, entity: Entity) -> None:
        self._loaded.add(entity)
        if entity.kind.versioned:
            check_version(incoming, entity)
        values = self._values(incoming, entity)
        changed = {name: v for name, v in values.items() if v != entity[name]}
        external = self._external(incoming)
        if changed or external is not entity.details.external:
            check_details(self._call, incoming, entity)
            self._change(entity, changed)
            self._store.set_details(entity, "external", external)
        self._elements(incoming, entity)

    def _change(self, entity: Entity, changed: dict[str, Any]) -> None:
        check(self._call, entity, Right.EDIT)
        for name, value in changed.items():
            field = entity.kind.fields[name]
            if value is None and field.required and field.form != "raw":
                self._missing(entity, field)
            self._store.set(entity, name, value)
        check_links(self._call, entity, tuple(changed))
        check_unique(self._store, entity)
        self._store.touch(entity, self._call.event)

    def _elements(self, incoming: Any, entity: Entity) -> None:
        """Save what the collections of an object hold."""
        for name in entity.kind.collections:
            if not getattr(incoming, f"_{name}Loaded"):
                continue
            for element in getattr(incoming, f"_{name}Seq"):
                if element is not None:
                    merged = self._merge(element)
                    if element._loaded:
                        self._loaded.add(merged)
            self._collections.append((entity, name))
