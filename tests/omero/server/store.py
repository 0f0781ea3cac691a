"""The database: tables of entities, indices of who points at whom, transactions."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

from .entities import Details, Entity
from .model import KINDS, kind_of

__all__ = ["Store"]

Reference = tuple[str, str]
"""The root of a kind and its field: what a row points with."""


class Store:
    """All entities.

    Attributes
    ----------
    lock : held by whoever reads or changes several things at once
    policy : what may be downloaded, as ``omero.policy.binary_access`` says it
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._tables: dict[str, dict[int, Entity]] = defaultdict(dict)
        self._ids: dict[str, int] = defaultdict(lambda: 1)
        self._referrers: dict[Entity, dict[Reference, dict[Entity, None]]] = {}
        self.policy = frozenset({"+read", "+write", "+image"})
        self._undo: list[Callable[[], Any]] | None = None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Undo every change made inside when it ends with an exception."""
        with self.lock:
            if self._undo is not None:
                yield
                return
            self._undo = []
            try:
                yield
            except BaseException:
                for undo in reversed(self._undo):
                    undo()
                raise
            finally:
                self._undo = None

    def _remember(self, undo: Callable[[], Any]) -> None:
        if self._undo is not None:
            self._undo.append(undo)

    def number_from(self, root: str, first: int) -> None:
        """Give the next entity of a kind's root this id."""
        self._ids[root] = first

    def get(self, kind: str, key: int) -> Entity | None:
        """Return an entity of a kind or of one derived from it."""
        wanted = kind_of(kind)
        if not wanted.is_abstract:
            return self._tables[wanted.name].get(key)
        names = (k.name for k in KINDS.values() if k.is_a(wanted.name))
        return next((self._tables[n][key] for n in names if key in self._tables[n]), None)

    def all(self, kind: str) -> list[Entity]:
        """Return all entities of a kind and of those derived from it, by id."""
        wanted = kind_of(kind)
        names = [k.name for k in KINDS.values() if k.is_a(wanted.name)]
        found = [entity for name in names for entity in self._tables[name].values()]
        return sorted(found, key=lambda entity: entity.id or 0)

    def find_by(self, kind: str, field: str, value: Any) -> Entity | None:
        """Return the first entity with a value."""
        return next((entity for entity in self.all(kind) if entity[field] == value), None)

    def referrers(self, entity: Entity, kind: str, field: str) -> list[Entity]:
        """Return the entities of a kind that point at one by a field, oldest first."""
        wanted = kind_of(kind)
        found = self._referrers.get(entity, {}).get((wanted.root, field), {})
        if wanted.name == wanted.root:
            return list(found)
        return [other for other in found if other.kind.is_a(wanted.name)]

    def count_referrers(self, entity: Entity, kind: str, field: str) -> int:
        """Count the entities whose kind has the same root and that point at one by a field."""
        return len(self._referrers.get(entity, {}).get((kind_of(kind).root, field), {}))

    def all_referrers(self, entity: Entity) -> list[Entity]:
        """Return everything that points at an entity."""
        return [other for found in self._referrers.get(entity, {}).values() for other in found]

    def collection(self, entity: Entity, field: str) -> list[Entity]:
        """Return the elements of a collection, in the order in which they were added."""
        of = entity.kind.fields[field]
        return self.referrers(entity, of.wire, str(of.inverse))

    def add(self, kind: str, values: dict[str, Any], details: Details | None = None) -> Entity:
        """Add an entity with the next id of its kind."""
        entity = Entity(kind_of(kind), values=dict(values), details=details or Details())
        return self.insert(entity)

    def insert(self, entity: Entity) -> Entity:
        """Add an entity that was made elsewhere."""
        table = self._tables[entity.kind.name]
        if entity.id is None:
            entity.id = self._ids[entity.kind.root]
            self._ids[entity.kind.root] += 1
        if entity.kind.versioned and entity.version is None:
            entity.version = 0
        table[entity.id] = entity
        for field in entity.kind.entities:
            self._point(entity, field, None, entity[field])
        self._remember(lambda: self._drop(entity))
        return entity

    def set(self, entity: Entity, field: str, value: Any) -> None:
        """Give a field of an entity another value."""
        old = entity.values.get(field)
        entity.values[field] = value
        if entity.id is not None and entity.kind.fields[field].form == "entity":
            self._point(entity, field, old, value)
        self._remember(lambda: self.set(entity, field, old))

    def touch(self, entity: Entity, event: Entity) -> None:
        """Count a version up and note the event that changed an entity."""
        version, updated = entity.version, entity.details.updated

        def undo() -> None:
            entity.version, entity.details.updated = version, updated

        entity.version = None if version is None else version + 1
        entity.details.updated = event
        self._remember(undo)

    def set_details(self, entity: Entity, name: str, value: Any) -> None:
        """Change one of the details of an entity, such as its group."""
        old = getattr(entity.details, name)
        setattr(entity.details, name, value)
        self._remember(lambda: setattr(entity.details, name, old))

    def remove(self, entity: Entity) -> None:
        """Take an entity out; what points at it goes on doing so."""
        self._drop(entity)
        self._remember(lambda: self.insert(entity))

    def _drop(self, entity: Entity) -> None:
        del self._tables[entity.kind.name][entity.id or 0]
        for field in entity.kind.entities:
            self._point(entity, field, entity[field], None)

    def _point(self, entity: Entity, field: str, old: Any, new: Any) -> None:
        key = (entity.kind.root, field)
        if old is not None:
            self._referrers.get(old, {}).get(key, {}).pop(entity, None)
        if new is not None:
            self._referrers.setdefault(new, {}).setdefault(key, {})[entity] = None

    def dump(self) -> tuple[dict[str, int], list[_Row]]:
        """Return the next ids and all rows as plain values."""
        tables = self._tables.values()
        return dict(self._ids), [_row(entity) for table in tables for entity in table.values()]

    def restore(self, dumped: tuple[dict[str, int], list[_Row]]) -> None:
        """Replace everything by a dump."""
        ids, rows = dumped
        self._tables.clear()
        self._referrers.clear()
        made = {(kind_of(row[0]).root, row[1]): Entity(kind_of(row[0]), *row[1:3]) for row in rows}
        for kind, key, _, values, details in rows:
            entity = made[kind_of(kind).root, key]
            entity.values = {name: _unpointed(value, made) for name, value in values.items()}
            entity.details = Details(*(_unpointed(value, made) for value in details))
            self.insert(entity)
        self._ids.update(ids)


@dataclass(frozen=True, slots=True)
class _Pointer:
    """An entity in a dump."""

    root: str
    key: int


_Row = tuple[str, int, int | None, dict[str, Any], tuple[Any, ...]]


def _pointed(value: Any) -> Any:
    return _Pointer(value.kind.root, value.id or 0) if isinstance(value, Entity) else value


def _unpointed(value: Any, made: dict[tuple[str, int], Entity]) -> Any:
    return made[value.root, value.key] if isinstance(value, _Pointer) else value


def _row(entity: Entity) -> _Row:
    values = {name: _pointed(value) for name, value in entity.values.items()}
    details = tuple(_pointed(getattr(entity.details, each.name)) for each in fields(Details))
    return entity.kind.name, entity.id or 0, entity.version, values, details
