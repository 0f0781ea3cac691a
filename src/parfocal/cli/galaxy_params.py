"""What Galaxy hands over to a tool: its parameters as JSON, and the name of its image."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parfocal.core.step import Step
from parfocal.errors import ConfigurationError
from parfocal.models.naming import image_id_of

if TYPE_CHECKING:
    from parfocal.engine.galaxy_parts import Choice, Conditional, Part, Repeat, Text
    from parfocal.models.sheet import Row

__all__ = ["read_galaxy_params", "read_image_id", "read_row", "text_of_option"]

_OF_GALAXY = ("__current_case__", "__index__", "__job_resource")
_REMEDY = "The tool and Parfocal are of different versions: let the administrator update them."


def read_image_id(path: Path) -> str:
    """Return the image_id of an image that is called as the first line of a file says.

    It is made by the rule by which ``list-images`` makes that of a file of this name.

    Raises
    ------
    ConfigurationError
        If the file cannot be read or names nothing.
    """
    name = next(iter(text_of_option(path, "--image-id-file").splitlines()), "").strip()
    if not name:
        what = "The file of --image-id-file holds no name"
        raise ConfigurationError(what, where=path)
    return image_id_of(name, name)


def read_row(path: Path) -> Row:
    """Return the only row of a sample sheet.

    Raises
    ------
    ConfigurationError
        If it is no sample sheet, or has several rows.
    """
    from parfocal.models.sheet import read_sheet

    rows = read_sheet(path)
    if len(rows) > 1:
        what = "The sample sheet has several rows where that of one image is needed"
        remedy = "Give a row of 'Rows' from List images, or map the tool over them."
        found = f"{len(rows)} rows"
        raise ConfigurationError(what, where=path, expected="1 row", found=found, remedy=remedy)
    return rows[0]


def read_galaxy_params(step: Step, path: Path) -> dict[str, Any]:
    """Return the parameters that the form of a step's tool was filled in with.

    Data are left out, since the command names them.

    Parameters
    ----------
    step : Step
        The step.
    path : Path
        What ``<inputs name="params" data_style="paths"/>`` in the XML of a tool writes.

    Raises
    ------
    ConfigurationError
        If the file cannot be read, or holds what the step does not know.
    """
    from parfocal.engine.galaxy_differences import data_inputs
    from parfocal.engine.galaxy_form import form_of

    text = text_of_option(path, "--galaxy-params")
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        what = "This is not valid JSON"
        raise ConfigurationError(what, where=path, found=error) from error
    return _model(form_of(step), values, "the parameters", data_inputs(step))


def text_of_option(path: Path, option: str) -> str:
    """Return the text of a file that an option names.

    Raises
    ------
    ConfigurationError
        If it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        what = f"The file of {option} cannot be read"
        raise ConfigurationError(what, where=path, found=error) from error


def _model(
    parts: Iterable[Part], values: Any, place: str, known: Collection[str] = ()
) -> dict[str, Any]:
    """Return the fields of a model; one that is missing, or empty and may not be, has its default.

    Parameters
    ----------
    parts : iterable of Part
        The form of the model.
    values : mapping
        What Galaxy says.
    place : str
        Where it says that, for errors.
    known : collection of str
        Other keys that may be there, and are left out.
    """
    if not isinstance(values, Mapping):
        raise _unknown(place, values)
    named = {part.name: part for part in parts}
    strange = [name for name in values if name not in {*named, *known, *_OF_GALAXY}]
    if strange:
        raise _unknown(place, ", ".join(strange))
    found = {
        name: _value(part, values[name], name) for name, part in named.items() if name in values
    }
    return {name: value for name, value in found.items() if value is not _DEFAULT}


_DEFAULT = object()
"""Stands for a field that is to have its default."""


def _value(part: Part, value: Any, place: str) -> Any:
    from parfocal.engine import galaxy_parts as form

    match part:
        case form.Conditional():
            return _variant(part, value, place)
        case form.Section():
            return _model(part.parts, value, place)
        case form.Span():
            ends = _model(part.parts, value, place)
            both = [ends.get(end.name) for end in part.parts]
            return None if both == [None, None] else both
        case form.Repeat():
            return _several(part, value, place)
        case form.Choice():
            return _chosen(part, value)
        case form.Text():
            return _typed(part, value)
        case form.Number():
            return value if value is not None or part.optional else _DEFAULT
        case _:
            return _DEFAULT if value is None else value


def _variant(part: Conditional, value: Any, place: str) -> Any:
    chosen = value.get(part.switch) if isinstance(value, Mapping) else None
    for case in part.cases:
        if case.value == chosen:
            if case.empty:
                return None
            model = _model(case.parts, value, place, [part.switch])
            return {part.switch: chosen, **model} if part.tagged else model
    where = f"{place}.{part.switch}"
    raise _unknown(where, chosen)


def _several(part: Repeat, value: Any, place: str) -> Any:
    if not isinstance(value, list):
        raise _unknown(place, value)
    every = [_model(part.parts, one, f"{place}.{number}") for number, one in enumerate(value)]
    if part.each == "entry":
        return _mapping(every, place)
    if not every and part.optional:
        return None
    if part.each == "model":
        return every
    names = [one.name for one in part.parts]
    rows = [[one.get(name) for name in names] for one in every]
    return rows if part.each == "pair" else [row[0] for row in rows]


def _mapping(entries: Iterable[Mapping[str, Any]], place: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for entry in entries:
        key = entry.get("key", "")
        if key in found:
            what = "A key is given twice"
            raise ConfigurationError(what, where=place, found=repr(key))
        found[key] = entry.get("value")
    return found


def _chosen(part: Choice, value: Any) -> Any:
    meant = {str(option): option for option in part.options}
    if part.many:
        many = [] if value is None else value if isinstance(value, list) else [value]
        return [meant.get(one, one) for one in many]
    if value is None:
        return None if part.optional else _DEFAULT
    return meant.get(str(value), value)


def _typed(part: Text, value: Any) -> Any:
    if value is None or (value == "" and part.optional):
        return None if part.optional else _DEFAULT
    if part.index and isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    return value


def _unknown(place: str, found: object) -> ConfigurationError:
    what = "The form of the tool holds what this step does not know"
    return ConfigurationError(what, where=place, found=str(found), remedy=_REMEDY)
