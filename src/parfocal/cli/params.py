"""Parameters from the command line: a file or JSON, and single values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from parfocal.core.step import Step
from parfocal.errors import ConfigurationError
from parfocal.models.base import Parameters, explain_validation
from parfocal.models.documents import parse_document

__all__ = ["check_params", "read_mapping", "read_params"]


def read_params(step: Step, given: str | None, settings: Sequence[str]) -> Parameters:
    """Return the checked parameters of a step.

    Parameters
    ----------
    step : Step
        The step.
    given : str, optional
        The path of a YAML or JSON file, or JSON itself.
    settings : sequence of str
        ``key=value`` with the value as YAML; ``a.b=value`` sets a field of a nested model.

    Raises
    ------
    ConfigurationError
        If the file cannot be read, or a parameter is unknown or out of its bounds.
    """
    values = read_mapping(given, "--params") if given is not None else {}
    return check_params(step, values, settings, _where(given))


def check_params(
    step: Step, values: dict[str, Any], settings: Sequence[str], where: str | None = None
) -> Parameters:
    """Return the checked parameters of a step.

    Parameters
    ----------
    step : Step
        The step.
    values : dict
        The parameters by their names; settings go into it.
    settings : sequence of str
        See `read_params`.
    where : str, optional
        Where the values come from, for errors.

    Raises
    ------
    ConfigurationError
        If a parameter is unknown or out of its bounds.
    """
    for setting in settings:
        _set(values, setting)
    try:
        return step.params.model_validate(values)
    except ValidationError as error:
        what = f"Parameters of {step.name} are not valid"
        remedy = f"'parfocal schema {step.name}' describes them all."
        raise ConfigurationError(
            what, where=where, found=explain_validation(error, step.params), remedy=remedy
        ) from error


def _is_inline(given: str) -> bool:
    return given.lstrip().startswith("{")


def _where(given: str | None, option: str = "--params") -> str | None:
    return option if given is not None and _is_inline(given) else given


def read_mapping(given: str, option: str) -> dict[str, Any]:
    """Return what a file or JSON holds.

    Parameters
    ----------
    given : str
        The path of a YAML or JSON file, or JSON itself.
    option : str
        What it was given by, for messages.

    Raises
    ------
    ConfigurationError
        If the file cannot be read, or it holds something else than a mapping.
    """
    text = given
    if not _is_inline(given):
        try:
            text = Path(given).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            what = f"The file of {option} cannot be read"
            remedy = "Name a YAML or JSON file, or write the JSON itself."
            raise ConfigurationError(what, where=given, found=error, remedy=remedy) from error
    values = parse_document(text, _where(given, option))
    if not isinstance(values, dict):
        what = f"What {option} gives is not a mapping of names to values"
        raise ConfigurationError(what, where=given, found=type(values).__name__)
    return values


def _set(values: dict[str, Any], setting: str) -> None:
    name, equals, value = setting.partition("=")
    *parents, leaf = name.split(".")
    if not equals or not all((*parents, leaf)):
        what = "A setting is not of the form key=value"
        raise ConfigurationError(what, where=f"--set {setting}")
    inner = values
    for parent in parents:
        inner = inner.setdefault(parent, {})
        if not isinstance(inner, dict):
            what = f"A setting goes into {parent!r}, which is a value and no mapping"
            raise ConfigurationError(what, where=f"--set {setting}", found=repr(inner))
    inner[leaf] = parse_document(value, f"--set {setting}")
