"""The states of the steps in Galaxy's workflows: the form of each tool, filled in as it comes.

Galaxy wants a value for each parameter of each step, and asks the user about those that are not
there. So that defaults still have one place, ``docs/make_reference.py`` has them written here.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from typing import Any

import yaml

from parfocal.engine.galaxy_differences import data_inputs
from parfocal.engine.galaxy_form import form_of
from parfocal.engine.galaxy_parts import (
    Choice,
    Conditional,
    Number,
    Part,
    Repeat,
    Section,
    Span,
    Switch,
    Text,
)
from parfocal.steps import STEPS

__all__ = ["with_states"]

_STATE = re.compile(r"^    tool_state:.*\n(?:      .*\n)*", re.MULTILINE)
_TOOLS = {f"parfocal_{step.folder}": step for step in STEPS}


def with_states(workflow: str) -> str:
    """Return a workflow in Format 2 in which each step of ours has a whole state.

    Parameters
    ----------
    workflow : str
        The workflow, a step of which may have a state already: it is written anew.
    """
    head, steps, rest = workflow.partition("\nsteps:\n")
    parts = re.split(r"(?m)^(?=  - id: )", rest)
    return head + steps + "".join(map(_with_state, parts))


def _with_state(text: str) -> str:
    """Return the text of one step with its state at the end.

    Raises
    ------
    KeyError
        If there is no such tool of ours, or something goes into it that it does not ask for.
    """
    if "    tool_id: parfocal_" not in text:
        return text
    (told,) = yaml.safe_load(text)
    step = _TOOLS[told["tool_id"]]
    state = _defaults(form_of(step)) | dict.fromkeys(data_inputs(step))
    for name in told.get("in", {}):
        _connect(state, name.split("|"))
    new = yaml.safe_dump({"tool_state": state}, sort_keys=False, width=100, allow_unicode=True)
    return _STATE.sub("", text) + (textwrap.indent(new, " " * 4) if state else "")


def _connect(state: dict[str, Any], place: list[str]) -> None:
    """Leave out what comes from another step; within a repeat Galaxy wants to be told of it."""
    first, *inside = place
    if inside:
        repeat, _, number = first.rpartition("_")
        state[repeat][int(number)][inside[0]] = {"__class__": "ConnectedValue"}
    else:
        del state[first]


def _defaults(parts: Iterable[Part]) -> dict[str, Any]:
    return {part.name: _default(part) for part in parts}


def _default(part: Part) -> Any:
    match part:
        case Section() | Span():
            return _defaults(part.parts)
        case Repeat():
            return [{"__index__": place, **_defaults(part.parts)} for place in range(part.least)]
        case Conditional():
            (place,) = (n for n, case in enumerate(part.cases) if case.value == part.default)
            chosen = {part.switch: part.default, "__current_case__": place}
            return {**chosen, **_defaults(part.cases[place].parts)}
        case Choice():
            options = [str(option) for option in part.default]
            return options if part.many else next(iter(options), None)
        case Switch() | Number():
            return part.default
        case Text():
            return part.default if part.default is not None or part.optional else ""
        case _:
            return None
