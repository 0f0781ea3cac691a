"""The step record-run."""

from __future__ import annotations

import hashlib
import json
import shutil

import pytest
from pydantic import ValidationError

from crate_records import example_run, write_results
from parfocal.core.digest import digest_path
from parfocal.core.step import Context
from parfocal.errors import InputError
from parfocal.provenance.compare_runs import compare_crates
from parfocal.provenance.read_crate import read_crate
from parfocal.provenance.records import claim_attempt, iter_records, write_record
from parfocal.provenance.verify_graph import read_checked
from parfocal.steps.record_run import STEP, RecordRunParams

NO_LOCK = (
    "A lock file that attempts were run with is not in the crate: none beside the workflow has its "
    f"digest, sha256:{'ab' * 32}"
)


def run_step(tmp_path, roles=("sheet", "workflow", "config"), **params):
    """Run the step on the example run; return its context and the crate's entities."""
    files = {"sheet": "samples.tsv", "workflow": "Snakefile", "config": "config.yaml"}
    inputs = {"results": tmp_path} | {role: tmp_path / files[role] for role in roles}
    context = Context(scratch=tmp_path)
    STEP.run(inputs, {"crate": tmp_path / "run-crate"}, RecordRunParams(**params), context)
    text = (tmp_path / "run-crate" / "ro-crate-metadata.json").read_text(encoding="utf-8")
    return context, {entity["@id"]: entity for entity in json.loads(text)["@graph"]}


def test_writes_the_crate_of_the_sheet(tmp_path):
    write_results(tmp_path, example_run())
    context, graph = run_step(
        tmp_path,
        name="Nuclei",
        description="A test",
        licence="https://spdx.org/licenses/CC0-1.0",
        person_name="Josiah Carberry",
        person_orcid="0000-0002-1825-0097",
        organization_name="Example institute",
        organization_url="https://ror.org/000000000",
        workflow_url="https://example.org/workflow",
    )
    root = graph["./"]
    assert (root["name"], root["description"]) == ("Nuclei", "A test")
    assert root["license"] == {"@id": "https://spdx.org/licenses/CC0-1.0"}
    assert root["author"] == {"@id": "https://orcid.org/0000-0002-1825-0097"}
    assert root["publisher"] == {"@id": "https://ror.org/000000000"}
    assert root["mainEntity"] == {"@id": "workflow/Snakefile"}
    assert graph["workflow/Snakefile"]["url"] == "https://example.org/workflow"
    assert context.details == {"attempts_done": 11, "attempts_failed": 3, "open_failures": 2}
    assert context.warnings == [
        NO_LOCK,
        "There is no record of 1 of 5 images of the sheet: e",
    ]


def test_steps_of_the_whole_run_are_in_it(tmp_path):
    write_results(tmp_path, example_run())
    assert "#action/render_report/report/0001" in run_step(tmp_path)[1]


@pytest.mark.parametrize("status", ["done", "failed"])
def test_what_attaches_the_crate_does_not_change_it(tmp_path, status):
    write_results(tmp_path, example_run())
    run_step(tmp_path)
    first = digest_path(tmp_path / "run-crate")
    shutil.rmtree(tmp_path / "run-crate")
    (report,) = [each for each in iter_records(tmp_path) if each.step == "render-report"]
    receipt = report.outputs[0].model_copy(update={"uri": "annotation-receipt.json"})
    outputs = (receipt,) if status == "done" else ()
    later = {"step": "apply-annotations", "image_id": "_run", "status": status, "outputs": outputs}
    path, _ = claim_attempt(tmp_path, "apply_annotations", "_run")
    write_record(path, report.model_copy(update=later))
    run_step(tmp_path)
    assert digest_path(tmp_path / "run-crate") == first


def test_without_a_workflow_it_is_a_process_run(tmp_path):
    write_results(tmp_path, example_run())
    graph = run_step(tmp_path, roles=("sheet",))[1]
    assert graph["./"]["conformsTo"] == {"@id": "https://w3id.org/ro/wfrun/process/0.5"}
    assert "mainEntity" not in graph["./"]
    assert not [i for i in graph if i.startswith(("#control/", "#organize/", "#run/", "#step/"))]


def test_an_organization_alone_is_the_agent(tmp_path):
    write_results(tmp_path, example_run())
    graph = run_step(tmp_path, organization_name="Example institute")[1]
    organization = {"@id": "#organization/Example%20institute"}
    assert graph["./"]["author"] == organization
    assert graph["#action/convert_image/a/0001"]["agent"] == organization


GRANT = {"funder_name": "Council", "funder_url": "https://ror.org/000000001", "grant": "EX 1/4-1"}


