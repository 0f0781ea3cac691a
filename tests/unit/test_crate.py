"""Run crates: what is in them, and what the public tools make of them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from runcrate.report import dump_crate_actions

from crate_records import (
    ODD,
    SNAKEMAKE,
    START,
    artifact,
    chain,
    example_run,
    failed,
    record,
    segment,
    write_results,
)
from parfocal.errors import ConfigurationError, InputError
from parfocal.models.record import Record
from parfocal.provenance.crate import CrateRequest, write_crate
from parfocal.provenance.crate_people import Agent
from rocrate_cache import findings, seed_cache

AGENT = Agent(
    "Josiah Carberry", "0000-0002-1825-0097", "Example institute", "https://ror.org/000000000"
)
DIGEST = "sha256:" + "cd" * 32
ODD_WORKFLOW = "odd $ [1] ü.smk"
PROFILES = {
    "provenance-run-crate": {
        "sheet": "samples.tsv",
        "config": "config.yaml",
        "workflow": ODD_WORKFLOW,
    },
    "process-run-crate": {"sheet": "samples.tsv"},
}


def rich_run() -> list[Record]:
    """Return the example run with all that a record can tell, and several versions and engines."""
    records = example_run()
    on_web = artifact("original", "ome-zarr", "https://example.org/b image [1].ome.zarr?token=XYZ")
    changes: list[dict[str, Any]] = [
        {"image_digest": f"localhost:5000/parfocal@{DIGEST}", "parfocal_version": "0.2.0"},
        {"image_digest": f"docker.io/parfocal/parfocal@{DIGEST}", "engine": SNAKEMAKE},
        {"details": {"objects": 12, "note": "ünï \U0001f52c"}, "warnings": ("one", "two")},
        {"inputs": (*records[3].inputs, on_web)},
    ]
    return [
        *(item.model_copy(update=change) for item, change in zip(records, changes, strict=False)),
        *records[len(changes) :],
    ]


def request_for(results: Path, sheet: Path, *roles: str, **changes: Any) -> CrateRequest:
    """Return the request for the example run's crate."""
    files = {"sheet": sheet, "config": sheet.with_name("config.yaml")}
    files["workflow"] = sheet.with_name("Snakefile")
    fields: dict[str, Any] = {
        "results": results,
        "image_ids": list("abcde"),
        "name": "Nuclei",
        "description": "Nuclei of a few images",
        "licence": "https://spdx.org/licenses/CC-BY-4.0",
        "files": {role: files[role] for role in roles or files},
        "run_steps": ["render-report"],
        "agent": AGENT,
        "workflow_url": "https://example.org/workflow",
    }
    return CrateRequest(**(fields | changes))


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., dict[str, dict[str, Any]]]:
    """Return a function that writes a crate of records and returns its entities by id."""

    def write(
        records: list[Record], *roles: str, image_ids: str = "abcde", **changes: Any
    ) -> dict[str, dict[str, Any]]:
        sheet = write_results(tmp_path, records, image_ids)
        write_crate(tmp_path / "run-crate", request_for(tmp_path, sheet, *roles, **changes))
        return read_graph(tmp_path / "run-crate")

    return write


def read_graph(crate: Path) -> dict[str, dict[str, Any]]:
    """Return the entities of a crate by id; each id must occur once."""
    document = json.loads((crate / "ro-crate-metadata.json").read_text(encoding="utf-8"))
    entities = {entity["@id"]: entity for entity in document["@graph"]}
    assert len(entities) == len(document["@graph"])
    return entities


def references(value: Any) -> list[str]:
    """Return the ids that a property, or an entity, refers to."""
    if isinstance(value, list):
        return [identifier for item in value for identifier in references(item)]
    if isinstance(value, dict) and set(value) == {"@id"}:
        return [value["@id"]]
    if isinstance(value, dict):
        return [i for name, item in value.items() if name != "@id" for i in references(item)]
    return []


