"""The base of all models: frozen, and strict about unknown fields."""

from __future__ import annotations

import difflib
import json
from functools import partial

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

__all__ = ["Model", "Parameters", "explain_validation", "field_names", "problems_by_key"]


class Model(BaseModel):
    """A frozen model that refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Parameters(Model):
    """The parameters of one step.

    Each field has a description, bounds, a unit in its name where it has one,
    and a default unless the step cannot run without the user's choice.
    """


def explain_validation(error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """Say in one line which fields are wrong and why.

    Parameters
    ----------
    error : pydantic.ValidationError
        What pydantic raised.
    model : type of pydantic.BaseModel, optional
        What was validated; unknown names are then told the nearest that it has.

    Returns
    -------
    str
        ``field: reason (found value)`` for each problem, joined by ``; ``; the value only where
        it is wrong by itself, and not by what it holds or lacks.
    """
    return "; ".join(f"{key}: {why}" for key, why in problems_by_key(error, model).items())


def problems_by_key(error: ValidationError, model: type[BaseModel] | None = None) -> dict[str, str]:
    """Return for each wrong field, in dotted form as the user writes it, what is wrong.

    Parameters
    ----------
    error, model
        See `explain_validation`.
    """
    names = field_names(model) if model else None
    reasons: dict[str, list[str]] = {}
    found: dict[str, str] = {}
    for problem in error.errors(include_url=False):
        key = _key(problem, names)
        reason = _reason(problem, model, names or set())
        # Where a value may be of several kinds, it is told once with all of them.
        kinds = reasons.setdefault(key, [])
        kinds.append(reason.removeprefix("must be ") if kinds else reason)
        found[key] = _found(problem)
    return {key: f"{' or '.join(why)}{found[key]}" for key, why in reasons.items()}


_OF_WHOLE = ("missing", "json_invalid", "union_tag_not_found", "union_tag_invalid", "value_error")
"""Problems of documents and their parts, which are not to be repeated."""


def _found(problem: ErrorDetails) -> str:
    """Return the wrong value as users write it, in brackets."""
    value, kind = problem["input"], problem["type"]
    plain = isinstance(value, str | int | float)
    if kind == "json_invalid" or (kind in _OF_WHOLE and not plain):
        return ""
    # JSON is YAML too, which no one need know Python for.
    written = repr if plain else partial(json.dumps, ensure_ascii=False, default=str, skipkeys=True)
    text = written(value)
    return f" (found {text if len(text) <= 80 else text[:77] + '...'})"


def _key(problem: ErrorDetails, names: set[str] | None) -> str:
    """Return the place of a problem without what pydantic adds for the members of unions."""
    *parents, last = problem["loc"] or ("value",)
    if names is not None:
        parents = [part for part in parents if isinstance(part, int) or part in names]
        users = problem["type"] in ("extra_forbidden", "missing") or not parents
        if not (users or isinstance(last, int) or last in names):
            return ".".join(map(str, parents))
    return ".".join(map(str, [*parents, last]))


_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "string": "a text",
    "bool": "true or false",
    "tuple": "a list",
    "list": "a list",
    "model": "a mapping of keys to values",
    "dict": "a mapping of keys to values",
}


def _reason(problem: ErrorDetails, model: type[BaseModel] | None, names: set[str]) -> str:
    kind, context, found = problem["type"], problem.get("ctx", {}), problem["input"]
    last = str(problem["loc"][-1]) if problem["loc"] else ""
    name, _, rest = kind.partition("_")
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(last, names, 1)
        return "there is no such field" + (f", did you mean {near[0]!r}?" if near else "")
    if kind == "missing":
        return "is required"
    if kind == "model_attributes_type":  # of a variant, which is told by its method or engine
        told_by = "engine" if last == "compute" else "method"
        return f"write {{{told_by}: {found if isinstance(found, str) else '...'}}}"
    if kind == "union_tag_not_found":
        return f"has no {context['discriminator']}"
    if kind == "union_tag_invalid":
        return f"there is no {context['tag']!r}, only {context['expected_tags']}"
    if kind in ("string_pattern_mismatch", "string_too_short") and not found:
        return "must not be empty"
    if kind == "string_pattern_mismatch":
        about = _description(model, last) if model else ""
        return f"is not of the form {context['pattern']}" + (f": {about}" if about else "")
    if name in _KINDS and rest in ("type", "parsing", "from_float"):
        return f"must be {_KINDS[name]}"
    return problem["msg"].replace("Input should be", "must be").removeprefix("Value error, ")


def _description(model: type[BaseModel], name: str) -> str:
    """Return what a model, or the first inside it that has the field, says of a field."""
    schema = model.model_json_schema()
    for part in (schema, *schema.get("$defs", {}).values()):
        if name in part.get("properties", {}):
            return str(part["properties"][name].get("description", "")).rstrip(".")
    return ""


def field_names(model: type[BaseModel]) -> set[str]:
    """Return the names of the fields of a model and of all models inside it."""
    schema = model.model_json_schema()
    objects = [schema, *schema.get("$defs", {}).values()]
    return {name for part in objects for name in part.get("properties", {})}
