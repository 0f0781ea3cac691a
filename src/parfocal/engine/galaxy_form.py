"""A step's parameters as the form of a Galaxy tool: what it asks for, and how that is nested.

Both the XML of a tool and the reader of what Galaxy hands over go by it, so that they agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from parfocal.core.step import Step

__all__ = [
    "DATASETS",
    "LEFT_OUT",
    "Case",
    "Choice",
    "Conditional",
    "Dataset",
    "Number",
    "Part",
    "Repeat",
    "Section",
    "Span",
    "Switch",
    "Text",
    "data_inputs",
    "form_of",
]

LEFT_OUT: Mapping[str, Mapping[str, str]] = {
    "segment-objects": {
        "model=stardist": "Its model is a folder, and a dataset of Galaxy is a file.",
    },
}
"""For each step the parameters that its tool does not ask for, and the variants of one that it does
not offer (``parameter=variant``), each with the reason."""

DATASETS: Mapping[str, Mapping[str, str]] = {
    "segment-objects": {"model.path": "onnx,zip,data"},
}
"""For each step the parameters that name a file, with Galaxy's formats of it: users of Galaxy
choose a dataset, and never a path on the server."""

_UNITS = {"px": "pixels", "um": "µm", "mib": "MiB", "s": "s"}
_SPELT = {"ngff": "NGFF", "url": "URL", "orcid": "ORCID", "iou": "IoU"}
_SCALARS = ("boolean", "integer", "number", "string")


@dataclass(frozen=True)
class Part:
    """Anything that a form asks for.

    Attributes
    ----------
    name : str
        As the step calls it.
    help : str
        What the model says of it, where *null* reads *empty*.
    """

    name: str
    help: str

    @property
    def label(self) -> str:
        """The name in words, with its unit."""
        *words, last = self.name.split("_")
        unit = _UNITS.get(last) if words else None
        spelt = [_SPELT.get(word, word) for word in (words if unit else [*words, last])]
        text = " ".join(spelt)
        return text[0].upper() + text[1:] + (f" ({unit})" if unit else "")


@dataclass(frozen=True)
class Switch(Part):
    """What is true or false."""

    default: bool


@dataclass(frozen=True)
class Number(Part):
    """A number; `above` and `below` are bounds that it may not reach itself."""

    whole: bool
    default: float | None
    optional: bool
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None


@dataclass(frozen=True)
class Text(Part):
    """A text; of an `index`, digits alone are a number."""

    default: str | None
    optional: bool
    shortest: int | None = None
    longest: int | None = None
    pattern: str | None = None
    index: bool = False


@dataclass(frozen=True)
class Choice(Part):
    """One of several values, or any of them where `many`; numbers come as texts from Galaxy."""

    options: tuple[str | int, ...]
    default: tuple[str | int, ...]
    optional: bool
    many: bool = False


@dataclass(frozen=True)
class Dataset(Part):
    """A dataset of the user's; the step is given its path."""

    formats: str


@dataclass(frozen=True)
class Section(Part):
    """Parameters that belong together: a model within the model."""

    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Span(Part):
    """From `parts[0]` up to `parts[1]`, both or neither of them given."""

    parts: tuple[Part, Part]


@dataclass(frozen=True)
class Repeat(Part):
    """As many as the user likes, each of `parts`.

    Attributes
    ----------
    each : {"value", "pair", "entry", "model"}
        What one of them is: a bare value, a pair, a key of a mapping with its value, or a model.
    optional : bool
        Whether none of them means null.
    """

    parts: tuple[Part, ...]
    each: Literal["value", "pair", "entry", "model"]
    least: int
    optional: bool


@dataclass(frozen=True)
class Case:
    """One choice of a `Conditional`, and what it asks for; the value is null where `empty`."""

    value: str
    text: str
    parts: tuple[Part, ...]
    empty: bool = False


