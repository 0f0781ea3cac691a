"""A small but real run of each step, for the tests that break them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import tifffile

from parfocal.models.sheet import Row, write_sheet

PARFOCAL = [sys.executable, "-m", "parfocal"]


def parfocal(
    *arguments: str | Path, before: tuple[str, ...] = (), cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command and return how it ended."""
    return subprocess.run(
        [*before, *PARFOCAL, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=cwd,
    )


def volume(seed: int = 0, shape: tuple[int, ...] = (2, 12, 384, 384)) -> np.ndarray:
    """Return blobs on noise, (C, Z, Y, X) uint16."""
    rng = np.random.default_rng(seed)
    image = rng.poisson(100, shape).astype(np.uint16)
    for y in range(24, shape[-2] - 24, 48):
        for x in range(24, shape[-1] - 24, 48):
            image[..., 3:9, y - 8 : y + 8, x - 8 : x + 8] += 900
    return image


@dataclass
class Chain:
    """A finished run of all steps on one image, and the command line of each step."""

    folder: Path
    commands: dict[str, list[str]] = field(default_factory=dict)
    outputs: dict[str, list[str]] = field(default_factory=dict)

    def command(self, step: str, outputs: Path) -> list[str]:
        """Return a step's command with its outputs in another folder."""
        named = [f"--{name}={outputs / path}" for name, path in map(self._pair, self.outputs[step])]
        return [step, *self.commands[step], *named]

    @staticmethod
    def _pair(text: str) -> tuple[str, str]:
        name, _, path = text.partition("=")
        return name, path


STEPS: dict[str, tuple[list[str], list[str]]] = {
    "list-images": (["--set", "source=[{f}/in.tif]"], ["sheet=samples.tsv"]),
    "fetch-image": (["--set", "source={f}/in.tif"], ["original=original"]),
    "convert-image": (
        ["--source", "{f}/original"],
        ["image=image.ome.zarr", "certificate=image.certificate.json"],
    ),
    "verify-image": (
        ["--source", "{f}/original", "--image", "{f}/image.ome.zarr"],
        ["verification=again.certificate.json"],
    ),
    "filter-image": (["--image", "{f}/image.ome.zarr"], ["filtered=filtered.ome.zarr"]),
    "segment-objects": (["--image", "{f}/image.ome.zarr"], ["labels=nuclei.ome.zarr"]),
    "assemble-image": (
        ["--image", "{f}/image.ome.zarr", "--labels", "{f}/nuclei.ome.zarr"],
        ["assembled=assembled.ome.zarr"],
    ),
    "measure-objects": (
        ["--image", "{f}/image.ome.zarr", "--labels", "{f}/nuclei.ome.zarr"],
        ["table=nuclei.parquet", "tsv=nuclei.tsv"],
    ),
    "assess-quality": (["--image", "{f}/image.ome.zarr"], ["quality=quality.json"]),
    "preview-image": (
        ["--image", "{f}/image.ome.zarr", "--labels", "{f}/nuclei.ome.zarr"],
        ["preview=preview.png"],
    ),
    "score-objects": (["--labels", "{f}/nuclei.ome.zarr"], ["scores=scores.json"]),
    "render-report": (
        ["--results", "{f}/results", "--sheet", "{f}/samples.tsv"],
        ["report=report.html"],
    ),
    "record-run": (
        ["--results", "{f}/results", "--sheet", "{f}/samples.tsv"],
        ["crate=run-crate"],
    ),
}


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """Run every step once; the tests then run them again elsewhere, and break them."""
    folder = tmp_path_factory.mktemp("chain")
    tifffile.imwrite(folder / "in.tif", volume(), metadata={"axes": "CZYX"}, ome=True)
    write_sheet(folder / "samples.tsv", [Row(image_id="in", source=str(folder / "in.tif"))])
    made = Chain(folder)
    for step in ("fetch-image", "convert-image"):  # what report and crate tell of
        done = parfocal(
            step,
            *("--sheet", folder / "samples.tsv", "--batch", "0", "--batch-size", "1"),
            *("--folder", folder / "results"),
            *("--outcome", folder / f"results/outcomes/{step.replace('-', '_')}/0.json"),
        )
        assert done.returncode == 0, done.stderr
    for step, (arguments, outputs) in STEPS.items():
        made.commands[step] = [text.format(f=folder) for text in arguments]
        made.outputs[step] = outputs
        if step == "list-images":
            continue
        done = parfocal(*made.command(step, folder))
        assert done.returncode == 0, f"{step}: {done.stderr}"
    return made
