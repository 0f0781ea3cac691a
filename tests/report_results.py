"""Build a results folder with known content, as the steps would leave it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from parfocal.core.step import Context, Step, exact
from parfocal.images import ZarrOptions, write_ome_zarr
from parfocal.models.base import Parameters
from parfocal.models.image import Channel, ImageMetadata
from parfocal.models.outcome import ImageOutcome, Outcome
from parfocal.models.record import Engine, Failure, Record
from parfocal.models.sheet import Row, write_sheet
from parfocal.provenance.records import write_record

STEP_NAMES = ("fetch-image", "convert-image", "segment-objects", "measure-objects")
STEP_NAMES += ("assess-quality", "score-objects")
ODD_NAME = "<b>odd</b> \"name\" 'of' $HOME {{ 7 * 7 }} (éü 細胞) & more.tif"
REASON = (
    "The file ends before its pixels do: /data/plate 1/<cut>.tif; expected 2097152 bytes; "
    "found 12345. Copy the file again."
)


@dataclass
class Pixels:
    """An image in memory that can be read by region."""

    array: NDArray

    @property
    def shape5(self):
        return self.array.shape

    @property
    def dtype(self):
        return self.array.dtype

    def read(self, region):
        return self.array[region]


def unused_run(inputs, outputs, params, context):
    raise AssertionError


STEPS = tuple(Step(n, "1", n, Parameters, (), (), unused_run, exact()) for n in STEP_NAMES)


def discs(rng, height, width, count, radius):
    """Return labels (Y, X) of discs in random places."""
    y, x = np.ogrid[:height, :width]
    labels = np.zeros((height, width), np.uint32)
    for label in range(1, count + 1):
        cy, cx = rng.uniform(0, height), rng.uniform(0, width)
        own = (y - cy) ** 2 + ((x - cx) * rng.uniform(0.7, 1.3)) ** 2 < radius**2
        labels[own & (labels == 0)] = label
    return labels


def stain(rng, labels, channel):
    """Return a uint16 image (Y, X) with an object's brightness in each label."""
    levels = rng.uniform(800, 4000, labels.max() + 1)
    levels[0] = 200 + 60 * channel
    return (levels[labels] + rng.normal(0, 60, labels.shape)).clip(0, 65535).astype(np.uint16)


def write_image(folder, metadata, pixels, labels):
    options = ZarrOptions()
    write_ome_zarr(folder / "image.ome.zarr", metadata, Pixels(pixels), options)
    if labels is not None:
        axes = metadata.axes.replace("C", "")
        shape = tuple(metadata.size(axis) for axis in axes)
        own = metadata.model_copy(
            update={"axes": axes, "shape": shape, "dtype": "uint32", "channels": (), "rgb": False}
        )
        path = folder / "labels/nuclei.ome.zarr"
        path.parent.mkdir()
        write_ome_zarr(path, own, Pixels(labels), options, labels=True)


def fluorescence(rng, folder, name, *, planes=1, channels=("DAPI", "GFP"), size=(520, 700)):
    """Write an image of discs in some channels, and its labels; return how many there are."""
    flat = discs(rng, *size, 40, 22)
    colors = ("0000FF", "00FF00", "FF0000")
    metadata = ImageMetadata(
        name=name,
        axes="CZYX" if planes > 1 else "CYX",
        shape=(len(channels), *(planes,) * (planes > 1), *size),
        dtype="uint16",
        z_um=1.0 if planes > 1 else None,
        y_um=0.5,
        x_um=0.5,
        channels=tuple(
            Channel(name=channel, color=color)
            for channel, color in zip(channels, colors, strict=False)
        ),
    )
    stacks = [
        [stain(rng, flat, c) // (1 + abs(z - planes // 2)) for z in range(planes)]
        for c in range(len(channels))
    ]
    labels = np.broadcast_to(flat, (1, 1, planes, *size)).copy()
    write_image(folder, metadata, np.array(stacks)[None], labels)
    return int(flat.max())


def brightfield(rng, folder, name):
    """Write an RGB image without labels."""
    base = np.array([235, 200, 220])[:, None, None] - rng.normal(0, 8, (3, 300, 400))
    spots = discs(rng, 300, 400, 30, 12) > 0
    base[:, spots] -= np.array([120, 150, 60])[:, None]
    pixels = base.clip(0, 255).astype(np.uint8)[None, :, None]
    metadata = ImageMetadata(name=name, axes="CYX", shape=(3, 300, 400), dtype="uint8", rgb=True)
    write_image(folder, metadata, pixels, None)


def write_table(rng, path, image_id, objects, channels, *, solid=False):
    size = "volume_um3" if solid else "area_um2"
    area = rng.gamma(8, 25, objects)
    columns = {
        "image_id": pa.array([image_id] * objects, pa.string()),
        "label_name": pa.array(["nuclei"] * objects, pa.string()),
        "label": np.arange(1, objects + 1, dtype=np.uint32),
        "t": np.zeros(objects, np.int32),
        size: area,
        size.replace("um2", "px").replace("um3", "px"): (area * 4).astype(np.int64),
        "elongation": rng.beta(3, 3, objects),
    }
    for channel in channels:
        columns[f"intensity_mean_{channel}"] = rng.normal(2400, 700, objects).clip(300)
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(columns), path)


