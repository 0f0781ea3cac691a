"""From words to the parts of a query: clauses."""

from __future__ import annotations

import functools

from .expressions import Expressions
from .syntax import Item, Join, Path, Query, Range
from .tokens import HqlError, tokens

__all__ = ["parse"]


class _Parser(Expressions):
    def query(self) -> Query:
        """Read a query."""
        items, distinct, as_map = self._select()
        self.need_word("from")
        ranges = self._ranges()
        where = self.expression() if self.eat("where") else None
        group = ()
        if self.eat("group", "by"):
            group = tuple(self.listed(self.expression))
        having = self.expression() if self.eat("having") else None
        order = tuple(self.listed(self._ordered)) if self.eat("order", "by") else ()
        return Query(items, distinct, as_map, ranges, where, group, having, order)

    def _select(self) -> tuple[tuple[Item, ...] | None, bool, bool]:
        if not self.eat("select"):
            return None, False, False
        distinct = self.eat("distinct")
        as_map = self.eat("new", "map")
        if as_map:
            self.need("(")
        items = tuple(self.listed(self._item))
        if as_map:
            self.need(")")
        return items, distinct, as_map

    def _item(self) -> Item:
        return Item(self.expression(), self.alias())

    def _ordered(self) -> tuple[object, bool]:
        value = self.expression()
        descending = self.eat("desc")
        if not descending:
            self.eat("asc")
        return value, descending

    def _ranges(self) -> tuple[Range, ...]:
        ranges = []
        while True:
            path = self._from()
            alias = self.alias()
            self.eat("fetch", "all", "properties")
            ranges.append(Range(path, alias or path.parts[-1].lower(), tuple(self._joins())))
            if not self.sign(","):
                return tuple(ranges)

    def _from(self) -> Path:
        """Read a class or a collection, which may be written ``elements(x.y)`` or ``in(x.y)``."""
        if self.eat("in") or self.eat("elements"):
            self.need("(")
            path = self.path()
            self.need(")")
            return path
        return self.path()

    def _joins(self) -> list[Join]:
        joins = []
        while True:
            start = self.at
            outer = self.eat("left") or self.eat("right")
            self.eat("outer") or self.eat("inner")
            if not self.eat("join"):
                self.at = start
                return joins
            fetch = self.eat("fetch")
            path = self._from()
            alias = self.alias()
            condition = self.expression() if self.eat("with") or self.eat("on") else None
            joins.append(Join(path, alias, outer, fetch, condition))


@functools.lru_cache(maxsize=2048)
def parse(text: str) -> Query:
    """Return the parts of a query.

    Raises
    ------
    HqlError
        It is not a query.
    """
    parser = _Parser(tokens(text))
    query = parser.query()
    if not parser.done:
        message = f"unexpected token: {parser.found()} [{text}]"
        raise HqlError(message)
    return query
