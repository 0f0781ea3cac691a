"""IQuery: finding things."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import omero
import omero.api
import omero.model
from omero.rtypes import (
    rbool,
    rdouble,
    rint,
    rlist,
    rlong,
    rmap,
    robject,
    rstring,
    rtime,
    unwrap,
)
from tests.omero.server.entities import Entity, Quantity
from tests.omero.server.hql import HqlError, run
from tests.omero.server.hql.query import Answer
from tests.omero.server.model import KINDS, kind_of
from tests.omero.server.permissions import can_read
from tests.omero.server.render import quantity, render
from tests.omero.server.servants import Service

__all__ = ["Query"]

_WIRES = {"RTime": rtime, "RInt": rint}


def _parameter(value: Any) -> Any:
    """Return a bound value as queries compare it: an object by its id."""
    if isinstance(value, omero.RObject):
        value = value.getValue()
    if isinstance(value, omero.model.IObject):
        return unwrap(value._id)
    if isinstance(value, omero.RCollection):
        return [_parameter(each) for each in value.getValue() or ()]
    return unwrap(value)


def _paging(filter_: Any) -> tuple[int | None, int]:
    if filter_ is None:
        return None, 0
    return unwrap(filter_.limit), unwrap(filter_.offset) or 0


class Query(Service):
    """Answers HQL."""

    interface = omero.api.IQuery

    def _answer(self, text: str, parameters: Any) -> Answer:
        bound = {}
        limit, offset = None, 0
        if parameters is not None:
            bound = {name: _parameter(v) for name, v in (parameters.map or {}).items()}
            limit, offset = _paging(parameters.theFilter)
        try:
            return run(self.call, text, bound, limit, offset)
        except HqlError as error:
            message = f"Illegal StringQuery: {error} [{text}]"
            raise omero.QueryException(
                None, "ome.services.query.QueryException", message
            ) from error

    def findAllByQuery(self, text: str, parameters: Any) -> list[Any]:
        answer = self._answer(text, parameters)
        found = [row[0] for row in answer.rows]
        if not all(isinstance(each, Entity) or each is None for each in found):
            message = f"Query does not return objects of the model; use projection: {text}"
            raise omero.ApiUsageException(None, "ome.conditions.ApiUsageException", message)
        made = iter(render(self.call, [e for e in found if e is not None], answer.fetched))
        return [None if each is None else next(made) for each in found]

    def findByQuery(self, text: str, parameters: Any) -> Any:
        found = self.findAllByQuery(text, parameters)
        if len({id(each) for each in found}) > 1:
            message = f"query did not return a unique result: {len(found)}"
            raise omero.ApiUsageException(None, "ome.conditions.ApiUsageException", message)
        return found[0] if found else None

    def projection(self, text: str, parameters: Any) -> list[list[Any]]:
        answer = self._answer(text, parameters)
        entities = {e for row in answer.rows for e in row if isinstance(e, Entity)}
        ordered = sorted(entities, key=lambda e: (e.kind.name, e.id or 0))
        objects = dict(zip(ordered, render(self.call, ordered, answer.fetched), strict=True))
        rows = [
            [_result(value, kind, objects) for value, kind in zip(row, answer.types, strict=True)]
            for row in answer.rows
        ]
        if answer.names is not None:
            return [[rmap(dict(zip(answer.names, row, strict=True)))] for row in rows]
        return rows

    def _find(self, kind: str, key: int) -> Entity | None:
        try:
            name = kind_of(kind).name
        except KeyError:
            message = f"{kind} is not mapped"
            raise omero.ApiUsageException(
                None, "ome.conditions.ApiUsageException", message
            ) from None
        return self.require(name, key) if self.store.get(name, key) is not None else None

    def find(self, kind: str, key: int) -> Any:
        entity = self._find(kind, key)
        return None if entity is None else render(self.call, [entity])[0]

    def get(self, kind: str, key: int) -> Any:
        found = self.find(kind, key)
        if found is None:
            message = f"No row with the given identifier exists: [{kind}#{key}]"
            raise omero.ValidationException(None, "ome.conditions.ValidationException", message)
        return found

    def refresh(self, incoming: Any) -> Any:
        return self.get(kind_of(incoming).name, incoming._id.val)

    def findAll(self, kind: str, filter_: Any) -> list[Any]:
        found = [e for e in self.store.all(kind) if can_read(self.call, e)]
        limit, offset = _paging(filter_)
        return render(self.call, found[offset : None if limit is None else offset + limit])

    def _where(self, kind: str, matches: Callable[[Entity], bool]) -> list[Entity]:
        return [e for e in self.store.all(kind) if can_read(self.call, e) and matches(e)]

    def findByString(self, kind: str, field: str, value: str) -> Any:
        found = self._where(kind, lambda entity: entity[field] == value)
        if len(found) > 1:
            message = f"query did not return a unique result: {len(found)}"
            raise omero.ApiUsageException(None, "ome.conditions.ApiUsageException", message)
        return render(self.call, found)[0] if found else None

    def findAllByString(
        self, kind: str, field: str, value: str, sensitive: bool, filter_: Any
    ) -> list[Any]:
        def matches(entity: Entity) -> bool:
            text = entity[field] or ""
            return value in text if sensitive else value.lower() in text.lower()

        found = self._where(kind, matches)
        limit, offset = _paging(filter_)
        return render(self.call, found[offset : None if limit is None else offset + limit])


def _result(value: Any, kind: Any, objects: dict[Entity, Any]) -> Any:
    """Return a selected value as a client gets it."""
    if value is None:
        return None
    if isinstance(value, Entity):
        return robject(objects[value])
    if isinstance(value, Quantity):
        return _quantity(value)
    if isinstance(value, bool):
        return rbool(value)
    if isinstance(value, int):
        return _WIRES.get(kind, rlong)(value)
    if isinstance(value, float):
        return rdouble(value)
    if isinstance(value, dict):
        return rmap({name: _result(v, None, objects) for name, v in value.items()})
    if isinstance(value, list | tuple):
        return rlist([_result(each, None, objects) for each in value])
    return rstring(KINDS[value].java if kind == "type" else value)


def _quantity(value: Quantity) -> Any:
    symbol = quantity(value).getSymbol()
    parts = {"value": rdouble(value.value), "unit": rstring(value.unit), "symbol": rstring(symbol)}
    return rmap(parts)
