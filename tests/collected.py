"""Steps that are run as Galaxy runs them: each job in a folder of its own, data apart."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from galaxy_samples import sample_files
from parfocal.engine import run_step
from parfocal.errors import ParfocalError
from parfocal.models.manifest import MANIFEST_NAME
from parfocal.steps import load_step

__all__ = ["Jobs"]

CELLS = "cells.ome.zarr.zip"


@dataclass
class Jobs:
    """Runs jobs, and keeps what they leave as Galaxy does.

    Attributes
    ----------
    root : Path
        Where data are kept.
    records, data : list of Path
        What the jobs left so far, by names that tell nothing.
    """

    root: Path
    records: list[Path] = field(default_factory=list)
    data: list[Path] = field(default_factory=list)

    def upload(self, content: bytes | None = None) -> Path:
        """Keep a file of a user: the zipped image of the samples unless another is given."""
        path = self._new()
        samples = {place.name: made for place, made in sample_files().items()}
        path.write_bytes(samples[CELLS] if content is None else content)
        return path

    def run(self, step: str, image_id: str | None, **given: Any) -> dict[str, Path]:
        """Run a step; what is no input is a parameter. Return its outputs where they are kept."""
        known = load_step(step)
        inputs = {port.name: given.pop(port.name) for port in known.inputs if port.name in given}
        job = self._new()
        job.mkdir()
        names = {port.name: Path(port.path).name for port in known.outputs}
        outputs = {n: job / name.replace("{format}", "ome.zarr") for n, name in names.items()}
        record = self._new()
        try:
            run_step(known, inputs, outputs, given, record=record, image_id=image_id)
        except ParfocalError:
            outputs = {}
        kept = {name: self._new() for name in outputs}
        for name, path in kept.items():
            if outputs[name].is_dir():
                path = kept[name] = path.with_name(f"{path.stem}_files")  # noqa: PLW2901
                if not (outputs[name] / MANIFEST_NAME).exists():
                    path.mkdir()
            shutil.move(outputs[name], path)
        shutil.rmtree(job)
        self.records.append(record)
        self.data += kept.values()
        return kept

    def analyse(self, image_id: str, image: Path) -> dict[str, Path]:
        """Run the steps of a small pipeline on an image, and return the outputs of all."""
        filtered = self.run("filter-image", image_id, image=image)["filtered"]
        labels = self.run("segment-objects", image_id, image=filtered)["labels"]
        measured = self.run("measure-objects", image_id, image=image, labels=labels)
        quality = self.run("assess-quality", image_id, image=image)
        return {"filtered": filtered, "labels": labels, **measured, **quality}

    def _new(self) -> Path:
        self.root.mkdir(exist_ok=True)
        number = len(list(self.root.iterdir()))
        while any(self.root.glob(f"dataset_{number}*")):
            number += 1
        path = self.root / f"dataset_{number}.dat"
        path.with_suffix(".taken").touch()
        return path
