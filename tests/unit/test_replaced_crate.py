"""What record-run --replace takes the place of."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from crate_records import artifact, example_run, record, write_results
from parfocal.core.digest import digest_path
from parfocal.engine import run_step
from parfocal.errors import OutputExistsError
from parfocal.models.record import Artifact
from parfocal.provenance.verify_lists import DigestLists
from parfocal.steps.record_run import STEP


@pytest.fixture
def results(tmp_path):
    """Return a folder with the records of a run."""
    write_results(tmp_path, example_run())
    return tmp_path


def make(results, crate):
    """Make the crate of the run in place of what lies there."""
    inputs = {"results": results, "sheet": results / "samples.tsv"}
    return run_step(STEP, inputs, {"crate": crate}, existing="replace")


def files(folder):
    return {
        path: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "record_run" not in path.parts
    }


@pytest.mark.parametrize("kind", ["folder", "crate of another", "file", "zip file"])
def test_what_is_no_run_crate_is_kept(results, kind):
    path = results / ("precious.zip" if kind in ("file", "zip file") else "precious")
    if kind == "file":
        path.write_text("a thesis")
    elif kind == "zip file":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("thesis.txt", "a thesis")
    else:
        path.mkdir()
        (path / "thesis.txt").write_text("a thesis")
    if kind == "crate of another":
        (path / "ro-crate-metadata.json").write_text('{"@graph": [{"@id": "./"}]}')
    before = files(results)
    with pytest.raises(OutputExistsError, match="is none, and is not replaced"):
        make(results, path)
    assert files(results) == before


@pytest.mark.parametrize("name", ["run-crate", "run-crate.zip"])
def test_a_run_crate_is_replaced_by_the_same(results, name):
    first = make(results, results / name)
    assert make(results, results / name).digests == first.digests


def test_a_crate_whose_metadata_an_engine_deleted_is_replaced(results):
    crate = results / "run-crate"
    first = make(results, crate)
    (crate / "ro-crate-metadata.json").unlink()
    assert make(results, crate).digests == first.digests
    (crate / "ro-crate-metadata.json").unlink()
    (crate / "thesis.txt").write_text("a thesis")
    with pytest.raises(OutputExistsError, match="is none, and is not replaced"):
        make(results, crate)
    assert (crate / "thesis.txt").exists()


def write_full_run(results):
    """Write a run whose crate has all that a crate may have; return the inputs of record-run."""
    lines = b"00  zarr.json\n"
    merkle = f"zarr-merkle-sha256:{hashlib.sha256(lines).hexdigest()}"
    DigestLists(results / "digests").keep(merkle, lines)
    truth, lock = results / "truth.tsv", results / "clone/envs/workflow.lock.txt"
    workflow = results / "clone/workflows/own/Snakefile"
    for path, text in {
        truth: "label\n",
        lock: "one==1.0\n",
        workflow: 'include: "more.smk"\n',
        workflow.with_name("more.smk"): "rule all:\n",
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    used = [("image", results / "image.ome.zarr", merkle), ("truth", truth, digest_path(truth))]
    taken = tuple(Artifact(role=r, kind="file", uri=str(at), digest=d) for r, at, d in used)
    made = artifact("scores", "json", "images/a/scores.json")
    told = {"inputs": taken, "outputs": (made,), "lock_digest": digest_path(lock)}
    write_results(results, [record("score-objects", "a", **told)])
    names = {"sheet": "samples.tsv", "config": "config.yaml", "results": ""}
    return {role: results / name for role, name in names.items()} | {"workflow": workflow}


def test_a_crate_with_all_that_may_be_in_it_is_replaced_without_its_metadata(tmp_path):
    inputs, crate = write_full_run(tmp_path), tmp_path / "run-crate"
    params = {"include_inputs": True, "include_digest_lists": True}
    for _ in range(2):
        run_step(STEP, inputs, {"crate": crate}, params, existing="replace")
        assert {path.name for path in crate.iterdir()} == {
            *("README.md", "config", "digests", "inputs", "lock", "ro-crate-metadata.json"),
            *("rules", "sheet", "workflow"),
        }
        (crate / "ro-crate-metadata.json").unlink()


def test_what_is_empty_is_replaced(results):
    for name in ("folder", "file.zip"):
        path: Path = results / name
        path.mkdir() if name == "folder" else path.touch()
        assert make(results, path).digests
