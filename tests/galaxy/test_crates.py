"""Run crates that Galaxy makes: the validator takes them, and the OME-Zarrs are in them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from tests.galaxy.analysis import BROKEN, IMAGES, WORKFLOW, Analysis
from tests.galaxy.history import History
from tests.galaxy.mapped_runs import elements
from tests.galaxy.server import Galaxy

from crate_graphs import of_type, read_graph, references
from parfocal.core.digest import digest_path
from rocrate_cache import findings, seed_cache

STEPS = 6
"""How many steps of the workflow are mapped over the images."""
ZARRS = {"ome_zarr": "image", "labels": "labels/nuclei", "for_viewers": "assembled"}
"""The OME-Zarrs of each image, by labels of the workflow, with their names in a results folder."""


@pytest.fixture(scope="module")
def history(galaxy: Galaxy, analysed: Analysis) -> History:
    """The history of the run."""
    return analysed.within(galaxy)


@pytest.fixture(scope="module")
def crate(history: History, analysed: Analysis, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The crate of the run, which was given its workflow."""
    folder = tmp_path_factory.mktemp("crates") / "run-crate"
    return unpacked(history, analysed.outputs["run_crate"], folder)


def unpacked(history: History, dataset: str, folder: Path) -> Path:
    """Return the folder of a crate."""
    packed = folder.with_suffix(".zip")
    packed.write_bytes(history.api.datasets.download_dataset(dataset))
    with zipfile.ZipFile(packed) as files:
        files.extractall(folder)
    return folder


def profiles(crate: Path) -> list[str]:
    """Return the profiles that a crate says it follows."""
    return references([read_graph(crate)["./"]["conformsTo"]])


def records(history: History) -> list[str]:
    """Return the hidden records of the jobs that are mapped over images, without those in red.

    Those that the filters of the workflow passed on are among them a second time.
    """
    made = history.api.datasets.get_datasets(history_id=history.id, limit=None)
    return [each["id"] for each in made if ": record of " in each["name"] and each["state"] == "ok"]


def test_the_validator_takes_the_crate_of_a_workflow(crate: Path, tmp_path: Path) -> None:
    found = findings(crate, seed_cache(tmp_path / "cache"), "RECOMMENDED", "provenance-run-crate")
    assert not [each for each in found if each.startswith("REQUIRED")]
    assert "https://w3id.org/ro/wfrun/provenance/0.5" in profiles(crate)


def test_the_crate_tells_of_the_workflow_and_of_galaxy(crate: Path) -> None:
    graph = read_graph(crate)
    main = graph[graph["./"]["mainEntity"]["@id"]]
    assert "ComputationalWorkflow" in main["@type"]
    kept = crate / main["@id"]
    assert kept.read_text("utf-8") == WORKFLOW.read_text("utf-8")
    assert graph[main["programmingLanguage"]["@id"]]["name"] == "Galaxy"
    (engine,) = [each for each in graph if each.startswith("https://galaxyproject.org/#galaxy-")]
    assert graph[engine]["name"] == "Galaxy"
    attempts = [each for each in graph if each.startswith("#action/")]
    assert len(attempts) == STEPS * len(IMAGES)


def test_records_tell_the_version_of_galaxy(history: History, analysed: Analysis) -> None:
    version = history.api.config.get_version()["version_major"]
    told = [json.loads(history.text(each))["engine"]["version"] for each in records(history)]
    assert len(told) >= STEPS * len(IMAGES)
    assert set(told) == {version}


def test_the_crate_names_the_image_that_failed(crate: Path) -> None:
    told = (crate / "README.md").read_text("utf-8")
    assert "This is a Provenance Run Crate: " in told
    assert "## Images without a record\n\n" in told
    assert f"\n\n- `{BROKEN}`\n" in told


@pytest.mark.parametrize("label", ZARRS)
def test_ome_zarrs_of_galaxy_are_in_the_crate_by_their_digests(
    history: History, analysed: Analysis, crate: Path, label: str
) -> None:
    datasets = of_type(read_graph(crate), "Dataset")
    made = [each for each in elements(history, analysed.collections[label]) if each.state == "ok"]
    assert [each.name for each in made] == list(IMAGES)
    for each in made:
        (path,) = history.files(each.id).iterdir()
        (known,) = [one for one in datasets if one.get("identifier") == digest_path(path)]
        assert known["alternateName"] == f"images/{each.name}/{ZARRS[label]}.ome.zarr"


def test_without_a_workflow_a_crate_says_that_it_is_less(
    history: History, analysed: Analysis, tmp_path: Path
) -> None:
    made = [{"src": "hda", "id": each} for each in records(history)]
    images = {"src": "hdca", "id": analysed.images}
    job = history.run("parfocal_record_run", {"records": made, "images": images})
    assert job.state == "ok", job.stderr
    crate = unpacked(history, job.outputs["crate"], tmp_path / "run-crate")
    found = findings(crate, seed_cache(tmp_path / "cache"), "REQUIRED", "process-run-crate")
    assert found == []
    assert profiles(crate) == ["https://w3id.org/ro/wfrun/process/0.5"]
    told = (crate / "README.md").read_text("utf-8")
    assert "This is a Process Run Crate: " in told
    assert f"- `{BROKEN}`\n" in told
    record = json.loads(history.text(job.outputs["record"]))
    assert record["details"]["attempts_done"] == STEPS * len(IMAGES)
    told = f"There is no record of 1 of {len(IMAGES) + 1} images"
    assert any(told in warning for warning in record["warnings"])
    assert any(f"of {BROKEN} failed: records/" in warning for warning in record["warnings"])
