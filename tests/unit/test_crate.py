"""Run crates: what is in them, and what the public tools make of them."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from runcrate.report import dump_crate_actions

from crate_graphs import (
    by_path,
    of_type,
    read_graph,
    references,
    request_for,
    rich_run,
    write_graph,
)
from crate_records import (
    ODD,
    SNAKEMAKE,
    START,
    artifact,
    chain,
    example_run,
    failed,
    record,
    write_results,
)
from parfocal.core.digest import digest_path
from parfocal.errors import ConfigurationError, InputError
from parfocal.models.record import Artifact
from parfocal.provenance.crate import write_crate
from parfocal.provenance.verify_graph import read_checked
from rocrate_cache import findings, seed_cache

ODD_WORKFLOW = "odd $ [1] ü.smk"
PROFILES = {
    "provenance-run-crate": {
        "sheet": "samples.tsv",
        "config": "config.yaml",
        "workflow": ODD_WORKFLOW,
    },
    "process-run-crate": {"sheet": "samples.tsv"},
}


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., dict[str, dict[str, Any]]]:
    """Return what writes a crate of records, and returns its entities by id."""
    return partial(write_graph, tmp_path)


@pytest.fixture(scope="module")
def crates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a full crate, and one without a workflow, by their profiles."""
    folder = tmp_path_factory.mktemp("crates")
    found = {}
    for profile, roles in PROFILES.items():
        results = folder / profile
        results.mkdir()
        truth = results / "truth $ ü.tsv"
        truth.write_text("label\n1\n", encoding="utf-8")
        taken = [Artifact(role="truth", kind="file", uri=str(truth), digest=digest_path(truth))]
        records = rich_run()
        records[1] = records[1].model_copy(update={"inputs": (*records[1].inputs, *taken)})
        lock = results / "workflow.lock.txt"
        lock.write_text("one==1.0\n", encoding="utf-8")
        records[4] = records[4].model_copy(update={"lock_digest": digest_path(lock)})
        sheet = write_results(results, records)
        (results / "Snakefile").rename(results / ODD_WORKFLOW)
        found[profile] = results / "run-crate"
        files = {role: results / roles[role] for role in roles}
        rules = {"rules/deep/odd $.smk": sheet} if "workflow" in roles else {}
        given = {"files": files, "rules": rules, "locks": [lock]}
        write_crate(found[profile], request_for(results, sheet, **given, include_inputs=True))
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


@pytest.mark.parametrize("profile", ["workflow-run-crate", "provenance-run-crate"])
def test_validator_accepts_the_crate(crates, tmp_path, profile):
    """No REQUIRED finding, and of the RECOMMENDED those that docs/reference/run-crate.md lists."""
    both = crates | {"workflow-run-crate": crates["provenance-run-crate"]}
    assert recommended(both, profile, tmp_path) == [
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


def test_the_readme_says_of_what_kind_a_crate_is(crates):
    kinds = {
        "provenance-run-crate": "Provenance Run Crate",
        "process-run-crate": "Process Run Crate",
    }
    for profile, kind in kinds.items():
        assert f"This is a {kind}: " in (crates[profile] / "README.md").read_text(encoding="utf-8")


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


def test_a_crate_with_a_workflow_has_its_lock_file(crates):
    graph = read_graph(crates["provenance-run-crate"])
    workflow = graph[graph["./"]["mainEntity"]["@id"]]
    assert workflow["softwareRequirements"] == {"@id": "lock/workflow.lock.txt"}
    lock = graph["lock/workflow.lock.txt"]
    copy = crates["provenance-run-crate"] / lock["@id"]
    assert digest_path(copy) == "sha256:" + lock["sha256"]
    assert "lock/workflow.lock.txt" not in read_graph(crates["process-run-crate"])


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


def test_verification_misses_nothing_in_whole_crates(crates):
    for crate in crates.values():
        assert read_checked(crate).findings == []


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
    assert "What may be secrets in addresses is left out of the crate's copy of samples.tsv" in (
        summary.warnings
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
