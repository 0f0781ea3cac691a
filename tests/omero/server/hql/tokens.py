"""From the text of a query to its words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["HqlError", "Token", "tokens"]

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>\d+\.\d*(?:[eE][+-]?\d+)?|\.\d+|\d+[lLfFdD]?)
      | '(?P<text>(?:[^']|'')*)'
      | :(?P<parameter>\w+)
      | (?P<sign>\|\||<>|!=|\^=|<=|>=|[=<>(),.+\-*/%\[\]])
      | (?P<word>[A-Za-z_$][\w$]*)
    )""",
    re.VERBOSE,
)

Sort = Literal["number", "text", "parameter", "sign", "word"]


class HqlError(Exception):
    """A query cannot be understood or answered."""


@dataclass(frozen=True, slots=True)
class Token:
    """A word of a query.

    Attributes
    ----------
    sort : what it is
    value : number, text without quotes, name or sign
    """

    sort: Sort
    value: Any

    def is_word(self, word: str) -> bool:
        """Whether it is a keyword, in whatever case."""
        return self.sort == "word" and self.value.lower() == word


def _number(text: str) -> int | float:
    digits = text.rstrip("lLfFdD")
    return float(digits) if set(digits) & set(".eE") or text[-1] in "fFdD" else int(digits)


def tokens(text: str) -> list[Token]:
    """Return the words of a query.

    Raises
    ------
    HqlError
        A character is none of the language.
    """
    found, at, text = [], 0, text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            message = f"unexpected char: {text[at : at + 20]!r} [{text}]"
            raise HqlError(message)
        sort: Any = match.lastgroup
        value: Any = match.group(sort)
        if sort == "number":
            value = _number(value)
        elif sort == "text":
            value = value.replace("''", "'")
        found.append(Token(sort, value))
        at = match.end()
    return found
