"""The steps of Galaxy's workflows have a value for each parameter that nothing else goes into."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from galaxy.tool_util.parameters import input_models_for_tool_source
from galaxy.tool_util.parser import get_tool_source

from parfocal.engine.galaxy_workflow import with_states
from rules.runs import ROOT

WORKFLOWS = sorted((ROOT / "workflows").glob("*/*.gxwf.yml"))
BARE = """\
class: GalaxyWorkflow
steps:
  - id: read
    tool_id: parfocal_list_images
    in:
      source_0|value: where
  - id: ours
    tool_id: parfocal_filter_image
    in:
      image: read/image
    tool_state:
      mode: of an earlier version
      filter:
        method: median
    out:
      record:
        hide: true
  - id: theirs
    tool_id: cat
    in:
      input: ours/filtered
"""


def steps_of(text: str) -> list[dict[str, Any]]:
    return [step for step in yaml.safe_load(text)["steps"] if "parfocal" in step["tool_id"]]


def test_states_are_written_anew_and_nothing_else_is_changed() -> None:
    text = with_states(BARE)
    listed, filtered = steps_of(text)
    assert listed["tool_state"]["source"] == [
        {"__index__": 0, "value": {"__class__": "ConnectedValue"}}
    ]
    assert filtered["tool_state"]["mode"] == "auto"
    assert "image" not in filtered["tool_state"]
    assert filtered["out"] == {"record": {"hide": True}}
    assert text.endswith(BARE[BARE.index("  - id: theirs") :])
    assert with_states(text) == text


def test_what_goes_into_nothing_is_found() -> None:
    with pytest.raises(KeyError, match="imge"):
        with_states(BARE.replace("image: read", "imge: read"))


def missing(params: list[Any], state: dict[str, Any], inside: str = "") -> list[str]:
    """Return which parameters have no value, as Galaxy's own library sees the form."""
    found = []
    for param in params:
        place = f"{inside}{param.name}"
        kind = param.parameter_type.removeprefix("gx_")
        if param.name not in state:
            found.append(place)
        elif kind == "section":
            found += missing(param.parameters, state[param.name], f"{place}|")
        elif kind == "repeat":
            for number, one in enumerate(state[param.name]):
                found += missing(param.parameters, one, f"{place}_{number}|")
        elif kind == "conditional":
            chosen = state[param.name]
            (when,) = [
                when
                for when in param.whens
                if when.discriminator == chosen[param.test_parameter.name]
            ]
            found += missing(when.parameters, chosen, f"{place}|")
    return found


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_each_parameter_of_each_step_has_a_value_or_a_connection(path: Any) -> None:
    steps = steps_of(path.read_text(encoding="utf-8"))
    assert len(steps) > 5
    for step in steps:
        folder = step["tool_id"].removeprefix("parfocal_")
        source = get_tool_source(str(ROOT / f"galaxy_tools/{folder}/{folder}.xml"))
        params = input_models_for_tool_source(source).parameters
        assert set(missing(params, step.get("tool_state", {}))) <= set(step["in"]), step["id"]
        assert {name for name in step["in"] if "|" not in name} <= {p.name for p in params}
