"""The base of all models: frozen, and strict about unknown fields."""

from __future__ import annotations

import difflib

from pydantic import BaseModel, ConfigDict, ValidationError

__all__ = ["Model", "Parameters", "explain_validation", "field_names"]


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
        ``field: reason (found value)`` for each problem, joined by ``; ``.
    """
    names = field_names(model) if model else set()
    parts = []
    for problem in error.errors(include_url=False):
        field = ".".join(str(part) for part in problem["loc"]) or "value"
        reason = problem["msg"]
        if problem["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(problem["loc"][-1]), names, 1)
            reason = "there is no such field" + (f", did you mean {near[0]!r}?" if near else "")
        found = repr(problem["input"])
        if len(found) > 80:
            found = found[:77] + "..."
        parts.append(f"{field}: {reason} (found {found})")
    return "; ".join(parts)


def field_names(model: type[BaseModel]) -> set[str]:
    """Return the names of the fields of a model and of all models inside it."""
    schema = model.model_json_schema()
    objects = [schema, *schema.get("$defs", {}).values()]
    return {name for part in objects for name in part.get("properties", {})}
