"""From words to the parts of a query: values and conditions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

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
from .tokens import HqlError, Token

__all__ = ["Expressions"]

T = TypeVar("T")

_AGGREGATES = frozenset({"count", "sum", "min", "max", "avg"})
_COMPARISONS = ("=", "<>", "!=", "^=", "<=", ">=", "<", ">")
_CONSTANTS = {"null": None, "true": True, "false": False}
_RESERVED = frozenset(
    [
        "and",
        "as",
        "asc",
        "between",
        "by",
        "case",
        "cross",
        "desc",
        "distinct",
        "else",
        "empty",
        "end",
        "escape",
        "exists",
        "fetch",
        "from",
        "full",
        "group",
        "having",
        "in",
        "inner",
        "is",
        "join",
        "left",
        "like",
        "member",
        "new",
        "not",
        "null",
        "of",
        "on",
        "or",
        "order",
        "outer",
        "right",
        "select",
        "then",
        "when",
        "where",
        "with",
    ]
)


class Expressions:
    """Reads values and conditions from a list of words.

    Attributes
    ----------
    at : number of the next word
    """

    def __init__(self, words: list[Token]) -> None:
        self._words = words
        self.at = 0

    def query(self) -> Query:
        """Read a query within a query."""
        raise NotImplementedError

    @property
    def done(self) -> bool:
        """Whether no word is left."""
        return self.at >= len(self._words)

    def found(self) -> str:
        """Return the next word, for messages."""
        return "end of query" if self.done else str(self._words[self.at].value)

    def _fail(self, expected: str) -> HqlError:
        return HqlError(f"expecting {expected}, found {self.found()}")

    def _is(self, *words: str) -> bool:
        ahead = self._words[self.at : self.at + len(words)]
        return len(ahead) == len(words) and all(
            token.is_word(word) for token, word in zip(ahead, words, strict=True)
        )

    def eat(self, *words: str) -> bool:
        """Go past keywords, if they come next."""
        if self._is(*words):
            self.at += len(words)
            return True
        return False

    def sign(self, sign: str) -> bool:
        """Go past a sign, if it comes next."""
        if not self.done and self._words[self.at] == Token("sign", sign):
            self.at += 1
            return True
        return False

    def need(self, sign: str) -> None:
        """Go past a sign that must come."""
        if not self.sign(sign):
            raise self._fail(repr(sign))

    def need_word(self, word: str) -> None:
        """Go past a keyword that must come."""
        if not self.eat(word):
            raise self._fail(word)

    def listed(self, read: Callable[[], T]) -> list[T]:
        """Read things with commas between them."""
        read_ones = [read()]
        while self.sign(","):
            read_ones.append(read())
        return read_ones

    def alias(self) -> str | None:
        """Read a name for what was just read, if there is one."""
        named = self.eat("as")
        word = None if self.done else self._words[self.at]
        if word is None or word.sort != "word":
            return None
        return self._name() if named or word.value.lower() not in _RESERVED else None

    def _name(self) -> str:
        if self.done or self._words[self.at].sort != "word":
            raise self._fail("a name")
        self.at += 1
        return str(self._words[self.at - 1].value)

    def path(self) -> Path:
        """Read a dotted name."""
        parts = [self._name()]
        while self.sign("."):
            parts.append(self._name())
        return Path(tuple(parts))

    def expression(self) -> Expression:
        """Read a value or a condition."""
        value = self._conjunction()
        while self.eat("or"):
            value = Binary("or", value, self._conjunction())
        return value

    def _conjunction(self) -> Expression:
        value = self._negation()
        while self.eat("and"):
            value = Binary("and", value, self._negation())
        return value

    def _negation(self) -> Expression:
        if self.eat("not"):
            return Not(self._negation())
        return self._comparison()

    def _comparison(self) -> Expression:
        left = self._sum()
        for sign in _COMPARISONS:
            if self.sign(sign):
                return Binary("<>" if sign in {"!=", "^="} else sign, left, self._sum())
        if self.eat("is"):
            contrary = self.eat("not")
            value = Function("is empty" if self.eat("empty") else self._null(), (left,))
            return Not(value) if contrary else value
        contrary = self.eat("not")
        condition = self._condition(left)
        if condition is None:
            if contrary:
                raise self._fail("in, like, between or member")
            return left
        return Not(condition) if contrary else condition

    def _null(self) -> str:
        self.need_word("null")
        return "is null"

    def _condition(self, left: Expression) -> Expression | None:
        """Read what follows a value and can be negated."""
        if self.eat("like"):
            pattern = self._sum()
            escape = (self._sum(),) if self.eat("escape") else ()
            return Function("like", (left, pattern, *escape))
        if self.eat("between"):
            low = self._sum()
            self.need_word("and")
            return Binary("and", Binary(">=", left, low), Binary("<=", left, self._sum()))
        if self.eat("member"):
            self.eat("of")
            return In(left, (Function("elements", (self.path(),)),))
        return self._among(left) if self.eat("in") else None

    def _among(self, left: Expression) -> Expression:
        if not self.sign("("):
            return In(left, (self._primary(),))
        if self._is("select") or self._is("from"):
            options: tuple[Expression, ...] = (Sublist(self.query()),)
        else:
            options = tuple(self.listed(self.expression))
        self.need(")")
        return In(left, options)

    def _sum(self) -> Expression:
        value = self._product()
        while True:
            sign = next((s for s in ("+", "-", "||") if self.sign(s)), None)
            if sign is None:
                return value
            value = Binary(sign, value, self._product())

    def _product(self) -> Expression:
        value = self._signed()
        while True:
            sign = next((s for s in ("*", "/", "%") if self.sign(s)), None)
            if sign is None:
                return value
            value = Binary(sign, value, self._signed())

    def _signed(self) -> Expression:
        if self.sign("-"):
            return Binary("-", Literal(0), self._signed())
        self.sign("+")
        return self._primary()

    def _primary(self) -> Expression:
        if self.done:
            raise self._fail("a value")
        token = self._words[self.at]
        if token.sort in {"number", "text"}:
            self.at += 1
            return Literal(token.value)
        if token.sort == "parameter":
            self.at += 1
            return Parameter(str(token.value))
        if self.sign("("):
            return self._parenthesis()
        return self._worded(token)

    def _parenthesis(self) -> Expression:
        if self._is("select") or self._is("from"):
            value: Expression = Sublist(self.query())
        else:
            value = self.expression()
        self.need(")")
        return value

    def _worded(self, token: Token) -> Expression:
        word = str(token.value).lower() if token.sort == "word" else ""
        if word in _CONSTANTS:
            self.at += 1
            return Literal(_CONSTANTS[word])
        if self.eat("exists"):
            return Exists(self._primary())
        if self.eat("case"):
            return self._case()
        for quantifier in ("all", "any", "some"):
            if self._is(quantifier) and self._opens(1):
                self.at += 1
                return Function(quantifier, (self._primary(),))
        path = self.path()
        if len(path.parts) == 1 and self.sign("("):
            return self._call(path.parts[0].lower())
        if self.sign("["):
            index = self.expression()
            self.need("]")
            return Path(path.parts, index)
        return path

    def _opens(self, ahead: int) -> bool:
        words = self._words[self.at + ahead : self.at + ahead + 1]
        return words == [Token("sign", "(")]

    def _call(self, name: str) -> Expression:
        """Read the arguments of a function."""
        if name in _AGGREGATES:
            distinct = self.eat("distinct")
            argument = None if self.sign("*") else self.expression()
            self.need(")")
            return Aggregate(name, argument, distinct)
        arguments: list[Expression] = []
        if not self.sign(")"):
            arguments = self.listed(self.expression)
            if name == "cast":
                self.need_word("as")
                arguments.append(Literal(str(self.path())))
            self.need(")")
        if name in {"minindex", "maxindex"}:
            return Aggregate(name[:3], Function("index", tuple(arguments)))
        return Function(name, tuple(arguments))

    def _case(self) -> Expression:
        subject = None if self._is("when") else self.expression()
        branches = []
        while self.eat("when"):
            condition = self.expression()
            if subject is not None:
                condition = Binary("=", subject, condition)
            self.need_word("then")
            branches.append((condition, self.expression()))
        otherwise = self.expression() if self.eat("else") else Literal(None)
        self.need_word("end")
        return Case(tuple(branches), otherwise)
