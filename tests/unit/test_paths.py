from pathlib import Path

import pytest

from parfocal.core.step import Port
from parfocal.engine.paths import outcome_path, port_path, relative_uri, resolve_ports
from parfocal.errors import ConfigurationError
from parfocal.models.sheet import Row
from parfocal.models.source import source_key
from unit.toy_steps import MAKE, MEASURE, MakeParams, NoParams

ROW = Row.model_validate({"image_id": "a", "source": "in {x}/a b.tif", "mask": "m $1.tif"})
R = Path("results {x}")


def place(template, params=None, row=ROW):
    return port_path(R, Port("p", "file", template, ""), params or MakeParams(), row)


def test_a_path_is_made_of_the_row_the_parameters_and_the_source() -> None:
    assert place("images/{image_id}/{label}-{repeat}.zarr") == R / "images/a/x-1.zarr"
    assert place("originals/{source_key}") == R / "originals" / source_key(ROW.source)


def test_a_path_that_is_a_column_stands_as_it_is() -> None:
    assert place("{mask}") == Path("m $1.tif")
    assert place("{source}") == Path("in {x}/a b.tif")


def test_an_empty_or_absent_column_is_no_path() -> None:
    assert place("{ground_truth}") is None
    assert place("{plate}") is None


@pytest.mark.parametrize("template", ["images/{imageid}", "{}", "x{0}", "{image_id.x}"])
def test_unknown_fields_are_refused(template) -> None:
    if template == "{image_id.x}":
        template = "images/" + template
    with pytest.raises(ConfigurationError, match="unknown fields"):
        place(template)


def test_ports_may_be_placed_elsewhere() -> None:
    inputs, outputs = resolve_ports(R, MEASURE, NoParams(), ROW, {"image": "images/{image_id}/f"})
    assert inputs == {"image": R / "images/a/f"}
    assert outputs == {"table": R / "images/a/table.json"}


def test_ports_that_the_step_does_not_have_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="imgae"):
        resolve_ports(R, MEASURE, NoParams(), ROW, {"imgae": "x"})


def test_outcomes_lie_by_step_and_batch() -> None:
    assert outcome_path(Path("R"), MAKE, 3) == Path("R/outcomes/make_image/3.json")


def test_records_name_results_relative_and_all_else_absolute(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert relative_uri(Path("R/images/a"), Path("R")) == "images/a"
    assert relative_uri(tmp_path / "R" / "b", Path("R")) == "b"
    assert relative_uri(Path("in/a.tif"), Path("R")) == str(tmp_path / "in" / "a.tif")
    assert relative_uri(Path("a.tif"), None) == str(tmp_path / "a.tif")
