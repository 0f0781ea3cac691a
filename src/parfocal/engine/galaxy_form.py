"""A step's parameters as the form of a Galaxy tool: what it asks for, and how that is nested.

Both the XML of a tool and the reader of what Galaxy hands over go by it, so that they agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from parfocal.core.step import Step
from parfocal.engine.galaxy_differences import DATASETS, LEFT_OUT, SAID
from parfocal.engine.galaxy_parts import (
    Case,
    Choice,
    Conditional,
    Dataset,
    Each,
    Number,
    Part,
    Repeat,
    Section,
    Span,
    Switch,
    Text,
)

__all__ = ["form_of"]

_SCALARS = ("boolean", "integer", "number", "string")
_NONE = Case("none", "None", (), empty=True)
_Parts = tuple[Part, ...]


@dataclass(frozen=True)
class _Field:
    """A field of a model: `kind` is its schema where it is not null."""

    name: str
    place: str
    text: str
    kind: Mapping[str, Any]
    default: Any
    optional: bool


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
        self._said = SAID.get(step, {})

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
            if inside + name in self._said:
                field = field | {"description": self._said[inside + name]}  # noqa: PLW2901
            yield self._part(name, inside + name, field)

    def _part(self, name: str, place: str, field: Mapping[str, Any]) -> Part:
        kinds = [kind for kind in field.get("anyOf", [field]) if kind.get("type") != "null"]
        optional = len(kinds) < len(field.get("anyOf", [field]))
        text = _help(field)
        default = field.get("default")
        if place in self._datasets:
            return Dataset(name, text, self._datasets[place])
        if {kind.get("type") for kind in kinds} == {"integer", "string"}:
            return Text(name, text, None if default is None else str(default), optional, index=True)
        if len(kinds) > 1:
            raise _unknown(place, field)
        one = _Field(name, place, text, kinds[0], default, optional)
        if "enum" in one.kind or one.kind.get("type") in _SCALARS:
            return _scalar(one)
        if "oneOf" in one.kind:
            return self._variants(one)
        if "$ref" in one.kind:
            return self._nested(one)
        return self._several(one)

    def _variants(self, one: _Field) -> Conditional:
        switch = one.kind["discriminator"]["propertyName"]
        chosen = one.default.get(switch) if one.default else None
        helps, cases = [one.text], []
        for member in one.kind["oneOf"]:
            model = self._model(member["$ref"])
            told = model["properties"][switch]
            helps.append(_help(told))
            summary = model["description"].partition("\n")[0].rstrip(".")
            values = told.get("enum", [told.get("const")])
            for value in values:
                if f"{one.place}={value}" in self._left_out:
                    continue
                defaults = one.default if value == chosen else None
                parts = tuple(self.parts(model, f"{one.place}.", defaults, switch))
                text = summary if len(values) == 1 else f"{summary} ({value})"
                cases.append(Case(value, text, parts))
        if one.optional and _NONE.value not in [case.value for case in cases]:
            cases.insert(0, _NONE)
        text = " ".join(filter(None, dict.fromkeys(helps)))
        first = chosen or cases[0].value
        return Conditional(one.name, text, switch, tuple(cases), first, tagged=True)

    def _nested(self, one: _Field) -> Section | Conditional:
        parts = tuple(self.parts(self._model(one.kind["$ref"]), f"{one.place}.", one.default))
        if not one.optional:
            return Section(one.name, one.text, parts)
        cases = (_NONE, Case("given", "As follows", parts))
        chosen = "given" if one.default else _NONE.value
        return Conditional(one.name, one.text, "choice", cases, chosen, tagged=False)

    def _several(self, one: _Field) -> Part:
        items = one.kind.get("items")
        if "prefixItems" in one.kind:
            first, last = (
                _scalar(_Field(part, one.place, "", item, None, optional=True))
                for part, item in zip(("start", "stop"), one.kind["prefixItems"], strict=True)
            )
            return Span(one.name, one.text, (first, last))
        if items and "enum" in items:
            options, chosen = tuple(items["enum"]), tuple(one.default or ())
            return Choice(one.name, one.text, options, chosen, optional=True, many=True)
        if one.default:
            raise _unknown(one.place, one.kind)
        least = 0 if one.optional else one.kind.get("minItems", 0)
        parts, each = self._repeated(one, items)
        return Repeat(one.name, one.text, parts, each, least, one.optional)

    def _repeated(self, one: _Field, items: Mapping[str, Any] | None) -> tuple[_Parts, Each]:
        """Return what there are several of."""
        if isinstance(entry := one.kind.get("additionalProperties"), Mapping):
            key = Text("key", "", None, optional=False)
            return (key, self._part("value", one.place, entry)), "entry"
        if not items:
            raise _unknown(one.place, one.kind)
        if "$ref" in items:
            return tuple(self.parts(self._model(items["$ref"]), f"{one.place}.")), "model"
        if "prefixItems" in items:
            pair = zip(("key", "value"), items["prefixItems"], strict=True)
            return tuple(self._part(part, one.place, item) for part, item in pair), "pair"
        return (self._part("value", one.place, items),), "value"

    def _model(self, reference: str) -> dict[str, Any]:
        return self._models[reference.rpartition("/")[2]]


def _scalar(one: _Field) -> Part:
    kind = one.kind
    if "enum" in kind:
        chosen = () if one.default is None else (one.default,)
        return Choice(one.name, one.text, tuple(kind["enum"]), chosen, one.optional)
    if kind["type"] == "boolean" and not one.optional:
        return Switch(one.name, one.text, bool(one.default))
    if kind["type"] == "string":
        lengths = kind.get("minLength"), kind.get("maxLength")
        pattern = kind.get("pattern")
        return Text(one.name, one.text, one.default, one.optional, *lengths, pattern=pattern)
    if kind["type"] not in ("integer", "number"):
        raise _unknown(one.place, kind)
    return Number(
        one.name,
        one.text,
        kind["type"] == "integer",
        one.default,
        one.optional,
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