@pytest.mark.parametrize(
    ("grant", "identifier", "url"),
    [
        ("EX 1/4-1", "#grant/Council/EX%201/4-1", None),
        ("10.12345/ex.1", "https://doi.org/10.12345/ex.1", "https://doi.org/10.12345/ex.1"),
        ("doi:10.12345/ex.1", "https://doi.org/10.12345/ex.1", "https://doi.org/10.12345/ex.1"),
        ("https://example.org/g/1", "https://example.org/g/1", "https://example.org/g/1"),
    ],
)
def test_funding_is_of_the_crate(tmp_path, grant, identifier, url):
    write_results(tmp_path, example_run())
    graph = run_step(tmp_path, **(GRANT | {"grant": grant, "grant_name": "Focus"}))[1]
    funder = {"@id": "https://ror.org/000000001"}
    assert graph["./"]["funding"] == {"@id": identifier}
    assert graph["./"]["funder"] == funder
    assert graph[funder["@id"]]["@type"] == "Organization"
    assert graph[funder["@id"]]["name"] == "Council"
    found = graph[identifier]
    assert (found["@type"], found["funder"], found["name"]) == ("Grant", funder, "Focus")
    assert (found["identifier"], found.get("url")) == (grant, url)


def test_without_a_grant_there_is_the_funder_alone(tmp_path):
    write_results(tmp_path, example_run())
    graph = run_step(tmp_path, funder_name="Council")[1]
    assert graph["./"]["funder"] == {"@id": "#organization/Council"}
    assert "funding" not in graph["./"]


def test_only_images_of_the_sheet_are_in_it(tmp_path):
    write_results(tmp_path, example_run(), "a")
    context, graph = run_step(tmp_path)
    images = {i.split("/")[2] for i in graph if i.startswith("#action/")}
    assert images == {"a", "report"}
    assert context.warnings == [NO_LOCK]


def test_secrets_are_warned_about(tmp_path):
    write_results(tmp_path, example_run())
    config = tmp_path / "config.yaml"
    config.write_text("source: https://me:pw@example.org/a.tif\n", encoding="utf-8")
    warnings = run_step(tmp_path)[0].warnings
    assert [w for w in warnings if "secrets" in w and "config.yaml" in w]


@pytest.mark.parametrize(
    "field",
    [
        "licence",
        "organization_url",
        "workflow_url",
        "funder_url",
        "grant",
        "funder_name",
        "name",
        "person_name",
        "organization_name",
    ],
)
def test_secrets_in_addresses_of_people_and_terms_stay_out(tmp_path, field):
    write_results(tmp_path, example_run())
    given = {"person_name": "Jo", "organization_name": "Institute", "funder_name": "Funder"}
    address = "https://jo:Hidden1@example.org/x?token=Hidden2"
    graph = run_step(tmp_path, **(given | {field: address}))[1]
    files = [path for path in (tmp_path / "run-crate").rglob("*") if path.is_file()]
    assert not [path for path in files if b"Hidden" in path.read_bytes()]
    references = [graph["./"][n]["@id"] for n in ("author", "publisher", "license", "funder")]
    assert set(references) <= set(graph)


