"""Read the metadata of a crate entity by entity, so that memory does not grow with the crate."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import IO, Any, NoReturn

from parfocal.errors import InputError

__all__ = ["iter_entities"]

_MOST_ENTITIES = 2_000_000
_LARGEST_ENTITY = 128 << 20  # characters; the run as a whole names all of its data
_CHUNK = 1 << 20
_BLANK = re.compile(r"[ \t\n\r]*")
_REMEDY = "Take the crate anew from where it was made; one of very many images is made in parts."


def iter_entities(stream: IO[bytes], where: object) -> Iterator[dict[str, Any]]:
    """Yield the entities of ``@graph`` in their order.

    Parameters
    ----------
    stream : binary file
        The metadata document.
    where : object
        What it is, for errors.

    Raises
    ------
    InputError
        If it is no JSON-LD document with a flat ``@graph``, not UTF-8, or larger than a crate is.
    """
    text = _Text(stream, where)
    number = 0
    text.take("{")
    while True:
        name = text.value()
        text.take(":")
        if name == "@graph":
            for entity in _items(text):
                number += 1
                if number > _MOST_ENTITIES:
                    text.refuse("It has too many entities", f"at most {_MOST_ENTITIES}")
                if not isinstance(entity, dict) or not isinstance(entity.get("@id"), str):
                    text.refuse("An entity has no @id", "an object with @id", entity)
                yield entity
        else:
            text.value()
        if not text.goes_on("}"):
            break
    text.end()
    if not number:
        text.refuse("It has no entities", "entities in @graph")


def _items(text: _Text) -> Iterator[Any]:
    text.take("[")
    if text.peek() == "]":
        text.take("]")
        return
    yield text.value()
    while text.goes_on("]"):
        yield text.value()


class _Text:
    """JSON that is read piece by piece: only what is being parsed is kept."""

    def __init__(self, stream: IO[bytes], where: object) -> None:
        self._stream = stream
        self._where = where
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._json = json.JSONDecoder()
        self._kept = ""
        self._at = 0
        self._ended = False

    def refuse(
        self,
        what: str,
        expected: str | None = None,
        found: object = None,
        *,
        cause: Exception | None = None,
    ) -> NoReturn:
        """Say what is wrong with the document.

        Raises
        ------
        InputError
            Always.
        """
        shown = None if found is None else ascii(found)[:200]
        what = f"The metadata of the crate cannot be read: {what[0].lower()}{what[1:]}"
        raise InputError(
            what, where=self._where, expected=expected, found=shown, remedy=_REMEDY
        ) from cause

    def peek(self) -> str:
        """Return the next character that is not blank; empty at the end."""
        while True:
            blank = _BLANK.match(self._kept, self._at)
            self._at = blank.end() if blank else self._at
            if self._at < len(self._kept):
                return self._kept[self._at]
            if not self._more():
                return ""

    def take(self, character: str) -> None:
        """Go past a character that has to come now."""
        if (found := self.peek()) != character:
            self.refuse("It is not JSON, or cut off", repr(character), found or "the end")
        self._at += 1

    def goes_on(self, last: str) -> bool:
        """Go past a comma, or past what closes the list or object, and tell which it was."""
        if self.peek() == ",":
            self._at += 1
            return True
        self.take(last)
        return False

    def end(self) -> None:
        """Make sure that nothing follows."""
        if found := self.peek():
            self.refuse("Something follows the document", "the end", found)

    def value(self) -> Any:
        """Go past a value, and return it."""
        self.peek()
        while True:
            try:
                value, end = self._json.raw_decode(self._kept, self._at)
            except json.JSONDecodeError as error:
                if self._more():
                    continue
                self.refuse("It is not JSON, or cut off", None, error.msg, cause=error)
            except (RecursionError, ValueError) as error:
                self.refuse("It is not JSON of a crate", None, str(error), cause=error)
            if end < len(self._kept) or not self._more():
                self._at = end
                return value

    def _more(self) -> bool:
        """Read on, twice as much as what could not be parsed so far."""
        if self._ended:
            return False
        rest = self._kept[self._at :]
        if len(rest) > _LARGEST_ENTITY:
            self.refuse("An entity is too large", f"at most {_LARGEST_ENTITY} characters")
        content = self._stream.read(max(_CHUNK, len(rest)))
        self._ended = not content
        try:
            self._kept = rest + self._decoder.decode(content, final=self._ended)
        except UnicodeDecodeError as error:
            self.refuse("It is not UTF-8", None, str(error), cause=error)
        self._at = 0
        return True
