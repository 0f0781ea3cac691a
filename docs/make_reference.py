"""Write what follows from the code itself: pages of docs/reference, and forms for Galaxy.

``python docs/make_reference.py``
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from parfocal.core.step import Step
from parfocal.engine.galaxy_workflow import with_states
from parfocal.engine.galaxy_xml import parameters_macro
from parfocal.engine.schema import step_schema
from parfocal.images.readers.registry import BIO_FORMATS, FORMATS, OME_ZARR, Format
from parfocal.steps import STEPS

REFERENCE = Path(__file__).parent / "reference"
TOOLS = Path(__file__).parents[1] / "galaxy_tools"
WORKFLOWS = Path(__file__).parents[1] / "workflows"
_PROVERS = {"pillow": "Pillow (MIT-CMU)", "zarr_python": "zarr-python (MIT)"}


def pages() -> dict[Path, str]:
    """Return the text of each page, and of what follows from the steps in Galaxy.

    That is the parameters of each tool, and the state of each step of a workflow.
    """
    made = {REFERENCE / "steps.md": _steps(), REFERENCE / "formats.md": _formats()}
    for step in STEPS:
        if (TOOLS / step.folder).is_dir():
            made[TOOLS / step.folder / "parameters.xml"] = parameters_macro(step)
    for workflow in sorted(WORKFLOWS.glob("*/*.gxwf.yml")):
        made[workflow] = with_states(workflow.read_text(encoding="utf-8"))
    return made


def _formats() -> str:
    head = """# Formats that are read

Made from the code by `python docs/make_reference.py`; do not edit.

A file is known by its first bytes, then by the end of its name. The extra of a row brings its
library: `pip install 'parfocal[nd2]'`; `parfocal[formats]` brings all but the last row's. The
licence is that of the library, which is a work of its own: Parfocal's is BSD-3-Clause. *Proven by*
names the libraries that can read the source again to prove a conversion, the best first; without
one a certificate says `self-consistent`.

| format | names end with | extra | library (licence) | proven by |
|---|---|---|---|---|
"""
    tail = """
`parfocal[bioformats]` is JPype (Apache-2.0), the bridge to Java; the jar and Java come apart:
[How to read other formats with Bio-Formats](../howto/bio-formats.md).
Where the extra of a format is not installed and Bio-Formats is, it reads the format and warns.

## OME-Zarr in a zip file

Where a step takes an image, it also takes a zip file of one OME-Zarr, at the root of the zip file
or in one folder of it: `.ome.zarr.zip`, `.ozx`, or what Galaxy calls `dataset_12.dat`, since the
content decides and not the name. The step unpacks it into its scratch folder first, where the disk
has room for it. Zip files with absolute paths, `..`, links, passwords or several OME-Zarrs are
refused. The record names the zip file and gives the digest of the OME-Zarr in it: packed or not, an
image has the same digest and the same results.

The command for one image also takes a folder that holds one OME-Zarr and is none itself, since that
is how Galaxy keeps it.

## Several files in a zip file

`convert-image`, `verify-image` and the fields of `correct-illumination` also take a zip file of one
image of any other format with the files that belong to it, such as a `.mrxs` slide and its folder,
or an OME-TIFF in several files. The file to open is the one that stands for the others. A zip file
of several images is refused; the error lists them. Here the digest in the record is that of the zip
file.

In Galaxy (`PARFOCAL_ENGINE=galaxy`) an image that names other files, as OME-TIFFs and links of HDF5
do, is read only if they came in the same zip file: others on the server are those of other users.
"""
    named = [one for one in FORMATS if one.suffixes]  # the others are second readers only
    every = (OME_ZARR, *named, BIO_FORMATS)
    return head + "".join(_format_row(one) for one in every) + tail


def _format_row(one: Format) -> str:
    libraries = _PROVERS | {known.module: known.library for known in (*FORMATS, BIO_FORMATS)}
    names = ", ".join(f"`{end}`" for end in one.suffixes) or "any other"
    names = "a folder" if one is OME_ZARR else names
    second = ", ".join(libraries[name] for name in one.second) or "no other"
    extra = f"`{one.extra}`" if one.extra else ""
    return f"| {one.name} | {names} | {extra} | {one.library} | {second} |\n"


def _steps() -> str:
    head = (
        "# Steps\n\nMade from the code by `python docs/make_reference.py`; do not edit.\n"
        "`parfocal schema STEP` gives the same as JSON Schema.\n"
    )
    return head + "".join(_section(step) for step in STEPS)


def _section(step: Step) -> str:
    schema = step_schema(step)
    exact = "exact: the same bytes always"
    if not step.exactness.is_exact:
        tolerance = f"numeric within {step.exactness.tolerance:g}"
        page = "../explanation/contracts.md#exactness"
        exact += f", unless {step.exactness.unless}: then [{tolerance}]({page})"
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
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
