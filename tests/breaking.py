"""Parfocal with a bug: ``python tests/breaking.py MODULE NAME COMMAND...``.

The function or method of that name does its work, and then fails as no code expects.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

__all__ = ["BUG", "break_function", "main"]

BUG = "a bug that the test put there"


def break_function(module: str, name: str) -> None:
    """Let a function, or a method by ``Class.method``, raise after its work."""
    *owners, last = name.split(".")
    owner = functools.reduce(getattr, owners, importlib.import_module(module))
    setattr(owner, last, _failing(getattr(owner, last)))


def _failing(work: Callable[..., Any]) -> Callable[..., NoReturn]:
    def fail(*arguments: Any, **named: Any) -> NoReturn:
        work(*arguments, **named)
        raise RuntimeError(BUG)

    return fail


def main(argv: Sequence[str]) -> int:
    """Run a command of Parfocal's in which something is broken."""
    from parfocal.cli.main import main as run

    break_function(argv[0], argv[1])
    return run(argv[2:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
