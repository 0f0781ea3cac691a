"""Every tool for Galaxy agrees with its step, and says what a tool has to say."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from galaxy.tool_util.parser import get_tool_source
from galaxy.tool_util.parser.stdio import StdioErrorLevel

import parfocal
from galaxy_forms import differences, expanded
from galaxy_samples import sample_files
from parfocal.core.step import Step
from parfocal.engine.galaxy_differences import SAID, data_inputs, data_outputs
from parfocal.engine.galaxy_xml import parameters_macro
from parfocal.engine.schema import step_schema
from parfocal.steps import STEPS

FATAL, FATAL_OOM = StdioErrorLevel.FATAL, StdioErrorLevel.FATAL_OOM
ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "galaxy_tools"
BY_FOLDER = {step.folder: step for step in STEPS}
NAMES = sorted(path.name for path in TOOLS.iterdir() if path.is_dir() and path.name != "macros")

each_tool = pytest.mark.parametrize("name", NAMES)


def tool_file(name: str) -> Path:
    return TOOLS / name / f"{name}.xml"


def changed(schema: dict[str, Any], *place: str, **news: Any) -> dict[str, Any]:
    """Return a copy of a schema in which the keys of one field have other values."""
    copied = copy.deepcopy(schema)
    field = copied
    for part in place:
        field = field[part]
    field.update(news)
    return copied


@each_tool
def test_the_form_of_a_tool_is_that_of_its_step(name: str) -> None:
    step = BY_FOLDER[name]
    assert differences(tool_file(name), step, step_schema(step)) == []


def test_what_a_form_says_instead_is_of_parameters_that_there_are() -> None:
    schemas = {step.name: step_schema(step)["properties"] for step in STEPS}
    assert all(place in schemas[step] for step, said in SAID.items() for place in said)


@pytest.mark.parametrize("step", STEPS, ids=[step.name for step in STEPS])
def test_a_form_can_be_made_of_every_step(tmp_path: Path, step: Step) -> None:
    (tmp_path / "parameters.xml").write_text(parameters_macro(step), encoding="utf-8")
    (tmp_path / "tool.xml").write_text(
        '<tool id="x" name="x" version="1" profile="25.1">'
        "<macros><import>parameters.xml</import></macros><command>x</command>"
        '<inputs><expand macro="parameters"/></inputs></tool>'
    )
    assert differences(tmp_path / "tool.xml", step, step_schema(step)) == []


MEDIAN = ("$defs", "MedianFilter", "properties", "radius_px")
GAUSSIAN = ("$defs", "GaussianFilter", "properties", "sigma_px")
CHANGES_OF_THE_STEP = {
    "a bound": (GAUSSIAN, {"maximum": 201}),
    "an excluded bound": (GAUSSIAN, {"exclusiveMinimum": 1}),
    "a bound that is no longer excluded": (GAUSSIAN, {"minimum": 0}),
    "a default": (MEDIAN, {"default": 2.0}),
    "a default of the default variant": (
        ("properties", "filter"),
        {"default": {"method": "gaussian", "sigma_px": 2.0, "sigma_um": None}},
    ),
    "a type": (GAUSSIAN, {"type": "integer"}),
    "a description": (GAUSSIAN, {"description": "Something else."}),
    "an option": (("properties", "mode"), {"enum": ["auto", "plane"]}),
    "a parameter more": (("properties",), {"seed": {"type": "integer", "default": 0}}),
    "a field more": (("$defs", "TopHatFilter", "properties"), {"seed": {"type": "integer"}}),
    "what a variant does": (("$defs", "TopHatFilter"), {"description": "Something else."}),
    "the default variant": (("properties", "filter"), {"default": {"method": "median"}}),
    "at least so many": (
        ("properties", "channels"),
        {"anyOf": [{"type": "array", "minItems": 1, "items": {"type": "string"}}]},
    ),
    "what there are several of": (
        ("properties", "channels"),
        {"anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "null"}]},
    ),
}


@pytest.mark.parametrize("change", CHANGES_OF_THE_STEP)
def test_a_change_of_the_step_alone_is_found(change: str) -> None:
    step = BY_FOLDER["filter_image"]
    place, news = CHANGES_OF_THE_STEP[change]
    schema = changed(step_schema(step), *place, **news)
    if change == "a bound that is no longer excluded":
        del schema["$defs"]["GaussianFilter"]["properties"]["sigma_px"]["exclusiveMinimum"]
    assert differences(tool_file("filter_image"), step, schema)


CHANGES_OF_THE_TOOL = {
    "a bound": ('max="200.0"', 'max="100.0"'),
    "an excluded bound": ('exclude_min="true"', 'exclude_min="false"'),
    "a default": ('value="1.0"', 'value="1.5"'),
    "a type": (
        'type="float" value="1.0" min="0.0" max="200.0"',
        'type="integer" value="1" min="0" max="200"',
    ),
    "a help": ("Standard deviation in pixels", "Width in pixels"),
    "a label": ("Sigma (pixels)", "Sigma"),
    "a name": ('name="sigma_px"', 'name="sigma"'),
    "an option": ('<option value="volume">volume</option>', ""),
    "an option's text": ("Take the median of a box", "Take something"),
    "the default option": ('<option value="auto" selected="true">', '<option value="auto">'),
    "optional": (' optional="true"', ""),
    "a parameter less": (r'(?s)<param name="mode".*?</param>', ""),
    "the order": ('name="mode"', 'name="zmode"'),
    "a sanitizer": ('<sanitizer sanitize="false" />', ""),
    "at least so many": ('min="0" default="0"', 'min="1" default="1"'),
}


@pytest.mark.parametrize("change", CHANGES_OF_THE_TOOL)
def test_a_change_of_the_tool_alone_is_found(tmp_path: Path, change: str) -> None:
    step = BY_FOLDER["filter_image"]
    for file in (TOOLS / "filter_image").glob("*.xml"):
        (tmp_path / file.name).write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    old, new = CHANGES_OF_THE_TOOL[change]
    old = old if old.startswith("(?s)") else re.escape(old)
    form = tmp_path / "parameters.xml"
    text, count = re.subn(old, lambda _: new, form.read_text(encoding="utf-8"), count=1)
    assert count == 1
    form.write_text(text, encoding="utf-8")
    assert differences(tmp_path / "filter_image.xml", step, step_schema(step))


@each_tool
def test_inputs_and_outputs_are_those_of_the_step(name: str) -> None:
    step, tool = BY_FOLDER[name], expanded(tool_file(name))
    command = tool.findtext("command", "")
    data = {p.get("name"): p for p in tool.iterfind("inputs/param") if "data" in p.get("type", "")}
    needed = data_inputs(step)
    assert {name: d.get("optional") != "true" for name, d in data.items()} == needed
    for port in (*step.inputs, *step.outputs):
        assert f"--{port.name} " in command
    outputs = {output.get("name"): output for output in tool.find("outputs") or ()}
    assert set(outputs) == set(data_outputs(step))
    assert all(output.get("label") for output in outputs.values())
    assert outputs["record"].get("hidden") == "true"


@each_tool
def test_only_what_galaxy_makes_stands_in_the_command(name: str) -> None:
    """No parameter and no name of a dataset: only paths, and numbers of Galaxy's own.

    What decides by the value of a select, and puts nothing into the command, is left out.
    """
    tool = expanded(tool_file(name))
    command = tool.findtext("command", "")
    selects = "|".join(p.get("name", "") for p in tool.iterfind("inputs/param[@type='select']"))
    command = re.sub(rf'(?m)^ *#if str\(\$(?:{selects})\) == "[\w.]+"$', "#if", command)
    data = {p.get("name") for p in tool.iterfind("inputs/param") if "data" in p.get("type", "")}
    data |= {output.get("name") for output in tool.iterfind("outputs/data")}
    files = {file.get("name") for file in tool.find("configfiles") or ()}
    shell = {"\\${GALAXY_SLOTS:-1}", "\\$0", "\\$1"}  # of the shell, and of awk
    for variable in re.findall(r"\\?\$\{?[\w.:-]+\}?", command):
        first, _, rest = variable.strip("${}").partition(".")
        allowed = (first in data and rest in ("", "extra_files_path", "is_of_type")) or (
            first in files and not rest
        )
        assert allowed or variable in shell, variable
    assert "element_identifier" not in command
    for variable in re.findall(r"(?<!\\)\$\w+(?:\.extra_files_path)?(?![\w.])", command):
        assert re.search(rf"'{re.escape(variable)}[^' ]*'", command), f"{variable} is not quoted"


@each_tool
def test_a_tool_says_what_it_is(name: str) -> None:
    step, tool = BY_FOLDER[name], expanded(tool_file(name))
    assert tool.get("id") == f"parfocal_{name}"
    assert tool.get("version") == f"{parfocal.__version__}+galaxy0"
    assert tool.get("profile") == "25.1"
    assert tool.get("license") == "BSD-3-Clause"
    text = f"{tool.get('name')} {tool.findtext('description')}".lower()
    assert tool.get("name", "").lower().split()[0] == step.name.partition("-")[0]
    assert len(text) < 120
    for place in ("creator/organization", "citations/citation", "xrefs/xref"):
        assert tool.find(place) is not None, place
    assert {x.get("type") for x in tool.iterfind("xrefs/xref")} <= {"bio.tools", "biii"}
    for kind in ("topic", "operation"):
        terms = [term.text or "" for term in tool.iterfind(f"edam_{kind}s/edam_{kind}")]
        assert terms
        assert all(re.fullmatch(rf"{kind}_\d{{4}}", term) for term in terms)
    (package,) = [r for r in tool.iterfind("requirements/requirement") if r.text == "parfocal"]
    assert package.get("version") == parfocal.__version__
    container = tool.find("requirements/container")
    assert container is not None
    assert (container.text or "").endswith(f":{parfocal.__version__}")
    engine = tool.find("environment_variables/environment_variable[@name='PARFOCAL_ENGINE']")
    assert engine is not None
    assert (engine.text or "").startswith("galaxy")


@each_tool
def test_each_exit_code_but_0_is_an_error_that_is_explained(name: str) -> None:
    tool = expanded(tool_file(name))
    assert "detect_errors" not in tool.find("command").attrib  # type: ignore[union-attr]
    told = get_tool_source(str(tool_file(name))).parse_stdio()[0]
    for code in (*range(-3, 0), *range(1, 300)):
        (one,) = [each for each in told if each.range_start <= code <= each.range_end]
        assert one.error_level == (FATAL_OOM if code == 137 else FATAL)
        assert one.desc
    assert not [each for each in told if each.range_start <= 0 <= each.range_end]


@each_tool
def test_a_tool_is_tested_and_explained(name: str) -> None:
    tool = expanded(tool_file(name))
    tests = tool.findall("tests/test")
    failing = [test for test in tests if test.get("expect_failure") == "true"]
    assert len(tests) >= 3
    assert 1 <= len(failing) <= len(tests) - 2
    for test in failing:
        assert test.find("assert_stderr/") is not None
        assert test.get("expect_exit_code") in ("2", "3", "4")
    for test in tests:
        assert test in failing or test.find("output") is not None
    files = {file.name for file in (TOOLS / name / "test-data").glob("*")}
    given = [p.get("value", "").split(",") for p in tool.iterfind("tests//param")]
    used = {value for values in given for value in values} & files
    assert used == files, "test data that no test uses"
    help_ = tool.findtext("help", "")
    assert "**What it does**" in help_
    assert "**Example**" in help_


@each_tool
def test_the_shed_is_told(name: str) -> None:
    shed = yaml.safe_load((TOOLS / name / ".shed.yml").read_text(encoding="utf-8"))
    assert shed["name"] == f"parfocal_{name}"
    assert shed["description"] == BY_FOLDER[name].summary
    assert {"owner", "long_description", "homepage_url", "type", "categories"} <= set(shed)


@each_tool
def test_macros_are_the_shared_ones(name: str) -> None:
    link = TOOLS / name / "macros.xml"
    assert link.is_symlink()
    assert link.resolve() == TOOLS / "macros" / "macros.xml"


def test_each_step_has_a_tool() -> None:
    assert sorted(BY_FOLDER) == NAMES


def test_test_data_are_fresh_and_tiny() -> None:
    made = sample_files()
    committed = {path for name in NAMES for path in (TOOLS / name / "test-data").glob("*")}
    committed |= set((ROOT / "workflows").glob("*/test-data/*"))
    assert committed == set(made)
    for path, content in made.items():
        assert path.read_bytes() == content, "run: python tests/galaxy_samples.py"
        assert len(content) < 20_000
