"""The optional steps that make an image of an image, one after the other on a stack."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from parfocal.core.blocks import whole
from parfocal.images import open_image
from parfocal.provenance.records import iter_attempts
from rules.runs import SQUARES, Run, nothing_to_do

CONFIG = [
    "correct_illumination={illumination: {method: profile}, dark_offset: 100}",
    "project_image={method: mean, first: 1}",
    "filter_image={filter: {method: median}}",
]


class Chain:
    """A run with all of them, and one without them in the same folder."""

    def __init__(self, folder: Path) -> None:
        self.run = run = Run(folder, config=CONFIG)
        light = np.linspace(0.6, 1.4, 64)
        stack = np.full((4, 64, 64), 40.0)
        for square in SQUARES:
            stack[(slice(None), *square)] = 1000
        stack[0] = 60000  # is left out
        source = run.add_image("stack", flat_field="in/flat.tif")
        seen = np.minimum(stack * light + 100.5, 65535).astype(np.uint16)
        tifffile.imwrite(source, seen, imagej=True, metadata={"axes": "ZYX"})
        tifffile.imwrite(folder / "in/flat.tif", (30000 * light + 100.5).astype("u2") * one_row())
        self.first = run.snakemake()
        self.again = run.snakemake()
        self.images = run.results / "images/stack"
        self.sizes = {path.name: shape_of(path) for path in self.images.glob("*.ome.zarr")}
        self.report = (run.results / "report.html").read_text(encoding="utf-8")
        crate = run.results / "run-crate/ro-crate-metadata.json"
        self.crate = crate.read_text(encoding="utf-8")


def one_row() -> np.ndarray:
    return np.ones((64, 1), np.uint16)


def shape_of(path: Path) -> tuple[int, ...]:
    with open_image(path) as image:
        return image.metadata.shape


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    return Chain(tmp_path_factory.mktemp("chain"))


def test_each_hands_its_image_on(chain: Chain) -> None:
    assert chain.first.returncode == 0, chain.first.stderr
    assert nothing_to_do(chain.again), chain.again.stderr
    assert chain.sizes == {
        "image.ome.zarr": (4, 64, 64),
        "corrected.ome.zarr": (4, 64, 64),
        "projected.ome.zarr": (64, 64),
        "filtered.ome.zarr": (64, 64),
        "assembled.ome.zarr": (64, 64),
    }
    taken = {
        "correct_illumination": "image",
        "project_image": "corrected",
        "filter_image": "projected",
        "segment_objects": "filtered",
        "measure_objects": "projected",
        "assemble_image": "projected",
        "assess_quality": "image",
    }
    for step, name in taken.items():
        (record,) = [one for _, one in iter_attempts(chain.run.results, step, "stack")]
        uris = {one.role: one.uri for one in record.inputs}
        assert uris["image"] == f"images/stack/{name}.ome.zarr"
        assert chain.run.outcomes(step) == {"stack": "done"}


def test_what_is_measured_is_even(chain: Chain) -> None:
    lines = (chain.images / "tables/nuclei.tsv").read_text(encoding="utf-8").splitlines()
    head, *rows = [line.split("\t") for line in lines]
    column = next(n for n, name in enumerate(head) if name.startswith("intensity_mean"))
    assert len(rows) == len(SQUARES)
    assert all(abs(float(row[column]) - 1000) <= 1 for row in rows)
    with open_image(chain.images / "projected.ome.zarr") as image:
        background = image.read(whole(image.shape5))[0, 0, 0, :8]
    assert set(background.ravel().tolist()) <= {39, 40, 41}


def test_report_and_crate_tell_of_all_of_them(chain: Chain) -> None:
    for step in ("correct-illumination", "project-image", "filter-image"):
        assert step in chain.report
        assert any(
            one.get("@type") == "HowToStep" and step in json.dumps(one)
            for one in json.loads(chain.crate)["@graph"]
        )
    assert "in/flat.tif" in chain.crate
