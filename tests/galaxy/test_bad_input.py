"""What Galaxy takes and tools cannot use: a job that is red, and a line that tells what to do.

What belongs to one tool alone is tested in its XML: labels of another image, a channel that is not
there.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.galaxy.configuration import ROOT
from tests.galaxy.history import History
from tests.galaxy.mapped_runs import list_of
from tests.galaxy.server import Galaxy
from tests.galaxy.workflow_runs import logged_in

import parfocal
from galaxy_samples import zipped

TOOLS = ROOT / "galaxy_tools"
CELLS = TOOLS / "segment_objects/test-data/cells.ome.zarr.zip"
BARE = TOOLS / "segment_objects/test-data/bare.ome.zarr.zip"
LABELS = TOOLS / "measure_objects/test-data/labels.ome.zarr.zip"
RECORD = TOOLS / "record_run/test-data/one.filter.record.json"
NOWHERE = "127.0.0.1:9"
"""Where no server answers."""
_NO_IMAGE = ("The Zarr holds no image: ", "Give an OME-Zarr whose own group has these metadata.")


def text() -> bytes:
    return b"well\tcells\nA1\t6\n"


def half_a_zip() -> bytes:
    content = CELLS.read_bytes()
    return content[: len(content) // 2]


def two_images() -> bytes:
    group = b'{"zarr_format": 3, "node_type": "group", "attributes": {}}'
    return zipped({"one.ome.zarr/zarr.json": group, "two.ome.zarr/zarr.json": group})


def way_out() -> bytes:
    return zipped({"one.ome.zarr/zarr.json": b"{}", "one.ome.zarr/../../way-out": b"x"})


BAD: dict[str, tuple[Callable[[], bytes], str, str, str]] = {
    "a table for an image": (
        text,
        "tabular",
        "The source is not an image of a known format",
        "check that the file is whole.",
    ),
    "two images in one": (
        two_images,
        "ome_zarr.zip",
        "The zip file holds several OME-Zarrs",
        "Pack each in a file of its own.",
    ),
    "a zip file that leads out": (
        way_out,
        "ome_zarr.zip",
        "The zip file cannot be unpacked safely",
        "Pack its folder again with an ordinary zip program.",
    ),
}


WRONG: dict[str, tuple[str, dict[str, Path], tuple[str, str]]] = {
    "no multiscales to filter": ("filter_image", {"image": BARE}, _NO_IMAGE),
    "no multiscales to correct": ("correct_illumination", {"image": BARE}, _NO_IMAGE),
    "no multiscales to measure": ("measure_objects", {"image": BARE, "labels": LABELS}, _NO_IMAGE),
    "an image for labels": (
        "assemble_image",
        {"image": CELLS, "labels": CELLS},
        ("The sizes of image and label image differ: ", "Segment this very image."),
    ),
    "a record for a certificate": (
        "verify_image",
        {"image": CELLS, "certificate": RECORD},
        (
            "The certificate cannot be read: 'Certificate'; ",
            "Give a certificate as its job wrote it.",
        ),
    ),
    "a record for a sheet": (
        "render_report",
        {"records": RECORD, "sheet": RECORD},
        (
            "The header of the sample sheet is not valid: 'Sample sheet', row 1; ",
            "Write one with 'List images'.",
        ),
    ),
    "a record for a plan": (
        "render_report",
        {"records": RECORD, "plan": RECORD},
        ("The annotation plan is not valid: 'Plan'; ", "Make it again with 'Plan annotations'."),
    ),
}
_TYPES = {".zip": "ome_zarr.zip", ".json": "json"}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_chosen_in_the_wrong_place_is_told(history: History, wrong: str) -> None:
    tool, files, (what, remedy) = WRONG[wrong]
    inputs = {
        port: {"src": "hda", "id": history.upload(path, _TYPES[path.suffix])}
        for port, path in files.items()
    }
    job = history.run(f"parfocal_{tool}", inputs)
    assert (job.state, job.exit_code) == ("error", 2)
    (line,) = job.stderr.splitlines()
    assert line.startswith(f"parfocal: ERROR: {what}")
    assert line.endswith(remedy)


@pytest.mark.parametrize("tool", ["record_run", "render_report"])
def test_an_empty_collection_of_records_is_told(history: History, tool: str) -> None:
    empty = {"src": "hdca", "id": list_of(history, {})}
    job = history.run(f"parfocal_{tool}", {"records": empty})
    assert (job.state, job.exit_code) == ("error", 2)
    (line,) = job.stderr.splitlines()
    assert line.startswith("parfocal: ERROR: There is no record among the data")
    assert line.endswith("Give the records of the jobs too: the hidden datasets called 'record'.")


def test_a_web_server_that_does_not_answer_is_told(history: History) -> None:
    job = history.run("parfocal_fetch_image", {"source": f"http://{NOWHERE}/cells.tif"})
    assert (job.state, job.exit_code) == ("error", 3)
    (line,) = job.stderr.splitlines()
    assert line.startswith(f"parfocal: ERROR: The file could not be downloaded: http://{NOWHERE}/")
    assert line.endswith("Check the URL and the network, then run again.")


def test_an_omero_server_needs_a_login_and_has_to_answer(
    galaxy: Galaxy, request: pytest.FixtureRequest
) -> None:
    # As another user than that of the tests of the tools, who may be logged in at the same time.
    history = History(galaxy, request.node.name, galaxy.admin_key)
    server = f"omero+tcp://{NOWHERE}"
    source = {"source": f"{server}/image/1"}
    job = history.run("parfocal_fetch_image", source)
    assert (job.state, job.exit_code) == ("error", 2)
    (line,) = job.stderr.splitlines()
    assert line.startswith("parfocal: ERROR: There is nothing to log in to the OMERO server with")
    assert line.endswith("under 'Credentials' in the form of the tool.")
    version = {"parfocal_fetch_image": f"{parfocal.__version__}+galaxy0"}
    with logged_in(history, version, host=server, user="alice", password="alice") as chosen:
        job = history.run("parfocal_fetch_image", source, chosen["parfocal_fetch_image"])
    assert (job.state, job.exit_code) == ("error", 3)
    (line,) = job.stderr.splitlines()
    assert line.startswith(f"parfocal: ERROR: The OMERO server does not answer: {server}")


def test_what_a_verification_found_can_be_read_where_it_failed(history: History) -> None:
    data = TOOLS / "verify_image/test-data"
    image = history.upload(data / "spoilt.ome.zarr.zip", "ome_zarr.zip")
    certificate = history.upload(data / "certificate.json", "json")
    inputs = {"image": image, "certificate": certificate}
    job = history.run(
        "parfocal_verify_image",
        {name: {"src": "hda", "id": dataset} for name, dataset in inputs.items()},
    )
    assert (job.state, job.exit_code) == ("error", 4)
    found = json.loads(history.shown(job.outputs["verification"]))
    assert found["verdict"] == "different"
    assert found["differences"]
    assert json.loads(history.shown(job.outputs["record"]))["status"] == "failed"


@pytest.mark.parametrize("make", [text, half_a_zip])
def test_galaxy_itself_stops_at_what_is_no_zip_file(
    tmp_path: Path, history: History, make: Callable[[], bytes]
) -> None:
    path = tmp_path / "image.dat"
    path.write_bytes(make())
    dataset = history.upload(path, "ome_zarr.zip", ends="failed_metadata")
    job = history.run("parfocal_segment_objects", {"image": {"src": "hda", "id": dataset}})
    assert (job.state, job.exit_code) == ("paused", None)


@pytest.mark.parametrize("bad", BAD)
def test_the_job_is_red_and_its_first_line_tells_what_to_do(
    tmp_path: Path, history: History, bad: str
) -> None:
    make, file_type, what, remedy = BAD[bad]
    path = tmp_path / "image.dat"
    path.write_bytes(make())
    dataset = history.upload(path, file_type)
    job = history.run("parfocal_segment_objects", {"image": {"src": "hda", "id": dataset}})
    assert (job.state, job.exit_code) == ("error", 2)
    (line,) = job.stderr.splitlines()
    assert line.startswith(f"parfocal: ERROR: {what}")
    assert line.endswith(remedy)