def write_workflow(tmp_path):
    """Write a Snakefile that takes in rules of all kinds of places."""
    write_results(tmp_path, example_run())
    texts = {
        "flow/Snakefile": 'module one:\n    snakefile:\n        "../rules/one.smk"\n'
        "include: 'two.smk'\ninclude: 'rules/one.smk'  # its own\ninclude: config['x']\n"
        "include: 'https://jo:Hidden@example.org/x.smk'\n# include: 'no.smk'\n",
        "rules/one.smk": 'include: "deep/three.smk"\n',
        "rules/deep/three.smk": 'include: "../one.smk"\n',
        "flow/two.smk": "rule two:\n",
        "flow/rules/one.smk": "rule own:\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "Snakefile").unlink()
    (tmp_path / "Snakefile").symlink_to("flow/Snakefile")
    return texts


def test_rules_that_the_workflow_takes_in_are_in_the_crate(tmp_path):
    texts = write_workflow(tmp_path)
    inputs = {"results": tmp_path, "sheet": tmp_path / "samples.tsv"}
    context = Context(scratch=tmp_path)
    inputs["workflow"] = tmp_path / "flow/Snakefile"
    STEP.run(inputs, {"crate": tmp_path / "run-crate"}, RecordRunParams(), context)
    copies = {path.read_text() for path in (tmp_path / "run-crate/rules").rglob("*.smk")}
    assert copies == {text for name, text in texts.items() if name.endswith(".smk")}
    crate = read_crate(tmp_path / "run-crate")
    names = {name for name in crate.data if name.startswith("rules/")}
    assert {"rules/one.smk", "rules/two.smk", "rules/three.smk"} < names
    assert len(names) == 4
    assert crate.findings == []
    told = [warning for warning in context.warnings if warning.startswith("The rules")]
    assert len(told) == 2
    assert "Hidden" not in str(told)


def test_rules_are_not_taken_from_strangers(tmp_path, monkeypatch):
    write_workflow(tmp_path)
    monkeypatch.setattr("parfocal.models.strangers.from_strangers", lambda: True)
    graph = run_step(tmp_path)[1]
    assert not [name for name in graph if name.startswith("rules/")]


def write_clone(tmp_path, lock_digests):
    """Write a run of a workflow in a clone with two lock files; return the Snakefile."""
    records = [
        one.model_copy(update={"lock_digest": lock_digests.get(one.image_id)})
        for one in example_run()
    ]
    write_results(tmp_path, records)
    (tmp_path / "clone" / "envs").mkdir(parents=True)
    for name, text in LOCKS.items():
        (tmp_path / "clone" / "envs" / name).write_bytes(text.encode())
    workflow = tmp_path / "clone" / "workflows" / "analyse" / "Snakefile"
    workflow.parent.mkdir(parents=True)
    (tmp_path / "Snakefile").rename(workflow)
    return workflow


LOCKS = {
    "workflow.lock.txt": "one==1.0 \\\r\n    --hash=sha256:00\r\n",
    "container.lock.txt": "two==2.0 \\\n    --hash=sha256:11\n",
    "dev.lock.txt": "three==3.0 \\\n    --hash=sha256:22\n",
}


def lock_digest(name):
    return f"sha256:{hashlib.sha256(LOCKS[name].encode()).hexdigest()}"


def test_the_lock_files_that_records_name_are_in_the_crate(tmp_path):
    digests = {
        "a": lock_digest("workflow.lock.txt"),
        "b": lock_digest("container.lock.txt"),
        "c": "sha256:" + "0" * 64,
    }
    workflow = write_clone(tmp_path, digests)
    inputs = {"results": tmp_path, "sheet": tmp_path / "samples.tsv", "workflow": workflow}
    context = Context(scratch=tmp_path)
    STEP.run(inputs, {"crate": tmp_path / "run-crate"}, RecordRunParams(), context)
    lock = tmp_path / "run-crate" / "lock"
    copies = {path.name: path.read_bytes().decode() for path in lock.iterdir()}
    assert copies == {name: text for name, text in LOCKS.items() if name != "dev.lock.txt"}
    crate = read_checked(tmp_path / "run-crate")
    assert crate.findings == []
    assert crate.data["lock/workflow.lock.txt"].digest == digests["a"]
    text = (tmp_path / "run-crate" / "ro-crate-metadata.json").read_text(encoding="utf-8")
    graph = {entity["@id"]: entity for entity in json.loads(text)["@graph"]}
    required = {one["@id"] for one in graph["workflow/Snakefile"]["softwareRequirements"]}
    assert required == {f"lock/{name}" for name in copies}
    (told,) = [warning for warning in context.warnings if "lock file" in warning]
    assert told.endswith(digests["c"])
    (run,) = [entity for name, entity in graph.items() if name.startswith("#run/")]
    assert "lock/" not in json.dumps(run)
    rows = compare_crates(crate, without_locks(tmp_path, inputs)).rows
    assert [row for row in rows if row.kind == "file"] == []


def without_locks(tmp_path, inputs):
    """Return a crate of the same run from a clone that has other lock files now."""
    for path in (tmp_path / "clone" / "envs").iterdir():
        path.write_text("other==1.0\n", encoding="utf-8")
    crate, context = tmp_path / "other-crate", Context(scratch=tmp_path)
    STEP.run(inputs, {"crate": crate}, RecordRunParams(), context)
    return read_crate(crate)


@pytest.mark.parametrize("case", ["no digest", "no workflow", "strangers"])
def test_no_lock_file_is_in_the_crate_where_none_is_known(tmp_path, monkeypatch, case):
    digest = None if case == "no digest" else lock_digest("workflow.lock.txt")
    workflow = write_clone(tmp_path, dict.fromkeys("abcd", digest))
    inputs = {"results": tmp_path, "sheet": tmp_path / "samples.tsv", "workflow": workflow}
    if case == "no workflow":
        del inputs["workflow"]
    if case == "strangers":
        monkeypatch.setattr("parfocal.models.strangers.from_strangers", lambda: True)
    context = Context(scratch=tmp_path)
    STEP.run(inputs, {"crate": tmp_path / "run-crate"}, RecordRunParams(), context)
    assert not (tmp_path / "run-crate" / "lock").exists()
    told = [warning for warning in context.warnings if "lock file" in warning]
    assert len(told) == (case == "strangers")


def test_a_folder_without_records_is_the_users_error(tmp_path):
    write_results(tmp_path, [])
    with pytest.raises(InputError, match="no records of the images") as caught:
        run_step(tmp_path)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("orcid", ["0000-0002-1825-0097", "0000-0002-1694-233X"])
def test_an_orcid_that_checks_out_is_taken(orcid):
    assert RecordRunParams(person_name="J", person_orcid=orcid).person_orcid == orcid


@pytest.mark.parametrize(
    "params",
    [
        {"person_orcid": "0000-0002-1825-0097"},
        {"organization_url": "https://ror.org/000000000"},
        {"person_name": "J", "person_orcid": "1825"},
        {"person_name": "J", "person_orcid": "0000-0002-1825-0098"},
        {"person_name": "J", "person_orcid": "0000-0002-1694-2339"},
        {"licence": "CC-BY"},
        {"funder_url": "https://ror.org/000000001"},
        {"grant": "EX 123/4-1"},
        {"funder_name": "Council", "grant_name": "Focus"},
        {"funder_name": "Council", "grant": " "},
        {"name": ""},
        {"unknown": 1},
    ],
)
def test_wrong_parameters_are_refused(params):
    with pytest.raises(ValidationError):
        RecordRunParams(**params)
