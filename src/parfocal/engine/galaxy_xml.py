"""The form of a step's tool as a macro of Galaxy."""

from __future__ import annotations

from collections.abc import Iterable
from functools import singledispatch
from xml.etree import ElementTree as ET

from parfocal.core.step import Step
from parfocal.engine.galaxy_form import form_of
from parfocal.engine.galaxy_parts import (
    Choice,
    Conditional,
    Dataset,
    Number,
    Part,
    Repeat,
    Section,
    Span,
    Switch,
    Text,
)

__all__ = ["parameters_macro"]

_HEAD = "<!-- Made from the code by `python docs/make_reference.py`; do not edit. -->\n"


def parameters_macro(step: Step) -> str:
    """Return the file ``parameters.xml`` of a step's tool.

    Returns
    -------
    str
        Macros of Galaxy, of which ``parameters`` holds all parameters of the step in their order.

    Raises
    ------
    TypeError
        If there is a parameter that no form is known for.
    """
    macros = ET.Element("macros")
    _add_all(ET.SubElement(macros, "xml", name="parameters"), form_of(step))
    ET.indent(macros, "    ")
    return _HEAD + ET.tostring(macros, encoding="unicode") + "\n"


def _add_all(parent: ET.Element, parts: Iterable[Part]) -> None:
    for part in parts:
        _add(part, parent)


@singledispatch
def _add(part: Part, parent: ET.Element) -> None:
    """Add a part to the XML."""
    msg = f"{type(part).__name__} in {parent.tag}"
    raise TypeError(msg)


def _param(parent: ET.Element, part: Part, kind: str, **attributes: str | None) -> ET.Element:
    told = {"name": part.name, "type": kind, **attributes, "label": part.label}
    told["help"] = part.help or None
    known = {name: value for name, value in told.items() if value is not None}
    return ET.SubElement(parent, "param", known)


@_add.register
def _(part: Switch, parent: ET.Element) -> None:
    _param(parent, part, "boolean", checked=_word(part.default))


@_add.register
def _(part: Number, parent: ET.Element) -> None:
    least = part.least if part.above is None else part.above
    most = part.most if part.below is None else part.below
    write = _whole if part.whole else _number
    param = _param(
        parent,
        part,
        "integer" if part.whole else "float",
        value="" if part.default is None else write(part.default),
        min=None if least is None else write(least),
        max=None if most is None else write(most),
        optional="true" if part.optional else None,
    )
    # Bounds of Galaxy's own belong to the range.
    if part.above is not None:
        ET.SubElement(
            param, "validator", type="in_range", min=write(part.above), exclude_min="true"
        )
    if part.below is not None:
        ET.SubElement(
            param, "validator", type="in_range", max=write(part.below), exclude_max="true"
        )


@_add.register
def _(part: Text, parent: ET.Element) -> None:
    optional = _word(part.optional)
    param = _param(parent, part, "text", value=part.default, optional=optional)
    # It goes into a file and never to a shell: let it be what the user typed.
    ET.SubElement(param, "sanitizer", sanitize="false")
    bounds = {"min": part.shortest, "max": part.longest}
    lengths = {name: str(bound) for name, bound in bounds.items() if bound is not None}
    if lengths:
        ET.SubElement(param, "validator", {"type": "length"} | lengths)
    if part.pattern is not None:
        ET.SubElement(param, "validator", type="regex").text = part.pattern


@_add.register
def _(part: Choice, parent: ET.Element) -> None:
    many = "true" if part.many else None
    optional = "true" if part.optional else None
    param = _param(parent, part, "select", multiple=many, optional=optional)
    for option in part.options:
        _option(param, str(option), str(option), chosen=option in part.default)


def _option(param: ET.Element, value: str, text: str, *, chosen: bool) -> None:
    attributes = {"value": value} | ({"selected": "true"} if chosen else {})
    ET.SubElement(param, "option", attributes).text = text


@_add.register
def _(part: Dataset, parent: ET.Element) -> None:
    _param(parent, part, "data", format=part.formats)


def _group(parent: ET.Element, kind: str, part: Part, **attributes: str) -> ET.Element:
    told = {"name": part.name, "title": part.label, **attributes, "help": part.help}
    return ET.SubElement(parent, kind, told)


@_add.register(Section)
@_add.register(Span)
def _(part: Section | Span, parent: ET.Element) -> None:
    _add_all(_group(parent, "section", part, expanded="false"), part.parts)


@_add.register
def _(part: Repeat, parent: ET.Element) -> None:
    least = str(part.least)
    _add_all(_group(parent, "repeat", part, min=least, default=least), part.parts)


@_add.register
def _(part: Conditional, parent: ET.Element) -> None:
    conditional = ET.SubElement(parent, "conditional", name=part.name)
    told = {"name": part.switch, "type": "select", "label": part.label, "help": part.help}
    switch = ET.SubElement(conditional, "param", told)
    for case in part.cases:
        _option(switch, case.value, case.text, chosen=case.value == part.default)
    for case in part.cases:
        _add_all(ET.SubElement(conditional, "when", value=case.value), case.parts)


def _word(flag: bool) -> str:
    return "true" if flag else "false"


def _whole(value: float) -> str:
    return str(int(value))


def _number(value: float) -> str:
    return repr(float(value))
