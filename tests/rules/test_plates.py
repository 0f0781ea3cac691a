"""Fields of two plates through the workflow, joined to plates at the end."""

from __future__ import annotations

import json
import subprocess

import pytest

from parfocal.images import list_images
from parfocal.models.naming import image_id_of
from rules.runs import Run, nothing_to_do

PLATES = ("P1", "plate: 'two' µ")
Done = tuple[Run, list[subprocess.CompletedProcess[str]]]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    run = Run(tmp_path_factory.mktemp("plates"), config=["assemble_plate={with_labels: true}"])
    for plate in PLATES:
        for well, field in (("A01", "1"), ("A01", "2"), ("C02", "1")):
            place = {"plate": plate, "well": well, "field": field}
            run.add_image(f"{plate[:2]}_{well}_{field}", **place)
    return run, [run.snakemake("--quiet", "host", "reason", "rules"), run.snakemake()]


def test_each_plate_is_made_with_labels_and_recorded(done: Done) -> None:
    run, (first, again) = done
    assert first.returncode == 0, first.stderr
    for plate in PLATES:
        path = run.results / f"plates/{image_id_of(plate, plate)}.ome.zarr"
        assert [one.series for one in list_images(path)] == ["A/1/1", "A/1/2", "C/2/1"]
        ngff = json.loads((path / "zarr.json").read_text(encoding="utf-8"))["attributes"]["ome"]
        assert ngff["plate"]["name"] == plate
        assert (path / "C/2/1/labels/nuclei/zarr.json").is_file()
    crate = (run.results / "run-crate/ro-crate-metadata.json").read_text(encoding="utf-8")
    assert crate.count('"assemble-plate') >= 1
    assert all(f"plates/{image_id_of(plate, plate)}" in crate for plate in PLATES)
    assert nothing_to_do(again), again.stdout + again.stderr
