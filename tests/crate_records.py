"""A synthetic results folder: the records of a small run, with failures of all kinds."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from parfocal.core.digest import digest_json
from parfocal.core.publish import write_json
from parfocal.models.manifest import Manifest, ManifestFile
from parfocal.models.record import Artifact, Engine, Failure, Record
from parfocal.provenance.records import write_record

START = datetime(2026, 11, 20, 10, 0, 0, 123456, tzinfo=UTC)
SNAKEMAKE = Engine(name="snakemake", version="9.27.1", job_id="4711")
ODD = "odd name (1) [x] 'q' \"d\" $HOME ünï.tif"


def artifact(role: str, kind: str, uri: str, state: str = "1") -> Artifact:
    """Return an artifact whose digest follows from its URI and `state`."""
    digest = hashlib.sha256(f"{uri} {state}".encode()).hexdigest()
    algorithm = {"ome-zarr": "zarr-merkle-sha256", "folder": "tree-sha256"}.get(kind, "sha256")
    return Artifact(
        role=role, kind=kind, uri=uri, size_bytes=len(uri), digest=f"{algorithm}:{digest}"
    )


def record(step: str, image_id: str, minute: int = 0, **changes: Any) -> Record:
    """Return a record of a done attempt that started at a minute of the run."""
    started = START + timedelta(minutes=minute)
    fields: dict[str, Any] = {
        "step": step,
        "step_version": "1",
        "parfocal_version": "0.1.0",
        "image_id": image_id,
        "attempt": 1,
        "key": hashlib.sha256(f"{step} {image_id}".encode()).hexdigest(),
        "status": "done",
        "started": started,
        "ended": started + timedelta(seconds=5),
        "cpu_s": 1.5,
        "peak_memory_bytes": 104857600,
        "host": "node1",
        "pid": 42,
        "engine": SNAKEMAKE,
        "lock_digest": "sha256:" + "ab" * 32,
        "commit": "c0ffee",
    }
    return Record(**(fields | changes))


def failed(step: str, image_id: str, minute: int = 0, **changes: Any) -> Record:
    """Return a record of an attempt that failed."""
    error = Failure(type="InputError", message="The image has no pixels: a.tif", exit_code=2)
    return record(step, image_id, minute, status="failed", error=error, **changes)


def killed(step: str, image_id: str, minute: int = 0, **changes: Any) -> Record:
    """Return a record of an attempt that started and never ended."""
    return record(
        step,
        image_id,
        minute,
        status="started",
        ended=None,
        cpu_s=None,
        peak_memory_bytes=None,
        **changes,
    )


def chain(image_id: str, source: str, minute: int = 0) -> list[Record]:
    """Return the records of an image that went through all steps."""
    fetched = original(image_id, source)
    image = artifact("image", "ome-zarr", f"images/{image_id}/image.ome.zarr")
    certificate = artifact("certificate", "json", f"images/{image_id}/image.certificate.json")
    return [
        record(
            "fetch-image",
            image_id,
            minute,
            outputs=(fetched,),
            parameters={"source": None},
            row={"image_id": image_id, "source": source},
        ),
        record(
            "convert-image",
            image_id,
            minute + 1,
            inputs=(fetched.model_copy(update={"role": "source", "kind": "file"}),),
            outputs=(image, certificate),
            parameters={"ngff": "0.5", "level": 5, "verify": True, "chunk": [1, 256, 256]},
            warnings=("The pixel size is not known",),
            details={"planes": 3},
        ),
        segment(image_id, minute + 2),
        record(
            "measure-objects",
            image_id,
            minute + 3,
            inputs=(image, labels(image_id)),
            outputs=(artifact("table", "table", f"images/{image_id}/tables/nuclei.parquet"),),
            parameters={"label_name": "nuclei"},
        ),
    ]


def manifest_of(source: str) -> Manifest:
    """Return the manifest of a source: a file of a site, or one that was left in place."""
    source_file = artifact("source", "file", source)
    remote = "://" in source
    path = source.rpartition("/")[2] if remote else str(Path("/data", source))
    file = ManifestFile(
        path=path, size_bytes=source_file.size_bytes or 0, digest=source_file.digest
    )
    return Manifest(source=source, files=(file,), primary=path)


def original(image_id: str, source: str) -> Artifact:
    """Return the folder of originals of an image."""
    (file,) = manifest_of(source).files
    digest = "manifest-sha256:" + digest_json([[Path(file.path).name, file.digest]])
    uri = f"originals/{image_id}"
    return Artifact(role="original", kind="folder", uri=uri, size_bytes=100, digest=digest)


def labels(image_id: str, state: str = "1") -> Artifact:
    """Return the label image of an image."""
    return artifact("labels", "ome-zarr", f"images/{image_id}/labels/nuclei.ome.zarr", state)


def segment(image_id: str, minute: int, **changes: Any) -> Record:
    """Return the record of a segmentation."""
    fields: dict[str, Any] = {
        "inputs": (artifact("image", "ome-zarr", f"images/{image_id}/image.ome.zarr"),),
        "outputs": (labels(image_id),),
        "parameters": {
            "label_name": "nuclei",
            "threshold": {"method": "local", "window_um": 12.5},
            "channel": None,
        },
        "seed": 7,
    }
    return record("segment-objects", image_id, minute, **(fields | changes))


def example_run() -> list[Record]:
    """Return a run of four images: done, done at the second attempt, failed, and killed."""
    retried = chain("b", ODD, 10)
    retried[2] = segment("b", 15, attempt=2)
    nothing: dict[str, Any] = {"outputs": (), "parameters": {"label_name": "nuclei"}}
    return [
        *chain("a", "https://example.org/data/a.tif"),
        *retried,
        failed("segment-objects", "b", 12, **nothing),
        *chain("c", "/data/c.tif", 20)[:2],
        failed("segment-objects", "c", 22, **nothing),
        killed("convert-image", "d", 30, inputs=(artifact("original", "folder", "originals/d"),)),
        record(
            "render-report",
            "report",
            40,
            outputs=(artifact("report", "html", "report.html"),),
            parameters={"title": "Nuclei"},
            engine=Engine(name="shell"),
        ),
    ]


def write_results(results: Path, records: list[Record], image_ids: str = "abcde") -> Path:
    """Write records, a sheet, a workflow and a configuration; return the sheet."""
    for item in records:
        folder = results / "records" / item.step.replace("-", "_") / item.image_id
        folder.mkdir(parents=True, exist_ok=True)
        write_record(folder / f"{item.attempt:04d}.json", item)
        if item.step == "fetch-image" and item.row:
            manifest = manifest_of(item.row["source"]).model_dump(exclude_none=True)
            write_json(results / item.outputs[0].uri / "manifest.json", manifest)
    rows = "".join(f"{image_id}\t{image_id}.tif\n" for image_id in image_ids)
    sheet = results / "samples.tsv"
    sheet.write_text("image_id\tsource\n" + rows, encoding="utf-8")
    (results / "Snakefile").write_text("rule all:\n    input: 'report.html'\n", encoding="utf-8")
    (results / "config.yaml").write_text("batch_size: 20\n", encoding="utf-8")
    return sheet