def write_findings(rng, folder, image_id, channels, *, f1=None):
    planes = [
        {
            "c": index,
            "channel": channel,
            "focus_laplacian_variance": float(rng.uniform(50, 900)),
            "saturated_fraction": float(rng.uniform(0, 0.01)),
            "noise": 12.5,
            "background": 200.0 + index,
            "signal_to_noise": float(rng.uniform(3, 40)),
        }
        for index, channel in enumerate(channels)
    ]
    write_json(folder / "quality.json", "quality", image_id=image_id, planes=[], channels=planes)
    thresholds = [] if f1 is None else [{"iou": 0.5, "f1": f1}, {"iou": 0.75, "f1": f1 * 0.8}]
    truth = None if f1 is None else "truth.tif"
    write_json(folder / "scores/nuclei.json", "scores", ground_truth=truth, thresholds=thresholds)
    reader = {"reader": "tifffile", "version": "2026.3.3"}
    write_json(
        folder / "image.certificate.json",
        "certificate",
        verdict="verified" if f1 else "self-consistent",
        source=reader,
        result=reader,
    )


def write_json(path, form, **content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"format": f"parfocal-{form}-1", **content}))


def record(results, step, image_id, *, attempt=1, **changes):
    when = datetime(2026, 1, 1, tzinfo=UTC)
    fields = {
        "step": step,
        "step_version": "1",
        "parfocal_version": "0.1.0",
        "image_id": image_id,
        "attempt": attempt,
        "status": "done",
        "started": when,
        "host": "h",
        "pid": 1,
        "engine": Engine(name="snakemake", version="9.27.1"),
        "parameters": {"threshold": {"method": "otsu", "offset": 0.0}, "label_name": "nuclei"},
    }
    path = results / "records" / step.replace("-", "_") / image_id / f"{attempt:04d}.json"
    write_record(path, Record(**{**fields, **changes}))


def write_outcomes(results, broken):
    """Write outcomes and records of three done images and one that failed in conversion."""
    for step in STEP_NAMES:
        images = []
        for image_id in ("cells", "stack", "slide"):
            warnings = ("The pixel size is not known.",) if image_id == "slide" else ()
            record(results, step, image_id, warnings=warnings)
            images.append(ImageOutcome(image_id=image_id, status="done"))
        if step == "convert-image":
            failure = Failure(type="InputError", message=REASON, exit_code=2)
            record(results, step, broken, status="failed", error=failure)
            images.append(
                ImageOutcome(image_id=broken, status="failed", failed_step=step, error=REASON)
            )
        elif step != "fetch-image":
            images.append(
                ImageOutcome(
                    image_id=broken, status="skipped", failed_step="convert-image", error=REASON
                )
            )
        path = results / "outcomes" / step.replace("-", "_") / "0.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Outcome(step=step, images=tuple(images)).model_dump_json())


def build_results(results: Path) -> Path:
    """Write the results of a run of four images: 2D, 3D, RGB without labels, and a failed one.

    Returns
    -------
    Path
        The sample sheet.
    """
    rng = np.random.default_rng(7)
    images = results / "images"
    names = {"cells": ODD_NAME, "stack": "stack of nuclei", "slide": "slide.svs", "broken": ""}
    sheet = results / "samples.tsv"
    for image_id in ("cells", "stack", "slide"):
        (images / image_id).mkdir(parents=True)
    write_sheet(sheet, [Row(image_id=i, name=n, source="s.tif") for i, n in names.items()])
    count = fluorescence(rng, images / "cells", ODD_NAME)
    write_table(rng, images / "cells/tables/nuclei.parquet", "cells", count, ("DAPI", "GFP"))
    write_findings(rng, images / "cells", "cells", ("DAPI", "GFP"), f1=0.912)
    deep = fluorescence(
        rng, images / "stack", "stack", planes=5, channels=("DAPI",), size=(256, 256)
    )
    write_table(rng, images / "stack/tables/nuclei.parquet", "stack", deep, ("DAPI",), solid=True)
    write_findings(rng, images / "stack", "stack", ("DAPI",))
    brightfield(rng, images / "slide", "slide.svs")
    write_table(rng, images / "slide/tables/nuclei.parquet", "slide", 0, ("R",))
    write_findings(rng, images / "slide", "slide", ("R", "G", "B"))
    write_outcomes(results, "broken")
    return sheet


def render(results: Path, sheet: Path, output: Path, **params) -> Context:
    """Run the step on a results folder, with the steps of `STEP_NAMES`."""
    from parfocal.steps.render_report import STEP

    context = Context(scratch=output.parent)
    inputs = {"results": results, "sheet": sheet}
    STEP.run(inputs, {"report": output}, STEP.params(**params), context)
    return context