@dataclass(frozen=True)
class Conditional(Part):
    """A choice between several models, or between one and none.

    Attributes
    ----------
    switch : str
        The select by which the user chooses.
    default : str
        The value that is chosen at first.
    tagged : bool
        Whether the switch is a field of the models too.
    """

    switch: str
    cases: tuple[Case, ...]
    default: str
    tagged: bool


def data_inputs(step: Step) -> dict[str, bool]:
    """Return the datasets that the tool of a step asks for, and whether it needs each.

    They are the inputs of the step. But Galaxy has no results folder: in its place a tool takes
    records and data, of which ``collect-results`` makes one, and a sample sheet where none is
    given.
    """
    given: dict[str, bool] = {}
    collected = any(port.path == "." for port in step.inputs)
    for port in step.inputs:
        if port.path == ".":
            given |= {"records": True, "data": False}
        else:
            given[port.name] = port.required and not (collected and port.kind == "sheet")
    return given


def form_of(step: Step) -> tuple[Part, ...]:
    """Return what the tool of a step asks for besides data, in the order of the model.

    Raises
    ------
    TypeError
        If there is a parameter that no form is known for.
    """
    schema = step.params.model_json_schema()
    return tuple(_Form(step.name, schema.get("$defs", {})).parts(schema))


class _Form:
    """Makes parts of the JSON Schema of a model.

    Parameters
    ----------
    step : str
        Name of the step.
    models : mapping of str to dict
        The schemas of the models within the model.
    """

    def __init__(self, step: str, models: Mapping[str, dict[str, Any]]) -> None:
        self._models = models
        self._left_out = LEFT_OUT.get(step, {})
        self._datasets = DATASETS.get(step, {})

    def parts(
        self,
        model: Mapping[str, Any],
        inside: str = "",
        defaults: Mapping[str, Any] | None = None,
        without: str | None = None,
    ) -> Iterator[Part]:
        """Yield the parts of a model.

        Parameters
        ----------
        model : mapping
            Its schema.
        inside : str
            The dotted name of the field that it is the value of, with a dot behind.
        defaults : mapping, optional
            Defaults that come before its own.
        without : str, optional
            A field to pass over.
        """
        for name, field in model.get("properties", {}).items():
            if name == without or inside + name in self._left_out:
                continue
            if defaults and name in defaults:
                field = field | {"default": defaults[name]}  # noqa: PLW2901
            yield self._part(name, inside + name, field)

    def _part(self, name: str, place: str, field: Mapping[str, Any]) -> Part:
        kinds = [kind for kind in field.get("anyOf", [field]) if kind.get("type") != "null"]
        optional = len(kinds) < len(field.get("anyOf", [field]))
        text = _help(field)
        if place in self._datasets:
            return Dataset(name, text, self._datasets[place])
        if {kind.get("type") for kind in kinds} == {"integer", "string"}:
            default = field.get("default")
            return Text(name, text, None if default is None else str(default), optional, index=True)
        if len(kinds) > 1:
            raise _unknown(place, field)
        kind = kinds[0]
        if "enum" in kind or kind.get("type") in _SCALARS:
            return _scalar(name, text, kind, field.get("default"), optional=optional)
        if "oneOf" in kind:
            return self._variants(name, place, field, kind, optional=optional)
        if "$ref" in kind:
            return self._nested(name, place, field, kind, optional=optional)
        return self._several(name, place, text, kind, field, optional=optional)

    def _variants(
        self,
        name: str,
        place: str,
        field: Mapping[str, Any],
        kind: Mapping[str, Any],
        *,
        optional: bool,
    ) -> Conditional:
        switch = kind["discriminator"]["propertyName"]
        default = field.get("default")
        chosen = default.get(switch) if default else None
        helps, cases = [_help(field)], []
        for member in kind["oneOf"]:
            model = self._model(member["$ref"])
            told = model["properties"][switch]
            helps.append(_help(told))
            summary = model["description"].partition("\n")[0].rstrip(".")
            values = told.get("enum", [told.get("const")])
            for value in values:
                if f"{place}={value}" in self._left_out:
                    continue
                defaults = default if value == chosen else None
                parts = tuple(self.parts(model, f"{place}.", defaults, switch))
                text = summary if len(values) == 1 else f"{summary} ({value})"
                cases.append(Case(value, text, parts))
        if optional and "none" not in [case.value for case in cases]:
            cases.insert(0, Case("none", "None", (), empty=True))
        text = " ".join(filter(None, dict.fromkeys(helps)))
        return Conditional(name, text, switch, tuple(cases), chosen or cases[0].value, tagged=True)

    def _nested(
        self,
        name: str,
        place: str,
        field: Mapping[str, Any],
        kind: Mapping[str, Any],
        *,
        optional: bool,
    ) -> Section | Conditional:
        default = field.get("default")
        parts = tuple(self.parts(self._model(kind["$ref"]), f"{place}.", default))
        if not optional:
            return Section(name, _help(field), parts)
        cases = (Case("none", "None", (), empty=True), Case("given", "As follows", parts))
        chosen = "given" if default else "none"
        return Conditional(name, _help(field), "choice", cases, chosen, tagged=False)

    def _several(
        self,
        name: str,
        place: str,
        text: str,
        kind: Mapping[str, Any],
        field: Mapping[str, Any],
        *,
        optional: bool,
    ) -> Part:
        default, items = field.get("default"), kind.get("items")
        if "prefixItems" in kind:
            first, last = (
                _scalar(part, "", item, None, optional=True)
                for part, item in zip(("start", "stop"), kind["prefixItems"], strict=True)
            )
            return Span(name, text, (first, last))
        if items and "enum" in items:
            options, chosen = tuple(items["enum"]), tuple(default or ())
            return Choice(name, text, options, chosen, optional=True, many=True)
        if default:
            raise _unknown(place, field)
        least = 0 if optional else kind.get("minItems", 0)
        if isinstance(entry := kind.get("additionalProperties"), Mapping):
            key = Text("key", "", None, optional=False)
            entries = (key, self._part("value", place, entry))
            return Repeat(name, text, entries, "entry", least, optional)
        if not items:
            raise _unknown(place, field)
        if "$ref" in items:
            parts = tuple(self.parts(self._model(items["$ref"]), f"{place}."))
            return Repeat(name, text, parts, "model", least, optional)
        if "prefixItems" in items:
            pair = zip(("key", "value"), items["prefixItems"], strict=True)
            parts = tuple(self._part(part, place, item) for part, item in pair)
            return Repeat(name, text, parts, "pair", least, optional)
        value = self._part("value", place, items)
        return Repeat(name, text, (value,), "value", least, optional)

    def _model(self, reference: str) -> dict[str, Any]:
        return self._models[reference.rpartition("/")[2]]


def _scalar(name: str, text: str, kind: Mapping[str, Any], default: Any, *, optional: bool) -> Part:
    if "enum" in kind:
        chosen = () if default is None else (default,)
        return Choice(name, text, tuple(kind["enum"]), chosen, optional)
    if kind["type"] == "boolean" and not optional:
        return Switch(name, text, bool(default))
    if kind["type"] == "string":
        lengths = kind.get("minLength"), kind.get("maxLength")
        return Text(name, text, default, optional, *lengths, pattern=kind.get("pattern"))
    if kind["type"] not in ("integer", "number"):
        raise _unknown(name, kind)
    return Number(
        name,
        text,
        kind["type"] == "integer",
        default,
        optional,
        least=kind.get("minimum"),
        most=kind.get("maximum"),
        above=kind.get("exclusiveMinimum"),
        below=kind.get("exclusiveMaximum"),
    )


def _help(field: Mapping[str, Any]) -> str:
    words = str(field.get("description", "")).split(" ")
    return " ".join("empty" if word == "null" else word for word in words)


def _unknown(place: str, field: Mapping[str, Any]) -> TypeError:
    msg = f"no form is known for {place}: {field}"
    return TypeError(msg)
