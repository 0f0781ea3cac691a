"""How values compare, add up and change, with null as SQL has it: unknown."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from tests.omero.server.entities import Entity

from .tokens import HqlError

__all__ = ["AGGREGATES", "FUNCTIONS", "SIGNS", "is_in", "plain"]


def plain(value: Any) -> Any:
    """Return a value as it is compared: an entity by its id."""
    return value.id if isinstance(value, Entity) else value


def _alike(left: Any, right: Any) -> tuple[Any, Any]:
    """Return two values so that they can be compared."""
    left, right = plain(left), plain(right)
    if isinstance(left, str) != isinstance(right, str):
        return str(left), str(right)
    return left, right


def _compared(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool | None]:
    def work(left: Any, right: Any) -> bool | None:
        if left is None or right is None:
            return None
        return compare(*_alike(left, right))

    return work


def _computed(compute: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def work(left: Any, right: Any) -> Any:
        return None if left is None or right is None else compute(left, right)

    return work


def _divide(left: Any, right: Any) -> Any:
    if isinstance(left, int) and isinstance(right, int):
        return int(left / right)
    return left / right


SIGNS: dict[str, Callable[[Any, Any], Any]] = {
    "=": _compared(operator.eq),
    "<>": _compared(operator.ne),
    "<": _compared(operator.lt),
    ">": _compared(operator.gt),
    "<=": _compared(operator.le),
    ">=": _compared(operator.ge),
    "+": _computed(operator.add),
    "-": _computed(operator.sub),
    "*": _computed(operator.mul),
    "/": _computed(_divide),
    "%": _computed(operator.mod),
    "||": _computed(lambda left, right: f"{left}{right}"),
}
"""What stands between two values, but for ``and`` and ``or``."""


def is_in(value: Any, options: Iterable[Any]) -> bool | None:
    """Whether a value is one of several; unknown when it, or what could be it, is null."""
    if value is None:
        return None
    unknown = False
    for option in options:
        if option is None:
            unknown = True
        elif SIGNS["="](value, option):
            return True
    return None if unknown else False


@lru_cache(maxsize=256)
def _pattern(text: str, escape: str) -> re.Pattern[str]:
    pieces, at = [], 0
    while at < len(text):
        char = text[at]
        if char == escape and at + 1 < len(text):
            at += 1
            pieces.append(re.escape(text[at]))
        else:
            pieces.append({"%": ".*", "_": "."}.get(char, re.escape(char)))
        at += 1
    return re.compile("".join(pieces), re.DOTALL)


def _like(value: Any, pattern: Any, escape: str = "\\") -> bool | None:
    if value is None or pattern is None:
        return None
    return _pattern(str(pattern), escape).fullmatch(str(value)) is not None


def _cast(value: Any, kind: str) -> Any:
    if value is None:
        return None
    name = kind.rpartition(".")[2].lower()
    if name in {"string", "text", "varchar"}:
        return str(plain(value))
    if name in {"int", "integer", "long", "big_integer"}:
        return int(value)
    if name in {"double", "float", "big_decimal"}:
        return float(value)
    message = f"Could not resolve requested type for CAST: {kind}"
    raise HqlError(message)


def _substring(text: Any, start: int, length: int | None = None) -> Any:
    return text[start - 1 : None if length is None else start - 1 + length]


def _locate(part: str, text: str, start: int = 1) -> int:
    return text.find(part, start - 1) + 1


def _strict(work: Callable[..., Any]) -> Callable[..., Any]:
    def strict(*values: Any) -> Any:
        return None if any(value is None for value in values) else work(*values)

    return strict


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "is null": lambda value: value is None,
    "is empty": lambda values: not values,
    "like": _like,
    "cast": _cast,
    "coalesce": lambda *values: next((v for v in values if v is not None), None),
    "nullif": lambda left, right: None if plain(left) == plain(right) else left,
    "size": lambda values: len(values or ()),
    "lower": _strict(lambda text: str(text).lower()),
    "upper": _strict(lambda text: str(text).upper()),
    "trim": _strict(lambda text: text.strip()),
    "length": _strict(len),
    "str": _strict(lambda value: str(plain(value))),
    "concat": _strict(lambda *values: "".join(map(str, values))),
    "substring": _strict(_substring),
    "locate": _strict(_locate),
    "abs": _strict(abs),
    "sqrt": _strict(lambda value: float(value) ** 0.5),
    "mod": _strict(operator.mod),
}
"""Functions of values."""

AGGREGATES: dict[str, Callable[[list[Any]], Any]] = {
    "count": len,
    "sum": lambda values: sum(values) if values else None,
    "min": lambda values: min(values, default=None),
    "max": lambda values: max(values, default=None),
    "avg": lambda values: sum(values) / len(values) if values else None,
}
"""Functions of the values of many rows, nulls left out."""
