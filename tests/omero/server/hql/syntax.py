"""The parts of a query."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "Aggregate",
    "Binary",
    "Case",
    "Exists",
    "Expression",
    "Function",
    "In",
    "Item",
    "Join",
    "Literal",
    "Not",
    "Parameter",
    "Path",
    "Query",
    "Range",
    "Sublist",
]


@dataclass(frozen=True)
class Literal:
    """A number, text, truth value or null."""

    value: Any


@dataclass(frozen=True)
class Parameter:
    """A value that the client binds."""

    name: str


@dataclass(frozen=True)
class Path:
    """A dotted name, such as ``image.details.owner.id``; ``index`` of a list's element."""

    parts: tuple[str, ...]
    index: Expression | None = None

    def __str__(self) -> str:
        return ".".join(self.parts)


@dataclass(frozen=True)
class Function:
    """A function of values."""

    name: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True)
class Aggregate:
    """A function of many rows; ``argument`` is None of ``count(*)``."""

    name: str
    argument: Expression | None
    distinct: bool = False


@dataclass(frozen=True)
class Binary:
    """Two values and what is between them."""

    sign: str
    left: Expression
    right: Expression


@dataclass(frozen=True)
class Not:
    """The contrary."""

    of: Expression


@dataclass(frozen=True)
class In:
    """Whether a value is one of several, listed or of a query."""

    value: Expression
    options: tuple[Expression, ...]


@dataclass(frozen=True)
class Sublist:
    """The values that a query within a query returns."""

    query: Query


@dataclass(frozen=True)
class Exists:
    """Whether there is anything."""

    of: Expression


@dataclass(frozen=True)
class Case:
    """The first value whose condition holds."""

    branches: tuple[tuple[Expression, Expression], ...]
    otherwise: Expression


Expression = (
    Literal | Parameter | Path | Function | Aggregate | Binary | Not | In | Sublist | Exists | Case
)


@dataclass(frozen=True)
class Item:
    """One thing that is selected, and its name."""

    value: Expression
    name: str | None


@dataclass(frozen=True)
class Join:
    """What a row is joined with."""

    path: Path
    alias: str | None
    outer: bool
    fetch: bool
    condition: Expression | None = None


@dataclass(frozen=True)
class Range:
    """A class, or a collection of an outer query's row, whose objects rows are made of."""

    path: Path
    alias: str
    joins: tuple[Join, ...]


@dataclass(frozen=True)
class Query:
    """A whole query."""

    items: tuple[Item, ...] | None
    distinct: bool
    as_map: bool
    ranges: tuple[Range, ...]
    where: Expression | None = None
    group: tuple[Expression, ...] = ()
    having: Expression | None = None
    order: tuple[tuple[Expression, bool], ...] = field(default=())
