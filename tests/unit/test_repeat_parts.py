"""What a repeated run is made of: parameters, paths, configuration, environment."""

import platform
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crate_graphs import write_graph
from crate_records import artifact, chain, example_run, record
from parfocal.core.digest import digest_path
from parfocal.engine.repeat import facts as repeat_facts
from parfocal.engine.repeat.config import parse_config
from parfocal.engine.repeat.environment import Difference, compare_environment, how_to_build
from parfocal.engine.repeat.facts import facts_here
from parfocal.engine.repeat.sheet import place_rows
from parfocal.engine.repeat.steps import recorded_parameters
from parfocal.engine.repeat.workflow import placed_config
from parfocal.errors import ConfigurationError, InputError
from parfocal.models.record import Record
from parfocal.provenance.read_crate import read_crate
from parfocal.provenance.read_crate_newest import newest_attempts
from parfocal.provenance.verify_places import Places
from parfocal.steps import STEPS

MADE = (artifact("made", "file", "images/a/made.bin"),)
KNOWN = {step.name: step for step in STEPS}


def crate_of(folder: Path, *records: Record, roles: tuple[str, ...] = ("sheet",)):
    write_graph(folder, list(records), *roles)
    crate = read_crate(folder / "run-crate")
    return crate, [action for action, _ in newest_attempts(crate)]


@pytest.mark.parametrize(
    ("step", "given"),
    [
        ("segment-objects", {}),
        ("segment-objects", {"threshold": {"method": "manual", "value": 12.5}, "label_name": "7"}),
        ("segment-objects", {"label_name": "null", "channel": 3, "min_diameter_um": 2}),
        ("convert-image", {"axes": "ZYX", "chunk_px": 64, "second_reader": None}),
        ("filter-image", {"filter": {"method": "gaussian", "sigma_px": 2}}),
        ("render-report", {"title": "true"}),
        ("render-report", {"title": "1e3"}),
        ("render-report", {"title": '"quoted"'}),
        ("plan-annotations", {"key_values": {"columns": ["1", "b"]}, "tags": []}),
    ],
)
def test_parameters_come_back_as_they_were(tmp_path, step, given):
    params = KNOWN[step].params.model_validate(given)
    told = params.model_dump(mode="json")
    crate, (action,) = crate_of(tmp_path, record(step, "a", 1, outputs=MADE, parameters=told))
    assert recorded_parameters(crate, action, KNOWN[step]) == params


@pytest.mark.parametrize(
    "parameters", [{"chanel": 1}, {"edge_fraction": -1}, {"threshold": {"a.b": 1}}]
)
def test_parameters_that_are_none_are_refused(tmp_path, parameters):
    told = record("segment-objects", "a", 1, outputs=MADE, parameters=parameters)
    crate, (action,) = crate_of(tmp_path, told)
    with pytest.raises(InputError, match="are none that it has here"):
        recorded_parameters(crate, action, KNOWN["segment-objects"])


SHEET = "image_id\tsource\tground_truth\tnote\n"


def placed(folder, row, name, maps=None):
    crate, actions = crate_of(folder, chain("a", name)[0])
    places = Places(folder, maps or {})
    return place_rows(f"{SHEET}a\t{row}\n", crate, actions, KNOWN, places)


def test_relative_paths_are_relative_to_where_the_run_was(tmp_path):
    found = placed(tmp_path, "in/a.tif\ttruth/a.tif\tin/a.tif", "/work/in/in/a.tif")
    assert found.base == Path("/work/in")
    (row,) = found.rows
    assert (row.source, row.free["ground_truth"]) == ("/work/in/in/a.tif", "/work/in/truth/a.tif")
    assert row.free["note"] == "in/a.tif"
    assert found.absent == {"/work/in/in/a.tif", "/work/in/truth/a.tif"}


def test_paths_are_mapped_and_those_there_are_not_absent(tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "a.tif").write_text("x")
    found = placed(tmp_path, "in/a.tif\t\t", "/work/in/a.tif", {"/work/in": str(tmp_path / "new")})
    assert found.rows[0].source == str(tmp_path / "new" / "a.tif")
    assert found.absent == set()


@pytest.mark.parametrize(
    ("source", "maps", "expected"),
    [
        ("https://example.org/a.tif", {}, "https://example.org/a.tif"),
        ("s3://bucket/in/a.tif", {"s3://bucket": "/mnt/b"}, "/mnt/b/in/a.tif"),
        ("idr:image/7", {}, "idr:image/7"),
        ("/data/a.tif", {}, "/data/a.tif"),
        ("file:///data/a%20b.tif", {}, "/data/a b.tif"),
    ],
)
def test_addresses_stay_and_absolute_paths_do_too(tmp_path, source, maps, expected, caplog):
    found = placed(tmp_path, f"{source}\t\t", "/other/a.tif", maps)
    assert found.rows[0].source == expected
    assert not caplog.records


