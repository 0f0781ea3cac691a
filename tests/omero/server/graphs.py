"""Objects and all that goes with them: planned, checked, deleted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .calls import Call
from .entities import Entity
from .graph_rules import considered, freely_deleted, holders, is_link_of, owned
from .model import Kind, kind_of
from .permissions import Right, can_read, rights

__all__ = ["Graph", "GraphError", "by_class", "java_name", "targets"]


class GraphError(Exception):
    """A request that the rules do not allow; the text is the real server's."""


def java_name(kind: Kind) -> str:
    """Return the name of a class as responses have it, such as ``ome.model.core.Image``."""
    constants = (value for value in vars(kind.python).values() if isinstance(value, str))
    found = next((v for v in constants if v.startswith("ome.model.") and "_" in v), None)
    return kind.name if found is None else found.rpartition("_")[0]


def by_class(entities: Iterable[Entity]) -> dict[str, list[int]]:
    """Return ids by the name of their class, as responses have them."""
    found: dict[str, list[int]] = {}
    for entity in entities:
        found.setdefault(java_name(entity.kind), []).append(entity.id or 0)
    return {name: sorted(ids) for name, ids in sorted(found.items())}


def _text(entity: Entity) -> str:
    return f"{entity.kind.name}[{entity.id}]"


def targets(call: Call, wanted: dict[str, list[int]]) -> list[Entity]:
    """Return the objects that a request names.

    Raises
    ------
    GraphError
        If one is not there, or the user cannot see it.
    """
    found = []
    for name, ids in wanted.items():
        kind = kind_of(name.strip("/").partition("/")[0])
        entities = [call.store.get(kind.name, number) for number in ids]
        if any(entity is None or not can_read(call, entity) for entity in entities):
            raise GraphError(f"cannot read all the specified objects of class {java_name(kind)}")
        found += [entity for entity in entities if entity is not None]
    return found


class Graph:
    """What goes with some objects: what is theirs, and what nothing else uses.

    Parameters
    ----------
    call : Call
    right : Right
        What the user must be allowed for each object.
    options : iterable
        Child options of a request: types that go along in any case, or never.
    """

    def __init__(self, call: Call, right: Right, options: Iterable[Any] = ()) -> None:
        self.call, self.right = call, right
        self.members: dict[Entity, None] = {}
        self._store = call.store
        self._options = [option for option in options or () if option is not None]
        self._waiting: list[Entity] = []
        self._considered: dict[Entity, None] = {}

    def take(self, entities: Iterable[Entity]) -> None:
        """Take objects in with all that goes with them.

        Raises
        ------
        GraphError
            If the user may not do that to one of them.
        """
        first = list(entities)
        for entity in first:
            self._add(entity, free=False)
        self._spread()
        while orphans := [one for one in self._considered if self._goes_along(one)]:
            for orphan in orphans:
                self._add(orphan, free=True)
            self._spread()

    def _add(self, entity: Entity, *, free: bool) -> None:
        if entity in self.members:
            return
        free = free and freely_deleted(entity)
        if not free and not entity.kind.is_system and self.right not in rights(self.call, entity):
            raise GraphError(f"not permitted to {self.right.name.lower()} {_text(entity)}")
        self.members[entity] = None
        self._waiting.append(entity)

    def _spread(self) -> None:
        while self._waiting:
            entity = self._waiting.pop()
            for other in owned(self._store, entity):
                self._add(other, free=True)
            for link in self._store.all_referrers(entity):
                if is_link_of(link, entity):
                    self.members[link] = None
                    self._consider(link, alone=False, gone=entity)
            self._consider(entity, alone=entity.kind.is_link, gone=None)

    def _consider(self, entity: Entity, *, alone: bool, gone: Entity | None) -> None:
        if gone is not None and entity["child"] is gone:
            return
        for other in considered(self._store, entity, alone=alone):
            if other not in self.members and self._choice(other) is not False:
                self._considered[other] = None

    def _choice(self, entity: Entity) -> bool | None:
        """Return whether the options say that an object goes along, None when they do not."""
        for option in self._options:
            namespace = entity["ns"] if entity.kind.is_a("Annotation") else None
            if option.includeNs and namespace not in option.includeNs:
                continue
            if option.excludeNs and namespace in option.excludeNs:
                continue
            if any(entity.kind.is_a(kind_of(name).name) for name in option.excludeType or ()):
                return False
            if any(entity.kind.is_a(kind_of(name).name) for name in option.includeType or ()):
                return True
        return None

    def _goes_along(self, entity: Entity) -> bool:
        if entity in self.members:
            return False
        allowed = freely_deleted(entity) or self.right in rights(self.call, entity)
        if not allowed and not entity.kind.is_system:
            return False
        if self._choice(entity) is True:
            return True
        held = any(holder not in self.members for holder in holders(self._store, entity))
        return not held and not (entity.kind.name == "Image" and self._shared(entity))

    def _shared(self, image: Entity) -> bool:
        """Tell whether an image came with others that stay."""
        if image["fileset"] is None:
            return False
        return any(
            other not in self.members and other not in self._considered
            for other in self._store.collection(image["fileset"], "images")
        )

    def check(self) -> None:
        """Check that nothing that stays needs what goes.

        Raises
        ------
        GraphError
        """
        for entity in self.members:
            if entity.kind.name == "Image":
                self._check_image(entity)
            if entity.kind.is_a("TagAnnotation"):
                self._check_tag(entity)
            for other in self._store.all_referrers(entity):
                if other not in self.members and any(
                    other[name] is entity and other.kind.fields[name].required
                    for name in other.kind.entities
                ):
                    raise GraphError(f"may not delete {_text(entity)} while {_text(other)} remains")

    def _check_image(self, image: Entity) -> None:
        fileset = image["fileset"]
        for other in () if fileset is None else self._store.collection(fileset, "images"):
            if other not in self.members:
                raise GraphError(
                    f"within {_text(fileset)} may not delete {_text(image)} "
                    f"while {_text(other)} remains"
                )
        for sample in self._store.collection(image, "wellSamples"):
            if sample not in self.members:
                raise GraphError(f"may not delete {_text(image)} while {_text(sample)} remains")

    def _check_tag(self, tag: Entity) -> None:
        for link in holders(self._store, tag):
            parent = link["parent"]
            if parent not in self.members and self.right not in rights(self.call, parent):
                raise GraphError(f"may not delete {_text(tag)} while {_text(parent)} remains")

    def unlink(self) -> None:
        """Let go of what goes, wherever it is pointed at."""
        for entity in self.members:
            for other in self._store.all_referrers(entity):
                if other in self.members:
                    continue
                for name in other.kind.entities:
                    if other[name] is entity:
                        self._store.set(other, name, None)

    def delete(self) -> None:
        """Take everything out of the database."""
        self.unlink()
        for entity in self.members:
            self._store.remove(entity)
