"""Every step has a rule, a single rule, a page and a test, and its model is complete."""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from parfocal.core.step import Step
from parfocal.engine.schema import step_schema
from parfocal.steps import STEPS

ROOT = Path(__file__).parents[2]
IMAGE_STEPS = [step for step in STEPS if step.scope == "image"]


def names(steps: list[Step] | tuple[Step, ...]) -> list[str]:
    return [step.name for step in steps]


def rules_in(folder: Path) -> set[str]:
    text = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.smk"))
    return set(re.findall(r"^rule (\w+):", text, re.MULTILINE))


def test_there_is_one_file_a_step_and_all_are_listed() -> None:
    files = {path.stem for path in (ROOT / "src/parfocal/steps").glob("[a-z]*.py")}
    assert files == {step.folder for step in STEPS}
    assert len(set(names(STEPS))) == len(STEPS)


@pytest.mark.parametrize("step", STEPS, ids=names(STEPS))
def test_names_are_imperative_and_versions_are_numbers(step: Step) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)+", step.name)
    assert re.fullmatch(r"\d+", step.version)
    assert step.summary[0].isupper()
    assert not step.summary.endswith(".")


def test_no_step_is_exact_without_saying_so() -> None:
    assert inspect.signature(Step).parameters["exactness"].default is inspect.Parameter.empty
    for step in STEPS:
        source = inspect.getsource(sys.modules[step.run.__module__])
        declared = re.search(
            r"^STEP = .*^    exactness=(exact|numeric)\(", source, re.MULTILINE | re.DOTALL
        )
        assert declared is not None, step.name
        assert step.exactness.is_exact == (declared[1] == "exact")


@pytest.mark.parametrize("step", IMAGE_STEPS, ids=names(IMAGE_STEPS))
def test_each_image_step_has_a_batch_rule_and_a_single_rule(step: Step) -> None:
    # convert_image calls verify-image itself, so that no workflow can leave it out.
    if step.name != "verify-image":
        assert step.folder in rules_in(ROOT / "rules")
    assert step.folder in rules_in(ROOT / "rules/single")


@pytest.mark.parametrize("step", STEPS, ids=names(STEPS))
def test_each_step_has_a_test(step: Step) -> None:
    suites = ("unit", "omero")  # those that speak to OMERO are tested with a server
    assert any((ROOT / f"tests/{suite}/test_{step.folder}.py").exists() for suite in suites)


@pytest.mark.parametrize("step", STEPS, ids=names(STEPS))
def test_each_parameter_is_described_and_has_no_empty_default(step: Step) -> None:
    schema = step_schema(step)
    models = [schema, *(d for d in schema.get("$defs", {}).values() if "properties" in d)]
    for model in models:
        for name, field in model.get("properties", {}).items():
            assert field.get("description") or "const" in field, f"{step.name}: {name}"
            assert field.get("default") != "", f"{step.name}: {name}"
    json.dumps(schema)


@pytest.mark.parametrize("step", STEPS, ids=names(STEPS))
def test_each_step_has_a_command_with_its_ports(step: Step) -> None:
    command = [sys.executable, "-m", "parfocal", step.name, "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for port in (*step.inputs, *step.outputs):
        assert f"--{port.name}" in text


def test_the_pages_made_from_the_code_are_fresh() -> None:
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "docs/make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for path, text in module.pages().items():
        assert path.read_text(encoding="utf-8") == text, "run: python docs/make_reference.py"
