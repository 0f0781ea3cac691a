"""In what the form of a tool for Galaxy differs from its step.

The form is read by Galaxy's own library and compared with the step's JSON Schema.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from galaxy.tool_util.loader import load_tool
from galaxy.tool_util.parameters import input_models_for_tool_source
from galaxy.tool_util.parser import get_tool_source
from lxml import etree

from parfocal.core.step import Step
from parfocal.engine.galaxy_differences import DATASETS, LEFT_OUT, SAID, data_inputs

__all__ = ["differences", "expanded"]

UNITS = {"px": "(pixels)", "um": "(µm)", "mib": "(MiB)", "s": "(s)"}


def expanded(path: Path) -> ET.Element:
    """Return the XML of a tool with its macros expanded."""
    return ET.fromstring(etree.tostring(load_tool(str(path)).getroot(), encoding="unicode"))


class Comparison:
    """Collects in what the form of a tool differs from the schema of its step."""

    def __init__(self, step: str, definitions: dict[str, Any]) -> None:
        self.step = step
        self.definitions = definitions
        self.found: list[str] = []

    def expect(self, place: str, what: str, found: Any, expected: Any) -> None:
        if found != expected:
            self.found.append(f"{place}: {what} is {found!r}, and {expected!r} in the step")

    def model(self, model: Any, xml: ET.Element, params: Sequence[Any], inside: str = "") -> None:
        """Compare the fields of a model with parameters, in their order."""
        left = LEFT_OUT.get(self.step, {})
        fields = {name: field for name, field in model.items() if inside + name not in left}
        self.expect(inside or "form", "its list", [p.name for p in params], list(fields))
        for param in params:
            if param.name in fields:
                (element,) = [e for e in xml if e.get("name") == param.name]
                self.field(inside + param.name, fields[param.name], element, param)

    def field(self, place: str, field: Any, xml: ET.Element, param: Any) -> None:
        kinds = [k for k in field.get("anyOf", [field]) if k.get("type") != "null"]
        nullable = len(kinds) < len(field.get("anyOf", [field]))
        kind = param.parameter_type.removeprefix("gx_")
        if kind != "conditional":
            self.words(place, field, xml)
        if place in DATASETS.get(self.step, {}):
            self.expect(place, "its type", kind, "data")
            return
        compare = getattr(self, f"_{kind}")
        compare(place, field | {"kinds": kinds, "nullable": nullable}, xml, param)

    def words(self, place: str, field: Any, xml: ET.Element) -> None:
        """Compare label and help with name and description."""
        label = xml.get("label") or xml.get("title") or ""
        *words, last = place.rpartition(".")[2].split("_")
        spoken = [*words, UNITS[last]] if words and last in UNITS else [*words, last]
        self.expect(place, "its label", label.lower(), " ".join(spoken).lower())
        self.expect(place, "the label's first letter", label[:1], label[:1].upper())
        told = re.sub(r"\bnull\b", "empty", field.get("description", ""))
        told = SAID.get(self.step, {}).get(place, told)
        self.expect(place, "its help", xml.get("help") or "", told)

    def _boolean(self, place: str, field: Any, _xml: ET.Element, param: Any) -> None:
        self.expect(place, "its type", ["boolean"], [k.get("type") for k in field["kinds"]])
        self.expect(place, "its default", param.value, field["default"])
        self.expect(place, "optional", param.optional, field["nullable"])

    def _integer(self, place: str, field: Any, _xml: ET.Element, param: Any) -> None:
        self.number(place, "integer", field, param)

    def _float(self, place: str, field: Any, _xml: ET.Element, param: Any) -> None:
        self.number(place, "number", field, param)

    def number(self, place: str, kind: str, field: Any, param: Any) -> None:
        (one,) = field["kinds"]
        self.expect(place, "its type", kind, one.get("type"))
        self.expect(place, "its default", param.value, field.get("default"))
        self.expect(place, "optional", param.optional, field["nullable"])
        for end, inclusive, exclusive in (
            ("min", "minimum", "exclusiveMinimum"),
            ("max", "maximum", "exclusiveMaximum"),
        ):
            bound = one.get(inclusive, one.get(exclusive))
            self.expect(place, f"its {end}", getattr(param, end), bound)
            barred = [getattr(v, end) for v in param.validators if getattr(v, f"exclude_{end}")]
            expected = [one[exclusive]] if exclusive in one else []
            self.expect(place, f"its excluded {end}", barred, expected)

    def _text(self, place: str, field: Any, xml: ET.Element, param: Any) -> None:
        types = sorted(k.get("type") for k in field["kinds"])
        self.expect(place, "its type", types in (["string"], ["integer", "string"]), True)
        default = field.get("default")
        text = None if default is None else str(default)
        self.expect(place, "its default", xml.get("value"), text)
        self.expect(place, "optional", param.optional, field["nullable"])
        sanitizer = xml.find("sanitizer")
        off = sanitizer is not None and sanitizer.get("sanitize")
        self.expect(place, "its sanitizer", off, "false")
        one = field["kinds"][-1]
        rules = {v.type: v for v in param.validators}
        lengths = rules.pop("length", None)
        bounds = (lengths.min, lengths.max) if lengths else (None, None)
        self.expect(place, "its length", bounds, (one.get("minLength"), one.get("maxLength")))
        pattern = rules.pop("regex", None)
        self.expect(place, "its pattern", pattern and pattern.expression, one.get("pattern"))
        self.expect(place, "more validators", rules, {})

    def _select(self, place: str, field: Any, _xml: ET.Element, param: Any) -> None:
        (one,) = field["kinds"]
        many = one.get("type") == "array"
        values = one["items"]["enum"] if many else one["enum"]
        options = [option.value for option in param.options]
        self.expect(place, "its options", options, [str(value) for value in values])
        default = field.get("default")
        chosen = [] if default is None else default if many else [default]
        selected = [o.value for o in param.options if o.selected]
        self.expect(place, "its default", selected, [str(value) for value in chosen])
        self.expect(place, "multiple", param.multiple, many)
        self.expect(place, "optional", param.optional, field["nullable"] or many)

    def _section(self, place: str, field: Any, xml: ET.Element, param: Any) -> None:
        (one,) = field["kinds"]
        if "prefixItems" in one:
            ends = [(p.name, p.parameter_type, p.optional) for p in param.parameters]
            expected = [("start", "gx_integer", True), ("stop", "gx_integer", True)]
            self.expect(place, "its ends", ends, expected)
            return
        members = self.members(one["$ref"], field.get("default"))
        self.model(members, xml, param.parameters, f"{place}.")

    def _repeat(self, place: str, field: Any, xml: ET.Element, param: Any) -> None:
        (one,) = field["kinds"]
        self.expect(place, "its default", field.get("default") or [], [])
        least = 0 if field["nullable"] else one.get("minItems", 0)
        self.expect(place, "its min", param.min, least)
        items = one.get("items", {})
        if "$ref" in items:
            self.model(self.members(items["$ref"], None), xml, param.parameters, f"{place}.")
            return
        if "prefixItems" in items:
            parts = dict(zip(("key", "value"), items["prefixItems"], strict=True))
        elif one.get("type") == "object":
            parts = {"key": {"type": "string"}, "value": one["additionalProperties"]}
        else:
            parts = {"value": items}
        self.model(parts, xml, param.parameters, f"{place}.")

    def _conditional(self, place: str, field: Any, xml: ET.Element, param: Any) -> None:
        (one,) = field["kinds"]
        switch = xml.find("param")
        assert switch is not None
        default = field.get("default")
        if "$ref" in one:
            cases, chosen = {"none": {}, "given": self.members(one["$ref"], default)}, "given"
            told, tag = [], "choice"
        else:
            tag, mapping = one["discriminator"]["propertyName"], self.variants(one)
            chosen = (default or {}).get(tag)
            cases = {"none": {}} if field["nullable"] and "none" not in mapping else {}
            told = []
            for value, reference in mapping.items():
                if f"{place}={value}" in LEFT_OUT.get(self.step, {}):
                    continue
                members = self.members(reference, default if value == chosen else None)
                told.append(members.pop(tag).get("description", ""))
                cases[value] = members
        helps = dict.fromkeys([field.get("description", ""), *told])
        words = {**field, "description": " ".join(filter(None, helps))}
        self.words(place, words, switch)
        self.expect(place, "its switch", param.test_parameter.name, tag)
        options = param.test_parameter.options
        self.expect(place, "its options", [o.value for o in options], list(cases))
        for option in options:
            summary = self.summaries(one).get(option.value, option.label)
            self.expect(place, f"the text of {option.value}", option.label, summary)
        selected = [o.value for o in options if o.selected]
        self.expect(place, "its default", selected, [chosen if default else next(iter(cases))])
        whens = {when.discriminator: when.parameters for when in param.whens}
        self.expect(place, "its cases", list(whens), list(cases))
        for when in xml.findall("when"):
            value = when.get("value")
            if value in cases and value in whens:
                self.model(cases[value], when, whens[value], f"{place}.")

    def variants(self, union: Any) -> dict[str, str]:
        """Return the references of the variants of a union, in the order of the model."""
        mapping = union.get("discriminator", {}).get("mapping", {})
        order = [member["$ref"] for member in union.get("oneOf", [])]
        places = {
            value: (order.index(reference), self.place(reference, value, union))
            for value, reference in mapping.items()
        }
        return {value: mapping[value] for value in sorted(mapping, key=places.__getitem__)}

    def place(self, reference: str, value: str, union: Any) -> int:
        tag = union["discriminator"]["propertyName"]
        told = self.definitions[reference.rpartition("/")[2]]["properties"][tag]
        return list(told.get("enum", [value])).index(value)

    def summaries(self, union: Any) -> dict[str, str]:
        """Return the first line about each variant; of one of several names with the name."""
        mapping = self.variants(union)
        found = {}
        for value, reference in mapping.items():
            model = self.definitions[reference.rpartition("/")[2]]
            line = model["description"].splitlines()[0].rstrip(".")
            others = [other for other in mapping.values() if other == reference]
            found[value] = line if len(others) == 1 else f"{line} ({value})"
        return found

    def members(self, reference: str, default: dict[str, Any] | None) -> dict[str, Any]:
        fields = self.definitions[reference.rpartition("/")[2]].get("properties", {})
        return {
            name: field | ({"default": default[name]} if default and name in default else {})
            for name, field in fields.items()
        }


def differences(path: Path, step: Step, schema: dict[str, Any]) -> list[str]:
    """Return in what the form of a tool differs from a schema."""
    source = get_tool_source(str(path))
    data = data_inputs(step)
    params = [p for p in input_models_for_tool_source(source).parameters if p.name not in data]
    inputs = expanded(path).find("inputs")
    assert inputs is not None
    comparison = Comparison(step.name, schema.get("$defs", {}))
    comparison.model(schema["properties"], inputs, params)
    return comparison.found