def test_an_unknown_working_folder_is_told(tmp_path, caplog):
    found = placed(tmp_path, "b.tif\t\t", "/other/a.tif")
    assert found.base == Path.cwd()
    assert "does not tell which folder" in caplog.text


def test_a_copy_that_is_no_sheet_is_refused(tmp_path):
    crate, actions = crate_of(tmp_path, *example_run())
    with pytest.raises(
        ConfigurationError, match=r"run-crate, sheet/samples\.tsv, row 1; .*missing"
    ):
        place_rows("x\ty\n", crate, actions, KNOWN, Places(tmp_path, {}))


CONFIG = """
sheet: /elsewhere/s.tsv
results: /elsewhere/results
compute: {engine: slurm}
resource_model: /elsewhere/model.json
batch_size: 7
annotate: {enabled: true, apply: true}
segment_objects: {model: {method: onnx, path: models/m.onnx}}
"""


def test_the_configuration_writes_nothing_elsewhere(tmp_path, caplog):
    places = Places(tmp_path, {"/base/models": "/mnt/models"})
    config = placed_config(parse_config(CONFIG, tmp_path), Path("/base"), places)
    assert config == {
        "sheet": "samples.tsv",
        "results": "results",
        "compute": {"engine": "threads"},
        "resource_model": None,
        "batch_size": 7,
        "annotate": {"enabled": True, "apply": False},
        "segment_objects": {"model": {"method": "onnx", "path": "/mnt/models/m.onnx"}},
    }
    assert "not written to the server" in caplog.text


BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- a", "keys and values"),
        ("{", "keys and values as JSON"),
        ("", "found NoneType"),
        ("!!python/object/apply:os.system [ls]", "no tags"),
        ("render_report: &a {title: *a}", "no aliases"),
        (BOMB, r"no aliases; found \*a0"),
        ("title: 2020-01-01", "as JSON has them"),
        ("title: 2020-99-01", "as JSON has them"),
        ("title: 0x_", "as JSON has them"),
        ("title: .nan", "as JSON has them"),
        ('title: "\\uD800"', "as JSON has them"),
        ("{true: 1, a: 2}", "as JSON has them"),
        ("x: !!binary aGVsbG8=", "no tags"),
        ("x: !!bool maybe", "no tags"),
        ("x: !!set {a}", "no tags"),
        ("x: " + "[" * 5000, "lists and mappings"),
        ("x: " + "y" * 300_000, "at most 262144 characters"),
    ],
)
def test_what_is_no_configuration_is_refused(tmp_path, text, told):
    with pytest.raises(InputError, match=f"copy of the configuration.*{told}"):
        parse_config(text, tmp_path)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Return the Snakefile of a clone whose lock file names what is installed here."""
    workflow = tmp_path / "clone" / "workflows" / "x" / "Snakefile"
    workflow.parent.mkdir(parents=True)
    (tmp_path / "clone" / "envs").mkdir()
    return workflow


def git(folder, *arguments):
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def compared(crate, actions, workflow=None):
    facts = facts_here(STEPS, workflow)
    return compare_environment(crate, actions, facts, is_workflow=workflow is not None)


def test_environments_are_compared(tmp_path, repository):
    lock = repository.parents[2] / "envs" / "workflow.lock.txt"
    lock.write_text("numpy==0.1 \\\n    --hash=sha256:00\nnothing-such==1 ; os_name == 'x'\n")
    run = [one.model_copy(update={"commit": "0" * 40}) for one in chain("a", "/data/a.tif")]
    (tmp_path / "run").mkdir()
    crate, actions = crate_of(tmp_path / "run", *run, roles=("sheet", "config", "workflow"))
    repository.write_text((tmp_path / "run" / "Snakefile").read_text() + "# changed\n")
    git(repository.parents[2], "init", "-q")
    git(repository.parents[2], "add", ".")
    git(repository.parents[2], "commit", "-q", "-m", "All")
    head = git(repository.parents[2], "rev-parse", "HEAD")
    found = {d.what: d for d in compared(crate, actions, repository)}
    assert found["commit"] == Difference("commit", "0" * 40, head)
    assert found["lock file"].recorded == "sha256:" + "ab" * 32
    assert found["packages"].recorded == "numpy 0.1"
    assert found["workflow"].recorded != found["workflow"].here
    assert f"git checkout {'0' * 40}" in how_to_build(found.values(), facts_here(STEPS))
    repository.write_text((tmp_path / "run" / "Snakefile").read_text())
    lock.write_text("")
    found = {d.what: d for d in compared(crate, actions, repository)}
    assert {"workflow", "packages"}.isdisjoint(found)
    assert found["commit"].here == f"{head}-dirty"


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        ({"numpy": np.__version__}, None),
        ({"numpy": "0.2"}, ("numpy==0.2", f"numpy=={np.__version__}")),
        ({}, ("numpy 0.1", f"numpy {np.__version__}")),
    ],
    ids=["the same", "another", "none then"],
)
def test_packages_that_were_not_as_locked_are_compared(tmp_path, repository, recorded, expected):
    (repository.parents[2] / "envs" / "workflow.lock.txt").write_text("numpy==0.1\n")
    run = [one.model_copy(update={"unlocked": recorded}) for one in chain("a", "/data/a.tif")]
    (tmp_path / "run").mkdir()
    crate, actions = crate_of(tmp_path / "run", *run, roles=("sheet", "config", "workflow"))
    repository.write_text((tmp_path / "run" / "Snakefile").read_text())
    found = {d.what: (d.recorded, d.here) for d in compared(crate, actions, repository)}
    assert found.get("packages") == expected


def here(monkeypatch, workflow):
    """Let Parfocal run from the clone of a Snakefile, without what a container says."""
    monkeypatch.setattr(repeat_facts, "own_workflow", lambda: workflow)
    for name in ("PARFOCAL_COMMIT", "PARFOCAL_LOCK_DIGEST", "PARFOCAL_IMAGE_DIGEST"):
        monkeypatch.delenv(name, raising=False)


def single_steps(folder, **changes):
    """Return a crate of steps as they are here, with other facts in their records."""
    folder.mkdir()
    run = [
        one.model_copy(update={"step_version": KNOWN[one.step].version} | changes)
        for one in chain("a", "/data/a.tif")
    ]
    return crate_of(folder, *run)


def test_of_single_steps_commit_and_lock_file_are_compared(tmp_path, repository, monkeypatch):
    here(monkeypatch, repository)
    repository.write_text("# rules\n")
    lock = repository.parents[2] / "envs" / "workflow.lock.txt"
    lock.write_text("")
    git(repository.parents[2], "init", "-q")
    git(repository.parents[2], "add", ".")
    git(repository.parents[2], "commit", "-q", "-m", "All")
    head, digest = git(repository.parents[2], "rev-parse", "HEAD"), digest_path(lock)
    same = single_steps(tmp_path / "same", commit=head, lock_digest=digest)
    assert compared(*same) == []
    other = single_steps(tmp_path / "other", commit="f" * 40, lock_digest=f"sha256:{'f' * 64}")
    assert compared(*other) == [
        Difference("commit", "f" * 40, head),
        Difference("lock file", f"sha256:{'f' * 64}", digest),
    ]
    untold = single_steps(tmp_path / "untold", commit=None, lock_digest=None)
    assert compared(*untold) == [
        Difference("commit", "not recorded", head),
        Difference("lock file", "not recorded", digest),
    ]
    repository.write_text("# changed\n")
    assert compared(*same) == [Difference("commit", head, f"{head}-dirty")]


def test_outside_of_a_clone_the_container_tells_commit_and_lock_file(tmp_path, monkeypatch):
    here(monkeypatch, tmp_path / "none" / "workflows" / "x" / "Snakefile")
    crate = single_steps(tmp_path / "run")
    assert compared(*crate) == [
        Difference("commit", "c0ffee", "not known"),
        Difference("lock file", "sha256:" + "ab" * 32, "none"),
    ]
    monkeypatch.setenv("PARFOCAL_COMMIT", "c0ffee")
    monkeypatch.setenv("PARFOCAL_LOCK_DIGEST", "sha256:" + "ab" * 32)
    assert compared(*crate) == []


def test_another_container_and_other_behaviour_are_told(tmp_path):
    image = f"docker.io/parfocal/parfocal@sha256:{'cd' * 32}"
    crate, actions = single_steps(tmp_path / "run", image_digest=image, step_version="99")
    found = {d.what: d for d in compared(crate, actions)}
    assert found["container"] == Difference("container", image, "none")
    assert found["behaviour of segment-objects"].recorded == "99"
    assert image in how_to_build(found.values(), facts_here(STEPS))


def test_a_dirty_commit_cannot_be_had():
    found = [Difference("commit", "abc1234-dirty", "def")]
    assert "git checkout abc1234 " in how_to_build(found, facts_here(STEPS))
    assert "in no commit" in how_to_build(found, facts_here(STEPS))


@pytest.mark.parametrize(
    ("recorded", "told"),
    [("none", "outside of containers"), (f"x@sha256:{'cd' * 32}", "in a container of that image")],
)
def test_within_a_container_one_is_sent_out_of_it(recorded, told):
    inside = replace(facts_here(STEPS), container=f"localhost/parfocal@sha256:{'ab' * 32}")
    found = [Difference("container", recorded, inside.container)]
    assert told in how_to_build(found, inside)
    assert "git clone" not in how_to_build(found, inside)


def test_another_python_is_told(tmp_path):
    run = [one.model_copy(update={"python_version": "3.9.1"}) for one in chain("a", "/data/a.tif")]
    crate, actions = crate_of(tmp_path, *run)
    found = {d.what: d for d in compared(crate, actions)}
    assert found["python"] == Difference("python", "3.9.1", platform.python_version())
