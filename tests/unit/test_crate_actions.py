"""What run crates tell of attempts, steps, parameters and people."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from crate_graphs import (
    of_type,
    references,
    rich_run,
    write_graph,
)
from crate_records import (
    START,
    artifact,
    chain,
    example_run,
    failed,
    record,
    segment,
)
from parfocal.core.digest import digest_path
from parfocal.provenance.crate_people import Agent, Funding


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., dict[str, dict[str, Any]]]:
    """Return what writes a crate of records, and returns its entities by id."""
    return partial(write_graph, tmp_path)


def test_failed_attempt_is_a_failed_action_with_its_record(make, tmp_path):
    graph = make(example_run())
    action = graph["#action/segment_objects/c/0001"]
    assert action["actionStatus"] == "http://schema.org/FailedActionStatus"
    assert action["error"] == "InputError: The image has no pixels: a.tif"
    left = graph[action["result"]["@id"]]
    content = (tmp_path / left["alternateName"]).read_bytes()
    assert json.loads(content)["image_id"] == "c"
    assert left["contentSize"] == str(len(content))
    assert graph["#control/segment_objects/c/0001"]["actionStatus"] == action["actionStatus"]


def test_each_attempt_has_its_record_with_its_digest(make, tmp_path):
    graph = make(example_run())
    actions = [name for name in graph if name.startswith("#action/")]
    assert len(actions) == len(example_run())
    for name in actions:
        record = graph[graph[name]["subjectOf"]["@id"]]
        path = f"records/{name.removeprefix('#action/')}.json"
        assert (record["@type"], record["alternateName"]) == ("File", path)
        assert record["identifier"] == digest_path(tmp_path / path)
        assert "sha256:" + record["sha256"] == record["identifier"]
        assert record["contentSize"] == str((tmp_path / path).stat().st_size)


def test_attempts_tell_how_their_process_ended(make):
    graph = make(example_run())
    codes = {}
    for step, image in (("segment_objects", "a"), ("segment_objects", "c"), ("convert_image", "d")):
        action = graph[f"#action/{step}/{image}/0001"]
        facts = [graph[each] for each in references(action["additionalProperty"])]
        codes[image] = [each["value"] for each in facts if each["name"] == "exit_code"]
    assert codes == {"a": ["0"], "c": ["2"], "d": []}


def test_killed_attempt_says_so_and_has_no_end(make):
    action = make(example_run())["#action/convert_image/d/0001"]
    assert "never ended" in action["error"]
    assert action["actionStatus"] == "http://schema.org/FailedActionStatus"
    assert "endTime" not in action
    assert "resourceUsage" not in action


def test_retried_attempt_is_there_beside_the_failed_one(make):
    graph = make(example_run())
    assert "error" in graph["#action/segment_objects/b/0001"]
    assert "error" not in graph["#action/segment_objects/b/0002"]


def test_run_is_failed_and_names_what_is_open(make):
    (run,) = [v for k, v in make(example_run()).items() if k.startswith("#run/")]
    assert run["actionStatus"] == "http://schema.org/FailedActionStatus"
    assert run["error"] == "Failed and not made good: c (segment-objects), d (convert-image)"
    assert run["description"] == "All attempts behind the current results of 4 images."
    assert run["startTime"] == "2026-11-20T10:00:00.123+00:00"
    assert run["endTime"] == "2026-11-20T10:40:05.123+00:00"


def test_run_without_open_failures_is_completed(make):
    graph = make([r for r in example_run() if r.image_id in ("a", "b")])
    (run,) = [v for k, v in graph.items() if k.startswith("#run/")]
    assert run["actionStatus"] == "http://schema.org/CompletedActionStatus"
    assert "error" not in run


def test_run_that_only_failed_still_has_a_result(make):
    graph = make([failed("convert-image", "a", outputs=())])
    (run,) = [v for k, v in graph.items() if k.startswith("#run/")]
    assert graph[run["result"]["@id"]]["alternateName"] == "records/convert_image/a/0001.json"


def test_steps_are_in_order_and_wired(make):
    graph = make(example_run())
    steps = sorted(of_type(graph, "HowToStep"), key=lambda step: int(step["position"]))
    names = [step["name"] for step in steps]
    order = ["fetch-image", "convert-image", "segment-objects", "measure-objects"]
    assert [name for name in names if name in order] == order
    wires = {
        (c["sourceParameter"]["@id"], c["targetParameter"]["@id"])
        for c in of_type(graph, "ParameterConnection")
    }
    assert (
        "#parameter/segment-objects/output/labels",
        "#parameter/measure-objects/input/labels",
    ) in wires
    assert (
        "#workflow/input/fetch-image.source",
        "#parameter/fetch-image/input/source",
    ) in wires
    assert (
        "#parameter/measure-objects/output/table",
        "#workflow/output/measure-objects.table",
    ) in wires


def test_steps_that_feed_each_other_in_a_circle_are_still_listed(make):
    one, two = artifact("image", "ome-zarr", "one"), artifact("image", "ome-zarr", "two")
    three = artifact("image", "ome-zarr", "three")
    graph = make(
        [
            record("b-step", "a", 0, outputs=(one,)),
            record("a-step", "a", 1, inputs=(one,), outputs=(two,)),
            record("b-step", "b", 2, inputs=(two,), outputs=(three,)),
        ]
    )
    assert [step["name"] for step in of_type(graph, "HowToStep")] == ["a-step", "b-step"]


def test_parameters_have_types_and_values(make):
    graph = make(example_run())
    types = {
        "convert-image/setting/ngff": "Text",
        "convert-image/setting/level": "Integer",
        "convert-image/setting/verify": "Boolean",
        "segment-objects/setting/threshold.window_um": "Float",
        "segment-objects/setting/threshold.method": "Text",
        "segment-objects/setting/channel": "PropertyValue",
    }
    for name, kind in types.items():
        assert graph[f"#parameter/{name}"]["additionalType"] == kind
    values = {
        graph[i]["name"]: graph[i]["value"]
        for i in references(graph["#action/segment_objects/a/0001"]["object"])
        if graph[i]["@type"] == "PropertyValue"
    }
    assert values == {
        "label_name": "nuclei",
        "threshold.method": "local",
        "threshold.window_um": "12.5",
        "channel": "null",
    }


def test_action_tells_cost_host_and_environment(make):
    graph = make(rich_run())
    action = graph["#action/convert_image/a/0001"]
    usage = [graph[i] for i in references(action["resourceUsage"])]
    assert [(u["name"], u["value"], u["unitCode"].rpartition("/")[2]) for u in usage] == [
        ("cpu_s", "1.5", "SEC"),
        ("peak_memory_bytes", "104857600", "BYTE"),
    ]
    facts = {graph[i]["name"]: graph[i]["value"] for i in references(action["additionalProperty"])}
    assert facts["host"] == "node1"
    assert facts["engine"] == "snakemake 9.27.1"
    assert facts["job_id"] == "4711"
    assert facts["commit"] == "c0ffee"
    assert facts["lock_digest"] == "sha256:" + "ab" * 32
    assert facts["warning"] == "The pixel size is not known"
    container = graph[action["containerImage"]["@id"]]
    assert (container["registry"], container["name"]) == ("docker.io", "parfocal/parfocal")
    assert container["sha256"] == "cd" * 32
    digest, container_id = container["identifier"]
    assert (digest.partition("@")[2], container_id) == (
        "sha256:" + "cd" * 32,
        "sha256:" + "1d" * 32,
    )
    seeds = references(graph["#action/segment_objects/b/0002"]["additionalProperty"])
    assert [graph[i]["value"] for i in seeds if graph[i]["name"] == "seed"] == ["7"]


@pytest.mark.parametrize(
    ("unlocked", "told"),
    [
        (None, []),
        ({}, ["none"]),
        ({"pillow": "12.3.0"}, ["pillow==12.3.0"]),
        ({"numpy": "1.0+cpu", "pillow": "12.3.0"}, ["numpy==1.0+cpu, pillow==12.3.0"]),
    ],
)
def test_action_tells_what_was_not_as_the_lock_file_names_it(make, unlocked, told):
    records = [one.model_copy(update={"unlocked": unlocked}) for one in rich_run()]
    graph = make(records)
    facts = references(graph["#action/convert_image/a/0001"]["additionalProperty"])
    assert [graph[i]["value"] for i in facts if graph[i]["name"] == "unlocked"] == told


def test_each_version_of_a_step_is_a_tool_of_its_own(make):
    graph = make(rich_run())
    used = {
        graph[graph[f"#action/fetch_image/{i}/0001"]["instrument"]["@id"]]["softwareVersion"]
        for i in "ab"
    }
    assert used == {"0.1.0", "0.2.0"}
    assert len(references(graph["#step/fetch-image"]["workExample"])) == 2


def test_each_engine_organizes_its_own_attempts(make):
    graph = make(example_run())
    organized = {
        graph[action["instrument"]["@id"]]["name"]: references(action["object"])
        for action in of_type(graph, "OrganizeAction")
    }
    assert organized["Parfocal, started from a shell"] == ["#control/render_report/report/0001"]
    assert len(organized["Snakemake"]) == len(example_run()) - 1


def test_readme_tells_failures_and_images_without_records(make, tmp_path):
    make(example_run())
    readme = (tmp_path / "run-crate" / "README.md").read_text(encoding="utf-8")
    assert "- `c` at segment-objects: InputError: The image has no pixels: a.tif" in readme
    assert "- `d` at convert-image: The attempt started and never ended" in readme
    assert "- `b` at" not in readme
    assert "| segment-objects | 2 | 2 |" in readme
    assert "## Images without a record\n\nNo step was run on them, or " in readme
    assert "\n\n- `e`\n" in readme


def test_readme_of_a_clean_run_lists_no_failures(make, tmp_path):
    make(chain("a", "/data/a.tif"), image_ids="a")
    readme = (tmp_path / "run-crate" / "README.md").read_text(encoding="utf-8")
    assert "failed and was not made good" not in readme


def test_agent_is_author_and_agent_of_actions(make):
    graph = make(example_run())
    person = "https://orcid.org/0000-0002-1825-0097"
    assert graph[person]["affiliation"] == {"@id": "https://ror.org/000000000"}
    assert graph["./"]["author"] == {"@id": person}
    assert graph["./"]["publisher"] == {"@id": "https://ror.org/000000000"}
    assert graph["#action/convert_image/a/0001"]["agent"] == {"@id": person}


def test_nobody_is_made_up(make):
    graph = make(example_run(), agent=Agent(), funding=Funding(), workflow_url=None)
    assert not [e for kind in ("Person", "Organization", "Grant") for e in of_type(graph, kind)]
    assert not {"author", "publisher", "funder", "funding"} & graph["./"].keys()
    assert "url" not in graph["workflow/Snakefile"]


def test_stale_input_has_its_maker_in_the_crate(make):
    """The labels were made from an image that was converted anew since."""
    records = chain("a", "/data/a.tif")
    newer = artifact("image", "ome-zarr", "images/a/image.ome.zarr", "2")
    records.append(record("convert-image", "a", 9, attempt=2, outputs=(newer,)))
    graph = make(records, image_ids="a")
    assert {"#action/convert_image/a/0001", "#action/convert_image/a/0002"} <= set(graph)
    images = [e for e in graph.values() if e.get("alternateName") == newer.uri]
    assert {image["identifier"] for image in images} == {
        newer.digest,
        artifact("image", "ome-zarr", newer.uri).digest,
    }


def test_times_are_in_utc(make):
    started = START.astimezone(timezone(timedelta(hours=5)))
    graph = make([segment("a", 0, started=started)])
    assert graph["#action/segment_objects/a/0001"]["startTime"] == "2026-11-20T10:00:00.123+00:00"
