"""Crates that carry the inputs of their runs, and runs that are repeated from them alone."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from crate_graphs import by_path, read_graph, write_graph
from crate_records import chain, failed, record
from parfocal.cli.repeat_run import repeat_run
from parfocal.cli.verify_run import verify_run
from parfocal.core.digest import digest_path
from parfocal.core.step import Context
from parfocal.engine.repeat import run as repeated_run
from parfocal.errors import ConfigurationError, InputError, StorageError, VerificationError
from parfocal.models.manifest import read_manifest
from parfocal.models.record import Artifact
from parfocal.provenance.carried_inputs import take_out
from parfocal.provenance.crate_signature import unlisted
from parfocal.provenance.read_crate import read_crate
from parfocal.provenance.repeat_inputs import check_inputs
from parfocal.provenance.verify_places import Places
from parfocal.steps.record_run import STEP
from verified_runs import edit_graph, flip, make_crate, make_run, pack, pack_in_folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a folder with a crate that carries the inputs of its run, and nothing else of it."""
    folder = tmp_path_factory.mktemp("run")
    make_run(folder)
    shutil.copytree(make_crate(folder / "results", include_inputs=True), folder / "crate")
    shutil.rmtree(folder / "results")
    shutil.rmtree(folder / "data")
    return folder


@pytest.fixture
def run(made, tmp_path):
    return shutil.copytree(made / "crate", tmp_path / "crate")


def again(crate, folder):
    return repeat_run([str(crate), f"--folder={folder}", "--threads=2"])


def copy_in(crate):
    (path,) = (path for path in (crate / "inputs").rglob("*") if path.is_file())
    return path


def of_files(folder, *paths, digests=()):
    """Return a crate that carries files and folders, and what told its maker."""
    inputs = [
        Artifact(role=f"r{n}", kind="file", uri=str(path), digest=digest)
        for n, (path, digest) in enumerate(
            zip(paths, digests or map(digest_path, paths), strict=True)
        )
    ]
    result = (Artifact(role="m", kind="file", uri="made.bin", digest="sha256:" + "0" * 64),)
    step = record("filter-image", "a", 1, inputs=tuple(inputs), outputs=result)
    write_graph(folder, [step], "sheet", image_ids="a", include_inputs=True)
    return read_crate(folder / "run-crate")


