"""Small runs with real images and their crates, to be verified and compared."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from parfocal.core.publish import write_json
from parfocal.engine.attempt import perform
from parfocal.engine.job import Job
from parfocal.models.sheet import Row
from parfocal.provenance.crate import CrateRequest, write_crate
from parfocal.provenance.crate_zip import pack_crate
from parfocal.steps.convert_image import STEP as CONVERT
from parfocal.steps.fetch_image import STEP as FETCH
from parfocal.steps.measure_objects import STEP as MEASURE
from parfocal.steps.segment_objects import STEP as SEGMENT

__all__ = [
    "METADATA",
    "edit",
    "edit_graph",
    "flip",
    "make_crate",
    "make_run",
    "pack",
    "pack_in_folder",
]

METADATA = "ro-crate-metadata.json"
CONVERSION = {"chunk_px": 32, "shard_mib": 0, "axes": "ZYX"}


def disc() -> np.ndarray:
    """Return a noisy stack with one bright disc: (Z, Y, X) uint16."""
    noise = np.random.default_rng(7).integers(90, 110, (3, 70, 90)).astype(np.uint16)
    y, x = np.mgrid[:70, :90]
    noise[:, (y - 30) ** 2 + (x - 40) ** 2 < 150] += 2000
    return noise


def make_run(
    folder: Path, image_ids: str = "a", threshold: str = "otsu", model: dict[str, Any] | None = None
) -> Path:
    """Make ``results`` and the sources in a folder, by the steps themselves; return the crate."""
    results = folder / "results"
    for image_id in image_ids:
        source = folder / "data" / f"{image_id}.tif"
        source.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(source, disc(), photometric="minisblack")
        segment = {"threshold": {"method": threshold}} if model is None else {"model": model}
        _steps(results, image_id, source, segment)
    (results / "sheet.tsv").write_text(
        "image_id\tsource\n" + "".join(f"{i}\t{i}.tif\n" for i in image_ids), encoding="utf-8"
    )
    return make_crate(results, image_ids)


def make_crate(results: Path, image_ids: str = "a", *, include_inputs: bool = False) -> Path:
    """Write the crate of a results folder anew, and return it."""
    crate = results / "run-crate"
    shutil.rmtree(crate, ignore_errors=True)
    request = CrateRequest(
        results=results,
        image_ids=list(image_ids),
        name="A run",
        description="A small run",
        licence="https://spdx.org/licenses/CC0-1.0",
        files={"sheet": results / "sheet.tsv"},
        include_inputs=include_inputs,
    )
    write_crate(crate, request)
    return crate


def _steps(results: Path, image_id: str, source: Path, segment: dict[str, Any]) -> None:
    place = results / "images" / image_id
    original, image = results / "originals" / image_id, place / "image.ome.zarr"
    labels, tables = place / "labels" / "nuclei.ome.zarr", place / "tables"
    work: list[tuple[Any, dict[str, Any], dict[str, Path], dict[str, Path]]] = [
        (FETCH, {"source": str(source)}, {}, {"original": original}),
        (
            CONVERT,
            CONVERSION,
            {"source": original},
            {"image": image, "certificate": place / "image.certificate.json"},
        ),
        (SEGMENT, segment, {"image": image}, {"labels": labels}),
        (
            MEASURE,
            {},
            {"image": image, "labels": labels},
            {"table": tables / "nuclei.parquet", "tsv": tables / "nuclei.tsv"},
        ),
    ]
    for step, params, inputs, outputs in work:
        job = Job(
            step,
            step.params(**params),
            inputs,
            outputs,
            image_id,
            row=Row(image_id=image_id, source=str(source)),
            results=results,
            existing="replace",
        )
        result = perform(job)
        if result.error is not None:
            raise result.error


def flip(path: Path, at: float = 0.5) -> None:
    """Flip one bit in the middle of a file; its size and times stay."""
    import os

    times = path.stat()
    content = bytearray(path.read_bytes())
    content[int(len(content) * at)] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def edit(crate: Path, change: Any) -> None:
    """Change the metadata document of a crate."""
    path = crate / METADATA
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    write_json(path, document)


def edit_graph(crate: Path, identifier: str, /, **properties: Any) -> None:
    """Change the properties of one entity of a crate; None takes one out."""

    def change(document: Any) -> None:
        (entity,) = [one for one in document["@graph"] if one["@id"] == identifier]
        entity.update(properties)
        for name, value in properties.items():
            if value is None:
                del entity[name]

    edit(crate, change)


def pack(crate: Path) -> Path:
    """Return a zip file of a crate, beside it."""
    pack_crate(crate, crate.with_suffix(".zip"))
    return crate.with_suffix(".zip")


def pack_in_folder(crate: Path) -> Path:
    """Return a zip file of a crate with all in one folder, as archives and code hosts make them."""
    name = str(crate.with_name(f"{crate.name}-in-folder"))
    return Path(shutil.make_archive(name, "zip", crate.parent, crate.name))
