"""planemo has nothing to say against a tool; what it would ask the internet is left out."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.galaxy.configuration import tool_files
from tests.galaxy.runs import lint

TOOLS = {path.parent.name: path for path in tool_files()}


@pytest.mark.parametrize("path", TOOLS.values(), ids=TOOLS)
def test_planemo_finds_nothing_wrong_with_a_tool(path: Path) -> None:
    wrong = lint(path)
    assert not wrong, wrong


def test_planemo_finds_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "bad.xml").write_text('<tool id="bad" name="Bad" version="1"/>', encoding="utf-8")
    assert "command" in lint(tmp_path / "bad.xml")