@pytest.mark.parametrize("pack", [None, pack, pack_in_folder])
def test_a_run_is_repeated_from_its_crate_alone(run, tmp_path, capsys, pack):
    crate = run
    if pack:
        crate = pack(run)
        shutil.rmtree(run)
    assert again(crate, tmp_path / "again") == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "6 results are the same, 0 differ",
        "identical",
    ]
    (manifest,) = (tmp_path / "again").rglob("manifest.json")
    assert str(tmp_path / "again" / "inputs") in manifest.read_text()


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_a_changed_copy_is_refused_and_leaves_nothing(run, tmp_path, form):
    flip(copy_in(run))
    crate = pack(run) if form == "zip" else run
    with pytest.raises(InputError, match=r"copy of an input was changed.*inputs/\w+/a\.tif"):
        again(crate, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_longer_copy_is_not_written_further_than_the_crate_tells(run, tmp_path):
    with copy_in(run).open("ab") as stream:
        stream.truncate(copy_in(run).stat().st_size + (1 << 30))
    with pytest.raises(InputError, match="copy of an input was changed"):
        again(run, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_what_fails_later_leaves_a_folder_as_it_was(run, tmp_path):
    (run / "sheet" / "sheet.tsv").write_text("changed")
    (tmp_path / "again").mkdir()
    with pytest.raises(InputError, match="copy of the sheet was changed"):
        again(run, tmp_path / "again")
    assert not any((tmp_path / "again").iterdir())


def test_a_signal_leaves_nothing_of_what_was_taken_out(run, tmp_path, monkeypatch):
    def stop(*_, **__):
        assert list((tmp_path / "again" / "inputs").rglob("a.tif"))
        sys.exit(130)

    monkeypatch.setattr(repeated_run, "check_inputs", stop)
    with pytest.raises(SystemExit):
        again(run, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_what_is_refused_of_a_step_leaves_nothing_of_what_was_taken_out(run, tmp_path):
    edit_graph(run, "#action/segment_objects/a/0001", **{"@id": "#action/no_such_step/a/0001"})
    with pytest.raises(InputError, match="step that there is none of here"):
        again(run, tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("/data/../../x", InputError),
        ("../x", InputError),
        ("s3://x/y", InputError),
        ("/", InputError),
        ("a\0b", InputError),
        ("/" + "x" * 300, StorageError),
    ],
)
def test_nothing_is_written_out_of_the_folder(run, tmp_path, name, error):
    crate = read_crate(run)
    (identifier,) = crate.copies
    edit_graph(run, identifier, alternateName=name)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(error, match=r"name is no path|cannot be written|that a file can have"):
        again(run, tmp_path / "again")
    assert sorted(tmp_path.rglob("*")) == before


def test_files_of_a_set_lie_together_again(tmp_path):
    data = tmp_path / "data"
    for name in ("set/1.tif", "set/b/2.tif", "own.tif"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_text(name)
    (tmp_path / "own.tif").write_text("in the results folder")
    files = [*sorted(p for p in data.rglob("*") if p.is_file()), "own.tif"]
    crate = of_files(tmp_path, *files, digests=[digest_path(tmp_path / file) for file in files])
    shutil.rmtree(data)
    taken = take_out(crate, crate.actions, tmp_path / "out", Places(tmp_path, {}))
    assert len(taken) == 4
    below = tmp_path / "out" / "root" / data.relative_to("/")
    assert taken[f"{data}/set/1.tif"] == below / "set/1.tif"
    assert (below / "set/b/2.tif").read_text() == "set/b/2.tif"
    assert taken["own.tif"].read_text() == "in the results folder"


def test_originals_that_are_gone_are_those_of_the_crate(tmp_path):
    """They were fetched before the run, and left in place: their manifest alone is there."""
    (tmp_path / "data").mkdir()
    for name in ("gone.tif", "here.tif", "changed.tif"):
        (tmp_path / "data" / name).write_text(name)
    originals = tmp_path / "originals/x"
    originals.mkdir(parents=True)
    (originals / "own.tif").write_text("own")
    paths = [*sorted(tmp_path.glob("data/*")), originals / "own.tif"]
    files = [
        {
            "path": str(path) if path.parent.name == "data" else path.name,
            "size_bytes": path.stat().st_size,
            "digest": digest_path(path),
        }
        for path in paths
    ]
    manifest = {"source": "x", "files": files, "primary": str(tmp_path / "data/gone.tif")}
    (originals / "manifest.json").write_text(
        json.dumps(manifest | {"format": "parfocal-manifest-1"})
    )
    copied = [tmp_path / "data/gone.tif", tmp_path / "data/here.tif"]
    digests = [*map(digest_path, copied), digest_path(originals)]
    crate = of_files(tmp_path, *copied, "originals/x", digests=digests)
    (tmp_path / "data/gone.tif").unlink()
    places = Places(tmp_path, {})
    taken = take_out(crate, crate.actions, tmp_path / "out", places)
    moved = read_manifest(taken["originals/x"])
    assert moved.primary == str(taken[str(tmp_path / "data/gone.tif")])
    assert {path.name: path.parent for path in (Path(file.path) for file in moved.files)} == {
        "gone.tif": taken[str(tmp_path / "data/gone.tif")].parent,
        "here.tif": tmp_path / "data",
        "changed.tif": tmp_path / "data",
        "own.tif": originals,
    }
    whole = Places(tmp_path, {}, taken)
    assert check_inputs(crate, crate.actions, whole) == 3
    (tmp_path / "data/changed.tif").write_text("other")
    with pytest.raises(InputError, match=r"changed.*changed\.tif"):
        check_inputs(crate, crate.actions, whole)
    (originals / "manifest.json").write_text(
        json.dumps(manifest | {"files": files[1:], "format": "parfocal-manifest-1"})
    )
    assert "originals/x" not in take_out(crate, crate.actions, tmp_path / "other", places)


def test_an_ome_zarr_is_one_zip_file_and_comes_back_as_it_was(tmp_path):
    make_run(tmp_path / "first")
    image = tmp_path / "first/results/images/a/image.ome.zarr"
    (image / "notes.txt").write_text("no key of a Zarr")
    digest = digest_path(image)
    crate = of_files(tmp_path, image)
    copy = copy_in(tmp_path / "run-crate")
    assert copy.name == "image.ome.zarr.zip"
    assert unlisted(crate) == []
    shutil.rmtree(tmp_path / "first")
    (found,) = take_out(crate, crate.actions, tmp_path / "out", Places(tmp_path, {})).values()
    assert (found.name, digest_path(found)) == ("image.ome.zarr", digest)
    assert sorted(p.name for p in found.parent.iterdir()) == ["image.ome.zarr"]


def test_what_is_not_what_it_was_is_not_copied_and_told(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_text("a")
    (tmp_path / "changed.tif").write_text("b")
    missing, folder, changed = (tmp_path / n for n in ("missing.tif", "folder", "changed.tif"))
    context = Context(scratch=tmp_path)
    digests = ["sha256:" + "1" * 64, digest_path(folder), "sha256:" + "2" * 64]
    crate = of_files(tmp_path, missing, folder, changed, digests=digests)
    assert crate.copies == {}
    shutil.rmtree(tmp_path / "run-crate")
    inputs = {"results": tmp_path, "sheet": tmp_path / "samples.tsv"}
    params = STEP.params(include_inputs=True)
    STEP.run(inputs, {"crate": tmp_path / "run-crate"}, params, context)
    told = " ".join(context.warnings)
    for path, why in ((missing, "nothing lies"), (folder, "no OME-Zarr"), (changed, "changed")):
        assert f"{path} is not copied into the crate: " in told
        assert why in told
    assert context.details["inputs_copied"] == 0
    assert not [p for p in (tmp_path / "run-crate").rglob("*") if p.parent.name == "inputs"]


def test_only_inputs_that_counted_are_copied(tmp_path):
    (tmp_path / "a.tif").write_text("a")
    taken = Artifact(
        role="source",
        kind="file",
        uri=str(tmp_path / "a.tif"),
        digest=digest_path(tmp_path / "a.tif"),
    )
    records = [*chain("b", "https://example.org/b.tif"), failed("filter-image", "a", 1)]
    records[-1] = records[-1].model_copy(update={"inputs": (taken,)})
    write_graph(tmp_path, records, "sheet", image_ids="ab", include_inputs=True)
    assert read_crate(tmp_path / "run-crate").copies == {}


def test_the_crate_says_what_a_copy_is_of(run):
    graph = read_graph(run)
    (copy,) = [entity for entity in graph.values() if entity["@id"].startswith("inputs/")]
    (identifier,) = read_crate(run).copies
    assert copy["sameAs"] == {"@id": identifier}
    assert by_path(graph, graph[identifier]["alternateName"])["sha256"] == copy["sha256"]
    assert {"@id": copy["@id"]} in graph["./"]["hasPart"]
    assert "`inputs/`" in (run / "README.md").read_text()
    assert unlisted(read_crate(run)) == []


def test_verify_run_takes_a_copy_for_an_input_that_is_gone(run, tmp_path, capsys):
    report = tmp_path / "report.json"
    with pytest.raises(VerificationError):  # the results are gone
        verify_run([str(run), f"--json={report}"])
    entries = json.loads(report.read_text())["entries"]
    (source,) = [e for e in entries if e["role"] == "input" and e["name"].endswith("a.tif")]
    assert source["status"] == "carried"
    flip(copy_in(run))
    with pytest.raises(VerificationError):
        verify_run([str(run)])
    assert "changed    copy    inputs/" in capsys.readouterr().out


def test_in_galaxy_nothing_is_copied(tmp_path, monkeypatch):
    monkeypatch.setenv("PARFOCAL_ENGINE", "galaxy 26.1")
    params = STEP.params(include_inputs=True)
    with pytest.raises(ConfigurationError, match="not copied into the crate in Galaxy"):
        STEP.run({"results": tmp_path, "sheet": tmp_path}, {}, params, Context(scratch=tmp_path))