def of_type(graph: dict[str, dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Return the entities of a type."""
    return [
        entity
        for entity in graph.values()
        if kind == entity["@type"]
        or (isinstance(entity["@type"], list) and kind in entity["@type"])
    ]


def by_path(graph: dict[str, dict[str, Any]], path: str) -> dict[str, Any]:
    """Return the one entity of the data at a path of the results folder."""
    (found,) = [entity for entity in graph.values() if entity.get("alternateName") == path]
    return found


@pytest.fixture(scope="module")
def crates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a full crate, and one without a workflow, by their profiles."""
    folder = tmp_path_factory.mktemp("crates")
    found = {}
    for profile, roles in PROFILES.items():
        results = folder / profile
        results.mkdir()
        sheet = write_results(results, rich_run())
        (results / "Snakefile").rename(results / ODD_WORKFLOW)
        found[profile] = results / "run-crate"
        files = {role: results / roles[role] for role in roles}
        write_crate(found[profile], request_for(results, sheet, files=files))
    return found


def recommended(crates: dict[str, Path], profile: str, folder: Path) -> list[str]:
    """Return all that the validator finds in a crate, REQUIRED and RECOMMENDED."""
    return findings(crates[profile], seed_cache(folder / "cache"), "RECOMMENDED", profile)


WEB_FINDINGS = [
    f"RECOMMENDED None: Web-based Data Entity https://example.org/{name} is not available"
    for name in ("b%20image%20%5B1%5D.ome.zarr?token=REDACTED/", "data/a.tif")
]
KILLED_FINDING = (
    "RECOMMENDED ./#action/convert_image/d/0001: The Action SHOULD have an endTime in ISO 8601 "
    "format"
)
LOCAL_WORKFLOW = "The SoftwareApplication id SHOULD be an absolute URI"


def test_validator_accepts_the_crate(crates, tmp_path):
    """No REQUIRED finding, and of the RECOMMENDED those that docs/reference/run-crate.md lists."""
    assert recommended(crates, "provenance-run-crate", tmp_path) == [
        KILLED_FINDING,
        *WEB_FINDINGS,
        f"RECOMMENDED http://schema.org/SoftwareSourceCode: {LOCAL_WORKFLOW}",
        f"RECOMMENDED https://bioschemas.org/ComputationalWorkflow: {LOCAL_WORKFLOW}",
    ]


def test_validator_accepts_a_crate_without_a_workflow(crates, tmp_path):
    assert recommended(crates, "process-run-crate", tmp_path) == [KILLED_FINDING, *WEB_FINDINGS]


def test_crate_says_which_profiles_it_follows(crates):
    wanted = {
        "provenance-run-crate": [
            "wfrun/process",
            "wfrun/workflow",
            "wfrun/provenance",
            "crate/1.0",
        ],
        "process-run-crate": ["wfrun/process"],
    }
    for profile, parts in wanted.items():
        named = references(read_graph(crates[profile])["./"]["conformsTo"])
        assert len(named) == len(parts)
        assert all(part in name for part, name in zip(parts, named, strict=True))


def test_runcrate_reports_every_attempt(crates):
    text = io.StringIO()
    dump_crate_actions(crates["provenance-run-crate"], text)
    report = text.getvalue()
    actions = [line for line in report.splitlines() if line.startswith("action: ")]
    assert actions[0].startswith("action: #run/")
    assert len(actions) == 1 + len(rich_run())
    assert "  step: #step/segment-objects" in report
    assert "#images/a/image.ome.zarr@" in report
    assert "12.5 <- #parameter/segment-objects/setting/threshold.window_um" in report
    assert "#images/b/labels/nuclei.ome.zarr@" in report


def test_every_reference_leads_to_an_entity(crates):
    for crate in crates.values():
        graph = read_graph(crate)
        outside = {
            "https://w3id.org/ro/crate/1.1",
            "https://w3id.org/workflowhub/workflow-ro-crate/1.0",
        }
        outside |= {"https://w3id.org/ro/terms/workflow-run#DockerImage"}
        outside |= set(references(of_type(graph, "ComputerLanguage")))
        missing = set(references(list(graph.values()))) - set(graph) - outside
        assert missing == set()


def test_ome_zarr_is_one_dataset_with_its_digest(make):
    graph = make(example_run())
    image = artifact("image", "ome-zarr", "images/a/image.ome.zarr")
    entity = by_path(graph, image.uri)
    assert entity["@type"] == "Dataset"
    assert entity["identifier"] == image.digest
    assert entity["contentSize"] == str(image.size_bytes)
    assert "sha256" not in entity
    assert entity["@id"] not in references(graph["./"]["hasPart"])
    assert not [i for i in graph if "image.ome.zarr/" in i]


def test_file_has_sha256_and_format(make):
    graph = make(example_run())
    table = artifact("table", "table", "images/a/tables/nuclei.parquet")
    entity = by_path(graph, table.uri)
    assert entity["@type"] == "File"
    assert "sha256:" + entity["sha256"] == table.digest
    assert entity["encodingFormat"] == "application/vnd.apache.parquet"
    assert by_path(graph, "report.html")["encodingFormat"] == "text/html"
    assert by_path(graph, f"/data/{ODD}")["name"] == ODD


def test_source_on_the_web_is_part_of_the_crate(make):
    graph = make(example_run())
    source = graph["https://example.org/data/a.tif"]
    assert source["sdDatePublished"] == "2026-11-20T10:00:05.123+00:00"
    assert source["@id"] in references(graph["./"]["hasPart"])
    assert "alternateName" not in source


def test_originals_are_one_dataset_though_steps_call_them_file_and_folder(make):
    graph = make(example_run())
    entity = by_path(graph, "originals/a")
    assert entity["@type"] == "Dataset"
    assert {"@id": "#parameter/convert-image/input/source"} in entity["exampleOfWork"]
    assert {"@id": "#parameter/fetch-image/output/original"} in entity["exampleOfWork"]
    assert graph["#parameter/convert-image/input/source"]["additionalType"] == "Dataset"


def test_changed_source_on_the_web_is_two_entities(make):
    uri = "https://example.org/a.tif"
    old, new = artifact("source", "file", uri), artifact("source", "file", uri, "2")
    graph = make(
        [
            record("fetch-image", "a", inputs=(old,), outputs=(artifact("o", "file", "o/a"),)),
            record("fetch-image", "b", inputs=(new,), outputs=(artifact("o", "file", "o/b"),)),
        ]
    )
    for state in (old, new):
        assert graph[f"{uri}#{state.digest}"]["identifier"] == state.digest


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
    seeds = references(graph["#action/segment_objects/b/0002"]["additionalProperty"])
    assert [graph[i]["value"] for i in seeds if graph[i]["name"] == "seed"] == ["7"]


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


def test_crate_copies_workflow_config_and_sheet(make, tmp_path):
    graph = make(example_run())
    for role, name in (("workflow", "Snakefile"), ("config", "config.yaml")):
        copy = tmp_path / "run-crate" / role / name
        assert copy.read_bytes() == (tmp_path / name).read_bytes()
    workflow = graph["workflow/Snakefile"]
    assert graph["./"]["mainEntity"] == {"@id": "workflow/Snakefile"}
    assert workflow["version"] == "c0ffee"
    assert workflow["url"] == "https://example.org/workflow"


def test_workflow_is_of_the_newest_commit_and_engine(make):
    newer = SNAKEMAKE.model_copy(update={"version": "9.28.0"})
    records = chain("a", "/data/a.tif")
    changes = {"commit": "beef", "engine": newer, "started": START + timedelta(hours=1)}
    records[1] = records[1].model_copy(update=changes)
    graph = make(records, image_ids="a")
    workflow = graph["workflow/Snakefile"]
    assert workflow["version"] == "beef"
    assert graph[workflow["programmingLanguage"]["@id"]]["version"] == "9.28.0"


def test_line_ends_of_copies_are_kept(make, tmp_path):
    write_results(tmp_path, [])
    (tmp_path / "own.smk").write_bytes(b"rule all:\r\n    input: []\r\n")
    sheet = tmp_path / "samples.tsv"
    make(example_run(), files={"sheet": sheet, "workflow": tmp_path / "own.smk"})
    copy = tmp_path / "run-crate" / "workflow" / "own.smk"
    assert copy.read_bytes() == (tmp_path / "own.smk").read_bytes()


def test_secrets_in_addresses_stay_out(tmp_path):
    secret = "https://user:hunter2@example.org/a.tif?X-Amz-Signature=hunter2&part=1"
    records = chain("a", secret)
    records[2] = failed("segment-objects", "a", 2, parameters={"url": secret})
    records[3] = record("measure-objects", "a", 3, warnings=(f"slow: {secret}",))
    sheet = write_results(tmp_path, records, "a")
    sheet.write_text(f"image_id\tsource\na\t{secret}\n", encoding="utf-8")
    request = request_for(tmp_path, sheet, image_ids=["a"], description=f"From {secret}")
    summary = write_crate(tmp_path / "run-crate", request)
    for file in (tmp_path / "run-crate").rglob("*.*"):
        assert "hunter2" not in file.read_text(encoding="utf-8")
    copied = (tmp_path / "run-crate" / "sheet" / "samples.tsv").read_text(encoding="utf-8")
    assert "https://example.org/a.tif?X-Amz-Signature=REDACTED&part=1" in copied
    assert summary.warnings == (
        "What may be secrets in addresses is left out of the crate's copy of samples.tsv",
    )


def test_same_records_give_the_same_bytes(tmp_path):
    contents = []
    for name in ("one", "two"):
        results = tmp_path / name
        results.mkdir()
        sheet = write_results(results, rich_run())
        write_crate(results / "run-crate", request_for(results, sheet))
        files = sorted(file for file in (results / "run-crate").rglob("*") if file.is_file())
        contents.append({f.relative_to(results): f.read_bytes() for f in files})
    assert contents[0] == contents[1]
    assert len(contents[0]) == 5


def test_readme_tells_failures_and_images_without_records(make, tmp_path):
    make(example_run())
    readme = (tmp_path / "run-crate" / "README.md").read_text(encoding="utf-8")
    assert "- `c` at segment-objects: InputError: The image has no pixels: a.tif" in readme
    assert "- `d` at convert-image: The attempt started and never ended" in readme
    assert "- `b` at" not in readme
    assert "| segment-objects | 2 | 2 |" in readme
    assert "## Images that no step was run on\n\n- `e`\n" in readme


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
    graph = make(example_run(), agent=Agent(), workflow_url=None)
    assert not of_type(graph, "Person") + of_type(graph, "Organization")
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


def test_no_records_is_an_error(tmp_path):
    sheet = write_results(tmp_path, chain("a", "/data/a.tif"), "b")
    with pytest.raises(InputError, match="no records of the images"):
        write_crate(tmp_path / "run-crate", request_for(tmp_path, sheet, image_ids=["b"]))
    assert not (tmp_path / "run-crate").exists()


def test_workflow_of_unknown_language_is_an_error(tmp_path):
    sheet = write_results(tmp_path, example_run())
    request = request_for(tmp_path, sheet, files={"sheet": sheet, "workflow": sheet})
    with pytest.raises(ConfigurationError, match="language of the workflow"):
        write_crate(tmp_path / "run-crate", request)
    assert not (tmp_path / "run-crate").exists()


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_unreadable_file_is_an_error(tmp_path, content):
    sheet = write_results(tmp_path, example_run())
    config = tmp_path / "broken.yaml"
    if content is not None:
        config.write_bytes(content)
    request = request_for(tmp_path, sheet, files={"sheet": sheet, "config": config})
    with pytest.raises(InputError, match=r"config file cannot be read.*broken\.yaml"):
        write_crate(tmp_path / "run-crate", request)


def test_entities_grow_in_proportion_to_the_images(tmp_path):
    sizes = []
    for number in (20, 40):
        results = tmp_path / str(number)
        results.mkdir()
        records = [r for i in range(number) for r in chain(f"i{i}", f"/data/{i}.tif", i)]
        names = [f"i{i}" for i in range(number)]
        sheet = write_results(results, records, names)
        write_crate(results / "run-crate", request_for(results, sheet, image_ids=names))
        sizes.append(len(read_graph(results / "run-crate")))
    fixed = 2 * sizes[0] - sizes[1]
    per_image = (sizes[1] - sizes[0]) / 20
    assert 0 < fixed < 100
    assert per_image < 40


def test_times_are_in_utc(make):
    started = START.astimezone(timezone(timedelta(hours=5)))
    graph = make([segment("a", 0, started=started)])
    assert graph["#action/segment_objects/a/0001"]["startTime"] == "2026-11-20T10:00:00.123+00:00"
