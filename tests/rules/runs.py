"""A small real run of the workflow: images, a sheet, Snakemake, and what it left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tifffile

from parfocal.models.sheet import Row, write_sheet

ROOT = Path(__file__).parents[2]
SNAKEFILE = ROOT / "workflows/analyse_images/Snakefile"
BIN = Path(sys.executable).parent


def program(name: str) -> str:
    """Return the path of a program of this environment."""
    return str(BIN / name)


def environment(**more: str) -> dict[str, str]:
    """Return an environment in which the rules find ``parfocal``."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    return kept | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"} | more


SQUARES = tuple((slice(y, y + 12), slice(x, x + 12)) for y, x in ((8, 8), (10, 40), (40, 24)))


def write_blobs(path: Path, seed: int = 0) -> None:
    """Write a small image of three bright squares, (Y, X) uint16."""
    image = np.random.default_rng(seed).poisson(20, (64, 64)).astype(np.uint16)
    for square in SQUARES:
        image[square] += 500
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, image)


def write_labels(path: Path) -> None:
    """Write the label image of `write_blobs`."""
    labels = np.zeros((64, 64), np.uint16)
    for label, square in enumerate(SQUARES, 1):
        labels[square] = label
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, labels)


@dataclass
class Run:
    """A working folder with images, a sample sheet and results."""

    folder: Path
    rows: list[Row] = field(default_factory=list)
    config: list[str] = field(default_factory=list)

    @property
    def results(self) -> Path:
        """The results folder."""
        return self.folder / "results"

    def add_image(self, image_id: str, name: str | None = None, **columns: str) -> Path:
        """Make an image and its row."""
        source = f"in/{name or f'{image_id}.tif'}"
        write_blobs(self.folder / source, seed=len(self.rows))
        self.rows.append(Row(image_id=image_id, name=image_id, source=source, **columns))
        return self.folder / source

    def write_sheet(self) -> None:
        """Write the sheet as the rows are now."""
        write_sheet(self.folder / "samples.tsv", self.rows)

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of Snakemake."""
        return [
            *(program("snakemake"), "--snakefile", str(SNAKEFILE)),
            *("--profile", str(ROOT / "config/profiles/local"), "--cores", "2"),
            *("--configfile", str(ROOT / "config/analyse_images.yaml")),
            *("--config", "sheet=samples.tsv", *self.config),
            *arguments,
        ]

    def snakemake(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run Snakemake in the folder."""
        self.write_sheet()
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=environment(**more),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def attempts(self) -> dict[str, int]:
        """Return how many records there are by ``step/image``, without those of the whole run."""
        found: dict[str, int] = {}
        for path in sorted((self.results / "records").glob("*/*/*.json")):
            name = path.parent.relative_to(self.results / "records").as_posix()
            if not name.endswith("/_run"):
                found[name] = found.get(name, 0) + 1
        return found

    def outcomes(self, step: str) -> dict[str, str]:
        """Return the status of each image in the outcomes of a step."""
        found: dict[str, str] = {}
        for path in (self.results / "outcomes" / step).glob("[0-9]*.json"):
            images = json.loads(path.read_text(encoding="utf-8"))["images"]
            found |= {image["image_id"]: image["status"] for image in images}
        return found

    def digests(self) -> dict[str, str]:
        """Return the digests of all outputs by ``step/image/role``, as the outcomes tell."""
        found: dict[str, str] = {}
        for path in sorted((self.results / "outcomes").glob("*/[0-9]*.json")):
            for image in json.loads(path.read_text(encoding="utf-8"))["images"]:
                for role, digest in image["digests"].items():
                    found[f"{path.parent.name}/{image['image_id']}/{role}"] = digest
        return found


def nothing_to_do(done: subprocess.CompletedProcess[str]) -> bool:
    """Return whether Snakemake found nothing to do."""
    return done.returncode == 0 and "Nothing to be done" in done.stdout + done.stderr
