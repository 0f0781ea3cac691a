"""Configuration and plan of a workflow: what is refused, and what makes a batch run again."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parfocal.engine.workflow import Plan, make_plan
from parfocal.errors import ConfigurationError
from parfocal.models.sheet import Row, write_sheet

STEPS = ["fetch_image", "convert_image", "segment_objects", "measure_objects", "score_objects"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plan(rows: list[Row], cores: int = 1, **config: Any) -> Plan:
    write_sheet(Path("samples.tsv"), rows)
    values = {"sheet": "samples.tsv"} | config
    return make_plan(
        values,
        steps=STEPS,
        optional=["filter_image", "assemble_plate"],
        files=["own.yaml"],
        cores=cores,
        workflow=Path("workflows/one").absolute(),
    )


def rows_of(count: int) -> list[Row]:
    return [Row(image_id=f"i{n}", source=f"{n}.tif") for n in range(count)]


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"sheeet": "x"}, ["own.yaml, key sheeet", "did you mean 'sheet'"]),
        ({"segment_object": {}}, ["key segment_object", "'segment_objects'"]),
        ({"segment_objects": {"chanel": 1}}, ["key segment_objects.chanel", "'channel'"]),
        ({"batch_size": 0}, ["key batch_size", "greater than or equal to 1", "found 0"]),
        ({"batch_size": "many"}, ["key batch_size", "'many'"]),
        ({"batch_size": True}, ["key batch_size", "must be a whole number (found True)"]),
        ({"transfer": {"requests": 257}}, ["key transfer.requests;", "less than or equal to 256"]),
        ({"transfer": {"requests": 1.5}}, ["key transfer.requests;", "a whole number"]),
        ({"transfer": {"mb_per_s": 0}}, ["key transfer.mb_per_s;", "0.001"]),
        ({"transfer": {"omero_connections": 65}}, ["key transfer.omero_connections;", "64"]),
        ({"transfer": {"request": 1}}, ["key transfer.request;", "did you mean 'requests'"]),
        ({"convert_image": {"format": "ome.tiff"}}, ["key convert_image.format", "ome.zarr"]),
        ({"convert_image": {"all_series": True}}, ["key convert_image.all_series"]),
        ({"assemble_plate": {}}, ["no image of the sheet belongs to one"]),
        ({"assemble_plate": {"plate": "P"}}, ["key assemble_plate.plate", "column 'plate'"]),
        ({"results": "a{b}"}, ["key results", "must not hold braces"]),
        ({"results": ""}, ["key results;", "results: must not be empty"]),
        ({"results": "."}, ["key results;", "own files"]),
        ({"results": ".."}, ["key results;", "own files"]),
        ({"results": "config"}, ["key results;", "own files"]),
        ({"results": "sub/../src/parfocal"}, ["key results;", "own files"]),
        ({"label_name": "../x"}, ["key label_name;", "[A-Za-z0-9._-]*$: Name of the label image"]),
        ({"fetch_image": {"source": "a.tif"}}, ["key fetch_image.source", "column 'source'"]),
        ({"convert_image": {"series": "1"}}, ["key convert_image.series", "column 'series'"]),
        (
            {"segment_objects": {"threshold": "otsu"}},
            ["key segment_objects.threshold;", "write {method: otsu}"],
        ),
        ({"filter_image": {"filter": "median"}}, ["filter: write {method: median}"]),
        (
            {"segment_objects": {"channel": [1]}},
            ["key segment_objects.channel;", "must be a whole number or a text (found [1])"],
        ),
        (
            {"segment_objects": {"threshold": {"method": "local", "sigma_px": -1}}},
            ["key segment_objects.threshold.sigma_px;", "must be greater than 0"],
        ),
        ({"segment_objects": {"threshold": {"method": "manual"}}}, ["value: is required"]),
        ({"segment_objects": {"threshold": {"value": 1}}}, ["threshold: has no 'method'"]),
        (
            {"measure_objects": {"label_name": "cells"}},
            ["measure_objects.label_name", "found cells"],
        ),
        ({"convert_image": 3}, ["key convert_image;", "must be a mapping of keys to values"]),
        ({"filter_image": {"filter": {"method": "blur"}}}, ["key filter_image", "'gaussian'"]),
    ],
)
def test_a_bad_value_is_told_with_file_and_key(
    folder: Path, config: dict[str, Any], told: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        plan(rows_of(1), **config)
    message = str(caught.value)
    for text in told:
        assert text in message
    assert "Input should" not in message


def test_the_remedy_is_that_of_the_key(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"config/analyse_images\.yaml names the keys"):
        plan(rows_of(1), batch_size=0)
    with pytest.raises(ConfigurationError, match="parfocal schema STEP"):
        plan(rows_of(1), convert_image={"level": 99})


def test_a_name_that_all_steps_share_is_told_once(folder: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        plan(rows_of(1), label_name="a/b")
    assert str(caught.value).count("'a/b'") == 1


def test_limits_of_transfers_are_handed_over_as_variables(folder: Path) -> None:
    assert plan(rows_of(1)).for_rules()["transfer"] == []
    given = {"requests": 16, "mb_per_s": 2.5, "omero_connections": 8}
    assert plan(rows_of(1), transfer=given).for_rules()["transfer"] == [
        "PARFOCAL_REMOTE_IN_FLIGHT=16",
        "PARFOCAL_REMOTE_MB_PER_S=2.5",
        "PARFOCAL_OMERO_CONNECTIONS=8",
    ]


def test_a_section_without_lines_changes_nothing(folder: Path) -> None:
    given = {"convert_image": None, "segment_objects": None, "transfer": None}
    made = plan(rows_of(1), **given, label_name="cells")
    assert made.config_text() == plan(rows_of(1), label_name="cells").config_text()


def test_the_configuration_that_a_run_kept_can_be_given_again(folder: Path) -> None:
    made = plan(rows_of(1), label_name="cells", results="demo/results")
    assert plan(rows_of(1), **json.loads(made.config_text())).config_text() == made.config_text()


def test_a_missing_sheet_is_told(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"key sheet; found sheet: is required"):
        make_plan({}, steps=STEPS)
    with pytest.raises(ConfigurationError, match=r"cannot be read: none\.tsv"):
        make_plan({"sheet": "none.tsv"}, steps=STEPS)


def test_the_label_name_reaches_all_steps(folder: Path) -> None:
    made = plan(rows_of(1), label_name="cells", segment_objects={"channel": 1})
    for name in ("segment_objects", "measure_objects", "score_objects"):
        assert json.loads(made.params(name))["label_name"] == "cells"
    assert json.loads(made.params("segment_objects"))["channel"] == 1
    assert "label_name" not in json.loads(made.params("convert_image"))


def test_an_optional_step_runs_when_it_is_configured(folder: Path) -> None:
    assert not plan(rows_of(1)).has("filter_image")
    assert not plan(rows_of(1), filter_image=None).has("filter_image")
    assert plan(rows_of(1), filter_image={}).has("filter_image")


@given(st.integers(1, 300), st.integers(1, 64))
def test_batches_hold_each_image_once_and_none_is_empty(count: int, size: int) -> None:
    made = Plan(
        plan_config(size), [Row(image_id=f"i{n}", source="x") for n in range(count)], steps={}
    )
    ids = [row.image_id for rows in made.members.values() for row in rows]
    assert sorted(ids) == sorted(f"i{n}" for n in range(count))
    assert all(made.members.values())


def plan_config(size: int) -> Any:
    from parfocal.engine.configuration import config_model

    return config_model([]).model_validate({"sheet": "s.tsv", "batch_size": size})


def test_threads_are_more_than_one_only_with_few_batches(folder: Path) -> None:
    assert plan(rows_of(3), cores=4).threads == 4
    assert plan(rows_of(3), cores=64).threads == 8
    many = plan(rows_of(64), cores=4, batch_size=8)
    assert len(many.members) > 4
    assert many.threads == 1


def test_a_batch_is_triggered_by_its_rows_only(folder: Path) -> None:
    rows = rows_of(40)
    before = plan(rows, batch_size=10)
    changed = [row if row.image_id != "i7" else Row(image_id="i7", source="other") for row in rows]
    after = plan(changed, batch_size=10)
    differ = [
        batch
        for batch in before.members
        if before.trigger("convert_image", batch) != after.trigger("convert_image", batch)
    ]
    assert len(differ) == 1
    assert "i7" in [row.image_id for row in before.members[differ[0]]]


def test_a_changed_source_triggers_the_fetch(folder: Path) -> None:
    source = folder / "0.tif"
    source.write_bytes(b"one")
    made = plan(rows_of(1))
    before, convert = made.trigger("fetch_image", 0), made.trigger("convert_image", 0)
    assert made.trigger("fetch_image", "0") == before
    source.write_bytes(b"other")
    assert made.trigger("fetch_image", 0) != before
    assert made.trigger("convert_image", 0) == convert


def test_a_changed_ground_truth_triggers_the_score(folder: Path) -> None:
    truth = folder / "truth.tif"
    truth.write_bytes(b"one")
    made = plan([Row(image_id="a", source="a.tif", ground_truth="truth.tif")])
    before = made.trigger("score_objects", 0)
    assert made.batches_with("ground_truth") == [0]
    truth.write_bytes(b"other")
    assert made.trigger("score_objects", 0) != before
    assert plan(rows_of(1)).batches_with("ground_truth") == []


def test_failures_trigger_a_batch_again(folder: Path) -> None:
    made = plan(rows_of(1))
    before = made.trigger("convert_image", 0)
    counter = folder / "results/outcomes/convert_image/.0.attempts"
    counter.parent.mkdir(parents=True)
    counter.write_text("1\n", encoding="utf-8")
    assert made.trigger("convert_image", 0) == before.replace("failures 0", "failures 1")


def test_a_report_is_current_when_it_is_newer_than_all_outcomes(folder: Path) -> None:
    made = plan(rows_of(1))
    outcomes = made.outcomes(["fetch_image", "convert_image"])
    assert outcomes == [f"results/outcomes/{step}/0.json" for step in STEPS[:2]]
    for path in [*map(Path, outcomes), Path("results/report.html")]:
        assert not made.report_is_current(outcomes)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (1, 1))
    assert made.report_is_current(outcomes)
    os.utime(outcomes[1], (2, 2))
    assert not made.report_is_current(outcomes)


def test_plates_are_planned_where_they_are_asked_for(folder: Path) -> None:
    rows = [
        row.model_copy(update={"plate": "P 1" if n else ""}) for n, row in enumerate(rows_of(3))
    ]
    assert plan(rows).plate_documents() == []
    asked = plan(rows, assemble_plate={}, convert_image={"ngff": "0.4"})
    (document,) = asked.plate_documents()
    (name,) = asked.plates
    assert document == f"results/plates/{name}.ome.zarr/.zattrs"
    assert json.loads(asked.plate_params(name)) == {"plate": "P 1", "with_labels": False}


@pytest.mark.parametrize("text", ["out/", "./out", "out//"])
def test_paths_have_one_spelling(folder: Path, text: str) -> None:
    made = plan(rows_of(1), results=text)
    assert made.for_rules()["results"] == "out"
    assert made.outcomes(["fetch_image"]) == ["out/outcomes/fetch_image/0.json"]


def test_a_new_version_of_a_step_triggers_all_its_batches(folder: Path) -> None:
    made = plan(rows_of(40), batch_size=10)
    steps = dict(made.steps)
    steps["convert_image"] = replace(steps["convert_image"], version="2000")
    newer = replace(made, steps=steps)
    for batch in made.members:
        assert made.trigger("convert_image", batch) != newer.trigger("convert_image", batch)
        assert made.trigger("fetch_image", batch) == newer.trigger("fetch_image", batch)


def test_outcomes_that_are_no_part_of_the_run_are_removed(folder: Path) -> None:
    made = plan(rows_of(1))
    kept = ["convert_image/0.json", "convert_image/.1.attempts", "annotate/7.json"]
    stale = ["convert_image/1.json", "filter_image/0.json"]
    for name in kept + stale:
        path = folder / "results/outcomes" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    made.remove_stale_outcomes(made.outcomes(["fetch_image", "convert_image"]))
    left = (folder / "results/outcomes").glob("*/*")
    assert sorted(path.relative_to(folder / "results/outcomes").as_posix() for path in left) == (
        sorted(kept)
    )
