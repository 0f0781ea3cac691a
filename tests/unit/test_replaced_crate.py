"""What record-run --replace takes the place of."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from crate_records import example_run, write_results
from parfocal.engine import run_step
from parfocal.errors import OutputExistsError
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


def test_what_is_empty_is_replaced(results):
    for name in ("folder", "file.zip"):
        path: Path = results / name
        path.mkdir() if name == "folder" else path.touch()
        assert make(results, path).digests
