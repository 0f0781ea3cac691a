"""Write docs/reference/steps.md from the steps themselves: ``python docs/make_reference.py``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from parfocal.core.step import Step
from parfocal.engine.schema import step_schema
from parfocal.steps import STEPS

PAGE = Path(__file__).parent / "reference" / "steps.md"


def page() -> str:
    """Return the whole page."""
    head = (
        "# Steps\n\nMade from the code by `python docs/make_reference.py`; do not edit.\n"
        "`parfocal schema STEP` gives the same as JSON Schema.\n"
    )
    return head + "".join(_section(step) for step in STEPS)


def _section(step: Step) -> str:
    schema = step_schema(step)
    exact = "exact: the same bytes always"
    if not step.exactness.is_exact:
        exact = f"numeric: equal within {step.exactness.tolerance:g}"
    lines = ["", f"## {step.name}", "", f"{step.summary}. Version {step.version}, {exact}.", ""]
    lines += ["| | name | kind | path in a results folder | |", "|---|---|---|---|---|"]
    for title, ports in (("input", step.inputs), ("output", step.outputs)):
        for port in ports:
            optional = "" if port.required else " (optional)"
            path = f"`{port.path}`"
            lines.append(
                f"| {title} | `{port.name}` | {port.kind} | {path} | {port.help}{optional} |"
            )
    lines += _fields("Parameters", schema)
    for name, part in schema.get("$defs", {}).items():
        if part.get("type") == "object":
            lines += _fields(f"`{name}`", part)
    return "\n".join(lines) + "\n"


def _fields(title: str, schema: dict[str, Any]) -> list[str]:
    rows = schema.get("properties", {})
    if not rows:
        return []
    lines = ["", f"{title}:", "", "| name | type | default | |", "|---|---|---|---|"]
    required = schema.get("required", [])
    for name, field in rows.items():
        default = "required" if name in required else f"`{json.dumps(field.get('default'))}`"
        text = field.get("description", "").replace("|", "\\|")
        lines.append(f"| `{name}` | {_type(field)} | {default} | {text} |")
    return lines


def _type(field: dict[str, Any]) -> str:
    if "const" in field:
        return f"`{json.dumps(field['const'])}`"
    if "enum" in field:
        return ", ".join(f"`{json.dumps(value)}`" for value in field["enum"])
    if "$ref" in field:
        return f"`{field['$ref'].rpartition('/')[2]}`"
    for key in ("anyOf", "oneOf"):
        if key in field:
            return " or ".join(_type(part) for part in field[key])
    if field.get("type") == "array":
        inner = field.get("items", {})
        return f"list of {_type(inner)}" if inner else "list"
    bounds = [
        f"{sign} {field[key]:g}"
        for key, sign in (
            ("minimum", "≥"),
            ("exclusiveMinimum", ">"),
            ("maximum", "≤"),
            ("exclusiveMaximum", "<"),
        )
        if key in field
    ]
    return " ".join([str(field.get("type", "any")), ", ".join(bounds)]).strip()


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
