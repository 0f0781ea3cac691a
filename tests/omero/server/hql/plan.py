"""How the rows of a query are found: class by class, join by join, filtered as early as can be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from tests.omero.server.calls import Call
from tests.omero.server.entities import Entity
from tests.omero.server.model import Kind, kind_of
from tests.omero.server.permissions import can_read

from .compiler import Compiler
from .paths import Row, Scope, Typed, subfield
from .syntax import Binary, Expression, In, Join, Literal, Parameter, Path, Query, Range, Sublist
from .tokens import HqlError
from .values import plain

__all__ = ["Fetch", "Plan"]

Expand = Callable[[Row], list[list[Any]]]
Find = Callable[[Row], list[Entity]]


@dataclass
class Fetch:
    """A join that is sent along.

    Attributes
    ----------
    path : what it follows
    owner : what the last part of the path is a property of, in a row
    slot : where the joined object is
    many : whether the property is a collection
    """

    path: Path
    owner: Callable[[Row], Any]
    slot: int
    many: bool


@dataclass
class _Step:
    """How rows grow: from a row, its values for the next slots; and what rows must fulfil."""

    expand: Expand
    filters: list[Callable[[Row], Any]]


def _conjuncts(where: Expression | None) -> Iterator[Expression]:
    if isinstance(where, Binary) and where.sign == "and":
        yield from _conjuncts(where.left)
        yield from _conjuncts(where.right)
    elif where is not None:
        yield where


class Plan:
    """The plan of one query, or of one within another.

    Attributes
    ----------
    scope : its aliases
    compiler : makes functions of its rows
    fetches : the joins that are sent along
    """

    def __init__(
        self, call: Call, query: Query, parameters: dict[str, Any], outer: Scope | None, nested: Any
    ) -> None:
        self._call = call
        self.scope = Scope(call, outer)
        self.compiler = Compiler(self.scope, parameters, nested)
        self.fetches: list[Fetch] = []
        self._pending = list(_conjuncts(query.where))
        joins = [join for each in query.ranges for join in each.joins]
        aliases = [each.alias for each in (*query.ranges, *joins) if each.alias]
        self._declared = frozenset(aliases)
        self._only = aliases[0]
        self._steps: list[_Step] = []
        for each in query.ranges:
            self._add_range(each)
        if self._pending:
            message = f"Invalid path in {self._pending[0]}"
            raise HqlError(message)
        self._joined = self._implicit_joins(query)

    def _implicit_joins(self, query: Query) -> list[Callable[[Row], Any]]:
        """Return the ways to the objects that dotted names lead through.

        Hibernate joins each of them, and the join is an inner one: a row that has none is lost.
        """
        clauses = (query.items or (), query.where, query.group, query.having, query.order)
        names = {path.parts for path in _paths(clauses)}
        prefixes = {parts[:end] for parts in names for end in range(1, len(parts))}
        through = {parts[:-1] for parts in names | prefixes if parts[-1] != "id"}
        joined = []
        for parts in sorted(through - {()}):
            alias = parts[0] in self.scope.slots
            if (alias and len(parts) == 1) or not (alias or subfield(self._root, parts[0])):
                continue
            typed = self.scope.resolve(parts)
            if isinstance(typed.type, Kind) and not typed.many:
                joined.append(typed.get)
        return joined

    @property
    def _root(self) -> Any:
        return self.scope.types[self.scope.first]

    def rows(self, outer: Row) -> list[Row]:
        """Return the rows that the conditions let through."""
        rows = [outer[: self.scope.first]]
        for step in self._steps:
            expand, filters = step.expand, step.filters
            rows = [row + values for row in rows for values in expand(row)]
            for condition in filters:
                rows = [row for row in rows if condition(row)]
        for get in self._joined:
            rows = [row for row in rows if get(row) is not None]
        return rows

    def _add_range(self, each: Range) -> None:
        if each.path.parts[0] in self.scope.slots:
            typed = self.scope.resolve(each.path.parts)
            self.scope.add(each.alias, typed.type)
            self._finish(lambda row: [[element] for element in typed.get(row) or ()])
        else:
            kind = self._kind(each.path)
            candidates = self._candidates(kind, each.alias)
            self.scope.add(each.alias, kind)
            self._finish(candidates)
        for join in each.joins:
            self._add_join(join)

    def _kind(self, path: Path) -> Kind:
        try:
            return kind_of(str(path))
        except KeyError:
            message = f"{path} is not mapped"
            raise HqlError(message) from None

    def _finish(self, expand: Expand) -> None:
        """Add a step, with the conditions that can be told now."""
        ready = [condition for condition in self._pending if self._ready(condition)]
        self._pending = [e for e in self._pending if all(e is not other for other in ready)]
        self._steps.append(_Step(expand, [self.compiler.compile(e).get for e in ready]))

    def _ready(self, expression: Any) -> bool:
        """Whether all aliases that an expression looks at are bound."""
        return not (_aliases(expression, self._declared) - set(self.scope.slots))

    def _candidates(self, kind: Kind, alias: str) -> Expand:
        """Return the objects of a class that a row can go on with, by an index if one serves."""
        call, store = self._call, self._call.store
        find = next((f for c in self._pending if (f := self._by_index(kind, alias, c))), None)
        if find is None:
            return lambda _: [[e] for e in store.all(kind.name) if can_read(call, e)]

        def expand(row: Row) -> list[list[Any]]:
            found = {e for e in find(row) if e.kind.is_a(kind.name) and can_read(call, e)}
            return [[e] for e in sorted(found, key=lambda e: e.id or 0)]

        return expand

    def _by_index(self, kind: Kind, alias: str, condition: Expression) -> Find | None:
        """Return how a condition like ``x.id in (...)`` or ``x.parent.id = ...`` finds objects."""
        if isinstance(condition, Binary) and condition.sign == "=":
            sides = [(condition.left, condition.right), (condition.right, condition.left)]
            found = (self._lookup(kind, alias, path, (other,)) for path, other in sides)
            return next((find for find in found if find is not None), None)
        if isinstance(condition, In):
            return self._lookup(kind, alias, condition.value, condition.options)
        return None

    def _lookup(
        self, kind: Kind, alias: str, path: Expression, options: tuple[Expression, ...]
    ) -> Find | None:
        if not isinstance(path, Path) or path.index is not None:
            return None
        parts = path.parts[1:] if path.parts[0] == alias else path.parts
        if path.parts[0] != alias and (alias != self._only or path.parts[0] in self.scope.slots):
            return None
        later = {alias} | (self._declared - set(self.scope.slots))
        if _aliases(options, later | self._declared) & later or self._looks_at(options):
            return None
        ids = self._ids(options)
        store = self._call.store
        if parts == ("id",):
            return lambda row: [e for i in ids(row) if (e := store.get(kind.name, i)) is not None]
        field = subfield(kind, parts[0])
        if field is None or field.form != "entity" or parts[1:] not in {(), ("id",)}:
            return None

        def find(row: Row) -> list[Entity]:
            targets = (store.get(field.wire, i) for i in ids(row))
            return [e for t in targets if t for e in store.referrers(t, kind.name, field.name)]

        return find

    def _looks_at(self, options: tuple[Expression, ...]) -> bool:
        """Whether an option without alias may be a property of the row that is sought."""
        return any(isinstance(o, Path) and o.parts[0] not in self.scope.slots for o in options)

    def _ids(self, options: tuple[Expression, ...]) -> Callable[[Row], list[Any]]:
        gets = [self.compiler.compile_list(option) for option in options]
        if all(isinstance(option, Literal | Parameter) for option in options):
            fixed = [plain(value) for get in gets for value in get([])]
            return lambda _: fixed
        return lambda row: [plain(value) for get in gets for value in get(row)]

    def _add_join(self, join: Join) -> None:
        typed = self.scope.resolve(join.path.parts)
        slot = self.scope.add(join.alias, typed.type)
        if typed.many:
            self.scope.positions[slot] = self.scope.add(None, "RInt")
        condition = None if join.condition is None else self.compiler.compile(join.condition).get
        if join.fetch:
            self._add_fetch(join, typed, slot)
        self._finish(_joined(typed, join.outer, condition))

    def _add_fetch(self, join: Join, typed: Typed, slot: int) -> None:
        owner = self.scope.resolve(join.path.parts[:-1])
        if owner.type == "Details":
            self.fetches.append(Fetch(join.path, lambda _: None, slot, False))
        else:
            self.fetches.append(Fetch(join.path, owner.get, slot, typed.many))


def _joined(typed: Typed, outer: bool, condition: Callable[[Row], Any] | None) -> Expand:
    get, many = typed.get, typed.many

    def expand(row: Row) -> list[list[Any]]:
        value = get(row)
        if many:
            values = [[element, index] for index, element in enumerate(value or ())]
        else:
            values = [] if value is None else [[value]]
        if condition is not None:
            values = [each for each in values if condition(row + each)]
        if not values and outer:
            return [[None, None] if many else [None]]
        return values

    return expand


def _aliases(expression: Any, declared: frozenset[str]) -> set[str]:
    """Return which aliases an expression looks at; a query within the query, all."""
    if isinstance(expression, Sublist):
        return set(declared)
    if isinstance(expression, Path):
        index = _aliases(expression.index, declared)
        return index | ({expression.parts[0]} & declared)
    if isinstance(expression, tuple):
        return {alias for part in expression for alias in _aliases(part, declared)}
    if is_dataclass(expression):
        parts = tuple(getattr(expression, each.name) for each in fields(expression))
        return _aliases(parts, declared)
    return set()


def _paths(expression: Any) -> Iterator[Path]:
    """Return the dotted names of an expression, without those of queries within it."""
    if isinstance(expression, Path):
        yield expression
        yield from _paths(expression.index)
    elif isinstance(expression, tuple):
        for part in expression:
            yield from _paths(part)
    elif is_dataclass(expression) and not isinstance(expression, Sublist):
        for each in fields(expression):
            yield from _paths(getattr(expression, each.name))
