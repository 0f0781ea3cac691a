"""planemo has nothing to say against a tool; what it would ask the internet is left out."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.galaxy.configuration import tool_files
from tests.galaxy.runs import lint

TOOLS = {path.parent.name: path for path in tool_files()}


@pytest.fixture(scope="module")
def wrong(request: pytest.FixtureRequest) -> dict[Path, str]:
    """What planemo finds wrong with each tool that is asked for."""
    items = [item for item in request.session.items if item.path == request.path]
    calls = [item.callspec for item in items if hasattr(item, "callspec")]
    return lint([call.params["path"] for call in calls])


@pytest.mark.parametrize("path", TOOLS.values(), ids=TOOLS)
def test_planemo_finds_nothing_wrong_with_a_tool(wrong: dict[Path, str], path: Path) -> None:
    assert not wrong[path], wrong[path]


def test_planemo_finds_what_is_wrong_and_where(tmp_path: Path) -> None:
    bad, good = tmp_path / "bad.xml", next(iter(TOOLS.values()))
    bad.write_text('<tool id="bad" name="Bad" version="1"/>', encoding="utf-8")
    found = lint([good, bad])
    assert "command" in found[bad]
    assert not found[good]
