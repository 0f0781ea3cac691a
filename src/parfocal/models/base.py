"""The base of all models: frozen, and strict about unknown fields."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError

__all__ = ["Model", "Parameters", "explain_validation"]


class Model(BaseModel):
    """A frozen model that refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Parameters(Model):
    """The parameters of one step.

    Each field has a description, bounds, a unit in its name where it has one,
    and a default unless the step cannot run without the user's choice.
    """


def explain_validation(error: ValidationError) -> str:
    """Say in one line which fields are wrong and why.

    Parameters
    ----------
    error : pydantic.ValidationError
        What pydantic raised.

    Returns
    -------
    str
        ``field: reason (found value)`` for each problem, joined by ``; ``.
    """
    parts = []
    for problem in error.errors(include_url=False):
        field = ".".join(str(part) for part in problem["loc"]) or "value"
        found = repr(problem["input"])
        if len(found) > 80:
            found = found[:77] + "..."
        parts.append(f"{field}: {problem['msg']} (found {found})")
    return "; ".join(parts)
