"""From the parts of a query to functions of its rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.omero.server.entities import Entity

from .paths import Row, Scope, Typed
from .syntax import (
    Aggregate,
    Binary,
    Case,
    Exists,
    Expression,
    Function,
    In,
    Literal,
    Not,
    Parameter,
    Path,
    Query,
    Sublist,
)
from .tokens import HqlError
from .values import FUNCTIONS, SIGNS, is_in, plain

__all__ = ["Compiler"]

Nested = Callable[[Query, Scope, dict[str, Any]], Callable[[Row], list[list[Any]]]]


class Compiler:
    """Makes functions of rows from expressions.

    Attributes
    ----------
    scope : what names mean
    parameters : what the client bound
    nested : makes a function of rows from a query within the query
    """

    def __init__(self, scope: Scope, parameters: dict[str, Any], nested: Nested) -> None:
        self.scope = scope
        self.parameters = parameters
        self._nested = nested
        self._makers: dict[type, Callable[[Any], Typed]] = {
            Literal: lambda e: self._constant(e.value),
            Parameter: lambda e: self._constant(self._bound(e.name)),
            Path: self._path,
            Function: self._function,
            Binary: self._binary,
            Not: self._not,
            In: self._in,
            Sublist: self._sublist,
            Exists: self._exists,
            Case: self._case,
            Aggregate: self._aggregate,
        }

    def compile(self, expression: Expression) -> Typed:
        """Return the way to the value of an expression.

        Raises
        ------
        HqlError
            A name means nothing, or a parameter is not bound.
        """
        return self._makers[type(expression)](expression)

    def _get(self, expression: Expression) -> Callable[[Row], Any]:
        return self.compile(expression).get

    def _constant(self, value: Any) -> Typed:
        return Typed(lambda _: value)

    def _bound(self, name: str) -> Any:
        if name not in self.parameters:
            message = f"Not all named parameters have been set: [{name}]"
            raise HqlError(message)
        return self.parameters[name]

    def _path(self, path: Path) -> Typed:
        typed = self.scope.resolve(path.parts)
        if path.index is None:
            return typed
        index, get = self._get(path.index), typed.get

        def element(row: Row) -> Any:
            values, number = get(row) or [], index(row)
            return values[number] if number is not None and number < len(values) else None

        return Typed(element, typed.type)

    def _function(self, function: Function) -> Typed:
        name = function.name
        if name == "index" and isinstance(function.arguments[0], Path):
            return self._index(function.arguments[0])
        if name == "elements":
            return self.compile(function.arguments[0])
        if name == "type":
            return self._class(function.arguments[0])
        if name not in FUNCTIONS:
            message = f"No data type for node: method call ( {name} )"
            raise HqlError(message)
        work = FUNCTIONS[name]
        gets = [self._get(argument) for argument in function.arguments]
        if len(gets) == 1:
            only = gets[0]
            return Typed(lambda row: work(only(row)))
        return Typed(lambda row: work(*[get(row) for get in gets]))

    def _class(self, argument: Expression) -> Typed:
        """Return the way to the class of an entity; a client is sent its full name."""
        get = self._get(argument)

        def name(row: Row) -> str | None:
            value = get(row)
            return value.kind.name if isinstance(value, Entity) else value

        return Typed(name, "type")

    def _index(self, path: Path) -> Typed:
        slot = self.scope.slots.get(path.parts[0])
        position = self.scope.positions.get(-1 if slot is None else slot)
        if position is None:
            message = f"index() of {path}, which is not an element of a collection"
            raise HqlError(message)
        return Typed(lambda row: row[position], "RInt")

    def _binary(self, binary: Binary) -> Typed:
        if isinstance(binary.right, Function) and binary.right.name in {"all", "any", "some"}:
            return self._quantified(binary, binary.right)
        left, right = self._get(binary.left), self._get(binary.right)
        if binary.sign == "and":
            return Typed(lambda row: _and(left, right, row))
        if binary.sign == "or":
            return Typed(lambda row: _or(left, right, row))
        work = SIGNS[binary.sign]
        return Typed(lambda row: work(left(row), right(row)))

    def _quantified(self, binary: Binary, quantifier: Function) -> Typed:
        left, work = self._get(binary.left), SIGNS[binary.sign]
        options = self.compile_list(quantifier.arguments[0])
        over = all if quantifier.name == "all" else any
        return Typed(lambda row: over(work(left(row), option) for option in options(row)))

    def _not(self, negated: Not) -> Typed:
        get = self._get(negated.of)

        def contrary(row: Row) -> bool | None:
            value = get(row)
            return None if value is None else not value

        return Typed(contrary)

    def compile_list(self, expression: Expression) -> Callable[[Row], list[Any]]:
        """Return the way to the values of an expression that stands for several."""
        if isinstance(expression, Sublist):
            rows = self._nested(expression.query, self.scope, self.parameters)
            return lambda row: [values[0] for values in rows(row)]
        get = self._get(expression)

        def listed(row: Row) -> list[Any]:
            value = get(row)
            return list(value) if isinstance(value, list | tuple | set | frozenset) else [value]

        return listed

    def _in(self, among: In) -> Typed:
        value = self._get(among.value)
        if all(isinstance(option, Literal | Parameter) for option in among.options):
            return self._among_constants(value, among)
        lists = [self.compile_list(option) for option in among.options]
        return Typed(lambda row: is_in(value(row), [o for get in lists for o in get(row)]))

    def _among_constants(self, value: Callable[[Row], Any], among: In) -> Typed:
        options = [o for option in among.options for o in self.compile_list(option)([])]
        known = frozenset(plain(option) for option in options)
        unknown = None in known

        def among_constants(row: Row) -> bool | None:
            found = plain(value(row))
            if found is None:
                return None
            return found in known or (None if unknown else False)

        return Typed(among_constants)

    def _sublist(self, sublist: Sublist) -> Typed:
        rows = self._nested(sublist.query, self.scope, self.parameters)

        def first(row: Row) -> Any:
            found = rows(row)
            return found[0][0] if found else None

        return Typed(first)

    def _exists(self, exists: Exists) -> Typed:
        get = self.compile_list(exists.of)
        return Typed(lambda row: bool(get(row)))

    def _case(self, case: Case) -> Typed:
        branches = [(self._get(when), self._get(then)) for when, then in case.branches]
        otherwise = self._get(case.otherwise)

        def chosen(row: Row) -> Any:
            for when, then in branches:
                if when(row):
                    return then(row)
            return otherwise(row)

        return Typed(chosen)

    def _aggregate(self, aggregate: Aggregate) -> Typed:
        message = f"aggregate function {aggregate.name}() is not allowed here"
        raise HqlError(message)


def _and(left: Callable[[Row], Any], right: Callable[[Row], Any], row: Row) -> bool | None:
    first = left(row)
    if first is not None and not first:
        return False
    second = right(row)
    if second is not None and not second:
        return False
    return None if first is None or second is None else True


def _or(left: Callable[[Row], Any], right: Callable[[Row], Any], row: Row) -> bool | None:
    first = left(row)
    if first:
        return True
    second = right(row)
    if second:
        return True
    return None if first is None or second is None else False
