"""Jobs of `toy_steps`, and what is to be seen of them afterwards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from parfocal.engine.job import Job
from parfocal.models.sheet import Row
from unit.toy_steps import MAKE, MEASURE, MakeParams, NoParams

__all__ = ["chunk", "left", "measure", "records", "toy_job"]


def toy_job(folder: Path) -> Job:
    """Return a job that makes an image of ``a.txt``, which is written here."""
    (folder / "a.txt").write_text("hello")
    image = folder / "R" / "images" / "a"
    return Job(
        step=MAKE,
        params=MakeParams(),
        inputs={"source": folder / "a.txt"},
        outputs={"image": image / "image.ome.zarr", "notes": image / "notes.json"},
        image_id="a",
        row=Row(image_id="a", name="A", source="a.txt"),
        results=folder / "R",
        existing="reuse",
    )


def measure(job: Job, **more: Path) -> Job:
    """Return the job that measures what another one makes."""
    return Job(
        step=MEASURE,
        params=NoParams(),
        inputs={"image": job.outputs["image"], **more},
        outputs={"table": job.outputs["image"].with_name("table.json")},
        image_id="a",
        results=job.results,
        existing="reuse",
    )


def records(job: Job, step: str = "make_image") -> list[dict[str, Any]]:
    """Return the records of the image, the oldest first."""
    assert job.results is not None
    paths = sorted((job.results / "records" / step / job.image_id).iterdir())
    return [json.loads(path.read_text()) for path in paths]


def chunk(job: Job) -> Path:
    """Return the one chunk of the image that was made."""
    return job.outputs["image"] / "c" / "0" / "0"


def left(folder: Path) -> list[str]:
    """Return all files that are neither published results nor records."""
    return sorted(p.name for p in folder.rglob("*") if p.name.startswith("."))
