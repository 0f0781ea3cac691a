"""The tests of each tool, as they stand in its XML, pass in a real Galaxy."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from tests.galaxy.configuration import ROOT, tool_files
from tests.galaxy.runs import run_tool_tests, tool_id
from tests.galaxy.server import Galaxy
from tests.galaxy.sources import NEEDED_BY, sources

TOOLS = {path.parent.name: path for path in tool_files()}


def test_each_folder_holds_one_tool() -> None:
    folders = {path.name for path in (ROOT / "galaxy_tools").iterdir() if path.is_dir()}
    assert folders - {"macros"} == set(TOOLS)
    assert len(TOOLS) == len(tool_files())


@pytest.mark.parametrize("path", TOOLS.values(), ids=TOOLS)
def test_the_tests_of_a_tool_pass(galaxy: Galaxy, path: Path) -> None:
    with sources() if path.parent.name in NEEDED_BY else nullcontext():
        outcomes = run_tool_tests(galaxy, tool_id(path))
    failed = [each.told() for each in outcomes if each.status != "success"]
    assert not failed, "\n\n".join(failed)
    assert len(outcomes) == len(ET.parse(path).findall("tests/test")) > 0
