"""One run of the workflow analyse_images, which takes minutes, for all tests that look at one.

It begins with three images and a file that is none; no sample sheet tells of them.
"""

from __future__ import annotations

import fcntl
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import tifffile
from tests.galaxy.configuration import ROOT
from tests.galaxy.history import History
from tests.galaxy.mapped_runs import list_of
from tests.galaxy.server import Galaxy
from tests.galaxy.workflow_runs import run_workflow

__all__ = ["BROKEN", "IMAGES", "WORKFLOW", "Analysis", "analysis", "write_images"]

WORKFLOW = ROOT / "workflows/analyse_images/analyse_images.gxwf.yml"
DATA = WORKFLOW.parent / "test-data"
IMAGES = ("cells", "packed", "stack")
BROKEN = "notes"
_TYPES = {"packed": "ome_zarr.zip"}


@dataclass(frozen=True)
class Analysis:
    """A run that has ended.

    Attributes
    ----------
    history : str
        Where it ran.
    images : str
        The collection that it began with.
    outputs, collections : dict of str to str
        What it made, by labels.
    states : dict of str to int
        How many jobs ended how.
    """

    history: str
    images: str
    outputs: dict[str, str]
    collections: dict[str, str]
    states: dict[str, int]

    def within(self, galaxy: Galaxy) -> History:
        """Return the history of the run."""
        return History(galaxy, "", known=self.history)


def write_images(folder: Path) -> Mapping[str, Path]:
    """Write the images that a run begins with, by their names, and one file that is none.

    An image is called as its file is, in its own metadata too. Galaxy has no suffix of a file but
    that of its datatype, so the files have these.
    """
    files = {
        "cells": ("cells.tiff", (DATA / "cells.tif").read_bytes()),
        BROKEN: (f"{BROKEN}.tiff", b"No image here.\n"),
        "packed": ("packed.ome.zarr.zip", (DATA / "cells.ome.zarr.zip").read_bytes()),
        "stack": ("stack.tiff", _stack_tiff()),
    }
    folder.mkdir()
    for name, content in files.values():
        (folder / name).write_bytes(content)
    return {image: folder / name for image, (name, _) in files.items()}


def _stack_tiff() -> bytes:
    """Return four balls in noise (Z, Y, X) uint16, two of which touch."""
    z, y, x = np.mgrid[:8, :48, :64]
    pixels = np.random.default_rng(6).poisson(60, z.shape)
    for row, column in ((12, 14), (34, 20), (34, 33), (14, 48)):
        pixels[(2 * (z - 4)) ** 2 + (y - row) ** 2 + (x - column) ** 2 <= 49] += 700
    file = io.BytesIO()
    described = {"axes": "ZYX", "unit": "um", "spacing": 2.0}
    tifffile.imwrite(
        file, pixels.astype(np.uint16), imagej=True, resolution=(4.0, 4.0), metadata=described
    )
    return file.getvalue()


def analysis(galaxy: Galaxy, shared: Path) -> Analysis:
    """Return the run, which is begun unless it has been by another process of these tests.

    Parameters
    ----------
    galaxy : Galaxy
        Where.
    shared : Path
        A folder that the processes share.
    """
    known = shared / "analysis.json"
    with (shared / "analysis.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not known.exists():
            found = _run(galaxy, shared / "images of the analysis")
            known.write_text(json.dumps(asdict(found)), encoding="utf-8")
    return Analysis(**json.loads(known.read_text("utf-8")))


def _run(galaxy: Galaxy, folder: Path) -> Analysis:
    history = History(galaxy, "analyse_images")
    datasets = {
        image: history.upload(path, _TYPES.get(image, "tiff"))
        for image, path in write_images(folder).items()
    }
    images = list_of(history, datasets)
    workflow = history.upload(WORKFLOW, "yaml")
    inputs = {
        "images": {"src": "hdca", "id": images},
        "channel": "0",
        "workflow": {"src": "hda", "id": workflow},
    }
    done = run_workflow(history, WORKFLOW, inputs)
    return Analysis(history.id, images, done.outputs, done.collections, done.states)
