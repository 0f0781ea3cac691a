"""The command repeat-run: the steps of a crate run again, and what keeps them from it."""

import hashlib
import json
import shutil

import pytest

from crate_graphs import write_graph
from crate_records import example_run
from parfocal.cli.repeat_run import repeat_run
from parfocal.errors import ConfigurationError, InputError, OutputExistsError, VerificationError
from parfocal.provenance.read_crate import read_crate
from parfocal.steps import STEPS
from verified_runs import METADATA, edit_graph, flip, make_run, pack


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a folder with a run of single steps: its sources, its results, and its crate."""
    folder = tmp_path_factory.mktemp("run")
    make_run(folder)
    return folder


@pytest.fixture
def run(made, tmp_path):
    """Return a copy of the crate, apart from all results."""
    return shutil.copytree(made / "results" / "run-crate", tmp_path / "crate")


def again(crate, folder, *options):
    return repeat_run([str(crate), f"--folder={folder}", "--threads=2", *map(str, options)])


def test_single_steps_give_identical_results(run, tmp_path, capsys):
    report = tmp_path / "report.json"
    assert again(pack(run), tmp_path / "again", f"--json={report}") == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "6 results are the same, 0 differ",
        "identical",
    ]
    found = json.loads(report.read_text())
    assert (found["same_results"], found["differing_results"]) == (6, 0)
    assert {row["kind"] for row in found["differences"]} <= {"file", "engine"}
    assert (tmp_path / "again/results/images/a/labels/nuclei.ome.zarr/zarr.json").exists()


def test_a_result_that_differs_is_told(run, tmp_path, capsys):
    crate = read_crate(run)
    (labels,) = [d for d in crate.data.values() if d.name.endswith("nuclei.ome.zarr")]
    edit_graph(run, labels.identifier, identifier="zarr-merkle-sha256:" + "0" * 64)
    with pytest.raises(VerificationError, match="1 results differ"):
        again(run, tmp_path / "again")
    told = capsys.readouterr().out
    assert "result     segment-objects nuclei: labels" in told
    assert "identical" not in told


def test_moved_inputs_are_found_by_a_map(made, run, tmp_path):
    moved = shutil.copytree(made / "data", tmp_path / "moved")
    hidden = made / "data-away"
    (made / "data").rename(hidden)
    try:
        with pytest.raises(InputError, match=r"1 inputs .* are missing .*a\.tif.*--map OLD=NEW"):
            again(run, tmp_path / "again")
        assert not (tmp_path / "again").exists()
        assert again(run, tmp_path / "again", "--map", f"{made / 'data'}={moved}") == 0
    finally:
        hidden.rename(made / "data")
    (manifest,) = (tmp_path / "again").rglob("manifest.json")
    assert str(moved / "a.tif") in manifest.read_text()


def test_a_changed_input_is_refused(made, run, tmp_path):
    changed = shutil.copytree(made / "data", tmp_path / "changed")
    flip(changed / "a.tif")
    with pytest.raises(InputError, match=r"changed .*a\.tif \(sha256:\w+ then, sha256:\w+ now\)"):
        again(run, tmp_path / "again", "--map", f"{made / 'data'}={changed}")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("kind", ["full", "file"])
def test_a_folder_in_use_is_refused(run, tmp_path, kind):
    folder = tmp_path / "again"
    if kind == "full":
        folder.mkdir()
        (folder / "notes.txt").write_text("mine")
    else:
        folder.write_text("mine")
    with pytest.raises(OutputExistsError, match="something in it"):
        again(run, folder)
    kept = folder / "notes.txt" if kind == "full" else folder
    assert kept.read_text() == "mine"


def test_an_empty_folder_will_do(made, run, tmp_path):
    (tmp_path / "again").mkdir()
    with pytest.raises(InputError, match="missing"):
        again(run, tmp_path / "again", "--map", f"{made / 'data'}={tmp_path / 'nowhere'}")
    assert not any((tmp_path / "again").iterdir())


@pytest.mark.parametrize("length", [0.3, 0.9])
def test_a_truncated_zip_file_is_refused(run, tmp_path, length):
    packed = pack(run)
    content = packed.read_bytes()
    packed.write_bytes(content[: int(length * len(content))])
    with pytest.raises(InputError, match="zip"):
        again(packed, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_crate_of_another_tool_is_refused(tmp_path):
    crate = tmp_path / "crate"
    crate.mkdir()
    graph = [{"@id": "#x", "@type": "SoftwareApplication", "name": "other"}]
    (crate / METADATA).write_text(json.dumps({"@context": "", "@graph": graph}))
    with pytest.raises(InputError, match="not made by 'parfocal record-run'"):
        again(crate, tmp_path / "again")


def test_a_changed_copy_of_the_sheet_is_refused(run, tmp_path):
    sheet = run / "sheet" / "sheet.tsv"
    sheet.write_text(sheet.read_text() + "b\t/etc/passwd\n")
    with pytest.raises(InputError, match="copy of the sheet was changed"):
        again(run, tmp_path / "again")


def test_a_result_outside_of_the_results_is_never_written(run, tmp_path):
    crate = read_crate(run)
    (labels,) = [d for d in crate.data.values() if d.name.endswith("nuclei.ome.zarr")]
    for name in ("../../outside.ome.zarr", str(tmp_path / "outside.ome.zarr")):
        edit_graph(run, labels.identifier, alternateName=name)
        with pytest.raises(InputError, match="outside of the results folder"):
            again(run, tmp_path / f"again-{len(name)}")
    assert not list(tmp_path.rglob("outside*"))


@pytest.mark.parametrize("step", ["apply-annotations", "revert-annotations", "record-run"])
def test_steps_on_a_whole_run_are_left_out_whatever_they_are_called(run, tmp_path, caplog, step):
    identifier = "#action/segment_objects/a/0001"
    edit_graph(run, identifier, **{"@id": f"#action/{step.replace('-', '_')}/a/0001"})
    with pytest.raises(VerificationError):  # what it made is in the crate alone
        again(run, tmp_path / "again")
    assert f"about a whole run: {step}" in caplog.text
    assert not (tmp_path / "again/results/records" / step.replace("-", "_") / "a").exists()


def test_a_step_on_an_image_that_names_none_is_refused(run, tmp_path):
    edit_graph(
        run, "#action/segment_objects/a/0001", **{"@id": "#action/segment_objects/_run/0001"}
    )
    with pytest.raises(InputError, match=r"which image it does not.*segment_objects/_run"):
        again(run, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_what_writes_to_a_server_is_about_a_whole_run():
    writers = {"apply-annotations", "revert-annotations"}
    assert {step.name for step in STEPS if step.scope == "run"} >= writers


def test_an_environment_that_differs_is_refused_when_strict(run, tmp_path, caplog):
    graph = json.loads((run / METADATA).read_text())["@graph"]
    (tool,) = [e["@id"] for e in graph if "#segment-objects-" in e["@id"] and "tools" not in e]
    edit_graph(run, tool, softwareVersion="0.0.9")
    with pytest.raises(ConfigurationError, match=r"parfocal was 0\.0\.9, 0\.1\.0, and is 0\.1\.0"):
        again(run, tmp_path / "again", "--strict")
    assert not (tmp_path / "again").exists()
    assert again(run, tmp_path / "again") == 0
    assert "parfocal was 0.0.9, 0.1.0, and is 0.1.0" in caplog.text


def test_what_a_crate_does_not_tell_is_no_recorded_environment(run, tmp_path, caplog):
    with pytest.raises(ConfigurationError, match=r"commit was not recorded.*lock file was"):
        again(run, tmp_path / "again", "--strict")
    assert not (tmp_path / "again").exists()
    with caplog.at_level("INFO"):
        assert again(run, tmp_path / "again") == 0
    assert "commit was not recorded" in caplog.text
    assert "The environment is the recorded one\n" not in caplog.text


@pytest.mark.parametrize("text", ["/data/a\0.tif", "/data/\ud800.tif"])
def test_a_parameter_that_no_record_could_hold_is_refused(run, tmp_path, text):
    document = json.loads((run / METADATA).read_text())
    graph = document["@graph"]
    for source in [e for e in graph if "/setting/" in e["@id"] and e.get("name") == "source"]:
        source["value"] = text
    (run / METADATA).write_text(json.dumps(document))
    with pytest.raises(InputError, match="parameters of fetch-image are none"):
        again(run, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_container_commands_no_terminal(run, tmp_path, caplog):
    edit_graph(run, "#action/fetch_image/a/0001", containerImage={"@id": "#container/%1B[31mx"})
    again(run, tmp_path / "again")
    told = "".join(each.getMessage() for each in caplog.records)
    assert "[31mx" in told
    assert "\x1b" not in told


def test_a_configuration_that_is_none_leaves_nothing(tmp_path):
    write_graph(tmp_path, example_run())
    crate, content = tmp_path / "run-crate", b"render_report: &a {title: *a}"
    (crate / "config/config.yaml").write_bytes(content)
    edit_graph(crate, "config/config.yaml", sha256=hashlib.sha256(content).hexdigest())
    with pytest.raises(InputError, match=r"copy of the configuration .* no aliases"):
        again(crate, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_runs_of_galaxy_are_repeated_in_galaxy(tmp_path):
    write_graph(tmp_path, example_run(), "sheet")
    crate = tmp_path / "run-crate"
    document = (crate / METADATA).read_text()
    (crate / METADATA).write_text(document.replace("snakemake 9.27.1", "galaxy 26.1"))
    with pytest.raises(ConfigurationError, match=r"repeated there.*[Ii]n Galaxy"):
        again(crate, tmp_path / "again")


def test_a_result_of_which_no_port_is_told_is_refused(run, tmp_path):
    image, labels = (
        next(one for one in read_crate(run).data.values() if one.name.endswith(name))
        for name in ("image.ome.zarr", "nuclei.ome.zarr")
    )
    edit_graph(run, labels.identifier, exampleOfWork=None)
    with pytest.raises(InputError, match=r"not tell all .*segment_objects/a/0001 without labels"):
        again(run, tmp_path / "again")
    edit_graph(run, image.identifier, exampleOfWork=None)
    with pytest.raises(InputError, match=r"not tell all .*convert_image/a/0001 without image"):
        again(run, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_results_that_were_made_from_themselves_are_refused(run, tmp_path):
    labels = next(one for one in read_crate(run).data.values() if "nuclei.ome.zarr" in one.name)
    used = next(one for one in read_crate(run).actions if one.step == "convert-image").used
    references = [{"@id": name} for name in (*used, labels.identifier)]
    edit_graph(run, "#action/convert_image/a/0001", object=references)
    with pytest.raises(InputError, match="made from themselves"):
        again(run, tmp_path / "again")
    assert not (tmp_path / "again").exists()
