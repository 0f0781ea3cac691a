"""The test data of the tools for a whole run: records of its jobs, and what belongs to them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import partial

from pydantic import BaseModel

from crate_records import artifact, record
from parfocal.models.record import Artifact, Engine, Record

__all__ = ["RUN_FILES", "USED_FOR_RUNS", "as_json"]

_RECORDS = (
    "one.filter.record.json",
    "one.labels.record.json",
    "one.quality.record.json",
    "two.filter.record.json",
)
USED_FOR_RUNS: Mapping[str, tuple[str, ...]] = {
    "render_report": (*_RECORDS, "one.quality.json", "one.tsv"),
    "record_run": (*_RECORDS, "one.quality.json", "one.tsv", "workflow.ga"),
}


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def as_json(made: BaseModel) -> bytes:
    """Return a record or a plan as it is written."""
    return _json(made.model_dump(mode="json", exclude_none=not isinstance(made, Record)))


def quality() -> bytes:
    """Return what assess-quality would leave of an image without planes."""
    made = {"format": "parfocal-quality-1", "image_id": "one", "channels": [], "planes": []}
    return _json(made)


def _at(number: int, role: str, name: str) -> Artifact:
    return artifact(role, "ome-zarr", f"/jobs/{number}/working/{name}.ome.zarr")


def run_records() -> dict[str, Record]:
    """Return the records of four jobs: of image two, nothing was done after it was filtered."""
    content = quality()
    found = Artifact(
        role="quality",
        kind="json",
        uri="/jobs/3/working/quality.json",
        size_bytes=len(content),
        digest=f"sha256:{hashlib.sha256(content).hexdigest()}",
    )
    one, two = (_at(0, "image", name) for name in ("one", "two"))
    filtered = _at(1, "filtered", "filtered")
    again = filtered.model_copy(update={"role": "image"})
    lines = f"{hashlib.sha256(b'{}').hexdigest()}  zarr.json\n"
    digest = f"zarr-merkle-sha256:{hashlib.sha256(lines.encode()).hexdigest()}"
    labels = _at(2, "labels", "labels").model_copy(update={"digest": digest})
    jobs = {
        "one.filter": ("filter-image", "one", one, filtered),
        "one.labels": ("segment-objects", "one_filtered-0a1b2c3d", again, labels),
        "one.quality": ("assess-quality", "one", one, found),
        "two.filter": ("filter-image", "two", two, _at(4, "filtered", "filtered")),
    }
    return {
        f"{name}.record.json": record(
            step,
            image_id,
            minute,
            inputs=(taken,),
            outputs=(made,),
            parameters={"label_name": "nuclei"} if step == "segment-objects" else {},
            engine=Engine(name="galaxy", job_id=str(minute)),
            digest_lists={digest: lines} if step == "segment-objects" else {},
        )
        for minute, (name, (step, image_id, taken, made)) in enumerate(jobs.items(), 1)
    }


def _record(name: str) -> bytes:
    return as_json(run_records()[name])


def sheet() -> bytes:
    """Return a sample sheet of one of the two images."""
    return b"image_id\tname\tsource\none\tImage one of the sheet\tone.ome.zarr\n"


def workflow() -> bytes:
    """Return a workflow of Galaxy without steps."""
    made = {"a_galaxy_workflow": "true", "format-version": "0.1", "name": "Nothing", "steps": {}}
    return _json(made)


RUN_FILES: Mapping[str, Callable[[], bytes]] = {
    "one.quality.json": quality,
    "one.tsv": sheet,
    "workflow.ga": workflow,
    **{name: partial(_record, name) for name in _RECORDS},
}
