"""What Galaxy takes and tools cannot use: a job that is red, and a line that tells what to do.

What belongs to one tool alone is tested in its XML: labels of another image, a channel that is not
there, a Zarr without multiscales.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.galaxy.configuration import ROOT
from tests.galaxy.history import History

from galaxy_samples import zipped

CELLS = ROOT / "galaxy_tools/segment_objects/test-data/cells.ome.zarr.zip"


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
    "a table that is called an image": (
        text,
        "ome_zarr.zip",
        "The source is not an image of a known format",
        "check that the file is whole.",
    ),
    "half a zip file": (
        half_a_zip,
        "ome_zarr.zip",
        "The zip file is damaged or of an unknown kind",
        "Pack its folder again with an ordinary zip program.",
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


def test_what_a_verification_found_can_be_read_where_it_failed(history: History) -> None:
    data = ROOT / "galaxy_tools/verify_image/test-data"
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
