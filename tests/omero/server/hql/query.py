"""Answering a query: rows, groups, order, what is selected and what is fetched along."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.omero.server.calls import Call
from tests.omero.server.entities import Entity
from tests.omero.server.render import Fetched

from .compiler import Compiler
from .parser import parse
from .paths import Row, Scope, Typed
from .plan import Plan
from .syntax import Aggregate, Expression, Item, Path, Query
from .tokens import HqlError
from .values import AGGREGATES, plain

__all__ = ["Answer", "run"]


@dataclass
class Answer:
    """What a query returns.

    Attributes
    ----------
    rows : of each, the selected values
    types : of each selected value, what it is, see ``paths.Typed``
    names : of the selected values, when the query makes maps of them
    fetched : what is sent along with the entities
    """

    rows: list[list[Any]]
    types: list[Any]
    names: list[str] | None = None
    fetched: Fetched = field(default_factory=Fetched)


class _Grouped(Compiler):
    """Makes functions of groups: a row of the group, and all of its rows in a slot after it."""

    def _aggregate(self, aggregate: Aggregate) -> Typed:
        work = AGGREGATES[aggregate.name]
        if aggregate.argument is None:
            return Typed(lambda row: len(row[-1]), "RLong")
        of = Compiler(self.scope, self.parameters, self._nested).compile(aggregate.argument)

        def value(row: Row) -> Any:
            values = [v for each in row[-1] if (v := of.get(each)) is not None]
            if aggregate.distinct:
                values = list({_key(v): v for v in values}.values())
            return work(values)

        kept = of.type if aggregate.name in {"min", "max"} else None
        return Typed(value, "RLong" if aggregate.name == "count" else kept)


def _key(value: Any) -> Any:
    if isinstance(value, Entity):
        return id(value)
    return tuple(value) if isinstance(value, list) else value


def _has_aggregate(expression: Any) -> bool:
    if isinstance(expression, Aggregate):
        return True
    if isinstance(expression, Query):
        return False
    if isinstance(expression, tuple):
        return any(map(_has_aggregate, expression))
    parts = getattr(expression, "__dataclass_fields__", {})
    return any(_has_aggregate(getattr(expression, name)) for name in parts)


class _Execution:
    def __init__(
        self, call: Call, query: Query, parameters: dict[str, Any], outer: Scope | None = None
    ) -> None:
        self._call = call
        self._query = query
        self._parameters = parameters
        self.plan = Plan(call, query, parameters, outer, self._nested)
        items = query.items or (Item(Path((query.ranges[0].alias,)), None),)
        self._grouped = bool(query.group) or _has_aggregate(items) or query.having is not None
        kind = _Grouped if self._grouped else Compiler
        compiler = kind(self.plan.scope, parameters, self._nested)
        self._items = items
        self._selected = [compiler.compile(item.value) for item in items]
        self._having = None if query.having is None else compiler.compile(query.having).get
        self._order = [(self._ordered(compiler, e), down) for e, down in query.order]

    def _nested(
        self, query: Query, scope: Scope, parameters: dict[str, Any]
    ) -> Callable[[Row], list[list[Any]]]:
        return _Execution(self._call, query, parameters, scope).values

    def _ordered(self, compiler: Compiler, expression: Expression) -> Callable[[Row], Any]:
        """Return what rows are sorted by, which may be the name of something selected."""
        for item in self._items:
            if isinstance(expression, Path) and expression.parts == (item.name,):
                return compiler.compile(item.value).get
        return compiler.compile(expression).get

    def rows(self, outer: Row) -> list[Row]:
        """Return the rows, or groups of rows, in order."""
        rows = self.plan.rows(outer)
        if self._grouped:
            rows = self._groups(rows, outer)
        if self._having is not None:
            rows = [row for row in rows if self._having(row)]
        for get, down in reversed(self._order):
            rows = sorted(rows, key=lambda row: _sortable(get(row)), reverse=down)
        return rows

    def _groups(self, rows: list[Row], outer: Row) -> list[Row]:
        if not self._query.group:
            first = rows[0] if rows else outer + [None] * len(self.plan.scope.types)
            return [[*first, rows]]
        keys = [self.plan.compiler.compile(e).get for e in self._query.group]
        groups: dict[Any, list[Row]] = {}
        for row in rows:
            groups.setdefault(tuple(_key(get(row)) for get in keys), []).append(row)
        return [[*group[0], group] for group in groups.values()]

    def values(self, outer: Row) -> list[list[Any]]:
        """Return what is selected of each row."""
        gets = [selected.get for selected in self._selected]
        return [[get(row) for get in gets] for row in self.rows(outer)]

    def answer(self, limit: int | None, offset: int) -> Answer:
        """Answer the query, from an offset on and as many rows as a limit allows."""
        rows = self.rows([])
        gets = [selected.get for selected in self._selected]
        chosen = [[get(row) for get in gets] for row in rows]
        limited = limit is not None or offset > 0
        many = any(fetch.many for fetch in self.plan.fetches)
        # Hibernate pages a query that fetches collections in memory, and then by distinct roots.
        if self._query.distinct or (limited and many):
            first: dict[Any, int] = {}
            for number, values in enumerate(chosen):
                first.setdefault(tuple(map(_key, values)), number)
            chosen = [chosen[number] for number in first.values()]
        if limited:
            chosen = chosen[offset : None if limit is None else offset + limit]
        names = None
        if self._query.as_map:
            names = [item.name or str(number) for number, item in enumerate(self._items)]
        types = [selected.type for selected in self._selected]
        return Answer(chosen, types, names, self._fetched(rows))

    def _fetched(self, rows: list[Row]) -> Fetched:
        """Return what the fetch joins of the rows that were let through bring along."""
        self._check_fetches()
        fetched = Fetched()
        seen: set[tuple[int, str, int]] = set()
        for fetch in self.plan.fetches:
            name = fetch.path.parts[-1]
            for row in rows:
                owner, element = fetch.owner(row), row[fetch.slot]
                if isinstance(element, Entity):
                    fetched.loaded.add(element)
                if isinstance(owner, Entity):
                    fetched.loaded.add(owner)
                    key = (id(owner), name, id(element))
                    if fetch.many and key not in seen:
                        seen.add(key)
                        elements = fetched.collections.setdefault((owner, name), [])
                        elements.extend([] if element is None else [element])
        return fetched

    def _check_fetches(self) -> None:
        """Refuse to fetch what belongs to nothing that is selected."""
        if self._query.items is None:
            return
        paths = [item.value for item in self._items if isinstance(item.value, Path)]
        known = {path.parts[0] for path in paths if len(path.parts) == 1}
        joins = [join for each in self._query.ranges for join in each.joins if join.fetch]
        for join in joins:
            if join.path.parts[0] not in known:
                message = (
                    "query specified join fetching, but the owner of the fetched association was "
                    f"not present in the select list: {'.'.join(join.path.parts)}"
                )
                raise HqlError(message)
            known.add(join.alias or "")


def _sortable(value: Any) -> tuple[bool, Any]:
    value = plain(value)
    return value is None, 0 if value is None else value


def run(
    call: Call, text: str, parameters: dict[str, Any], limit: int | None = None, offset: int = 0
) -> Answer:
    """Answer a query as the user of a call would get it.

    Parameters
    ----------
    parameters : by name, plain values, entities' ids, lists of them

    Raises
    ------
    HqlError
        The query cannot be understood or answered.
    """
    return _Execution(call, parse(text), parameters).answer(limit, offset)
