"""The servers that the tests of the tools for fetching ask, at fixed ports of this machine.

The XML of a tool names them, so the ports cannot be free ones. ``python -m tests.galaxy.sources``
runs them until it is interrupted, for those who run the tests of a tool by hand.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np
import tifffile

sys.path.insert(0, str(Path(__file__).parents[1]))

from galaxy_annotation_samples import ANNOTATED, ANNOTATION_FILES, SERVER
from galaxy_samples import cells
from omero_objects import dataset, save, upload_image
from omero_process import OwnServer
from parfocal.engine import run_step
from parfocal.steps.apply_annotations import STEP as APPLY
from webserver import serve

if TYPE_CHECKING:
    from omero.gateway import BlitzGateway

__all__ = ["NEEDED_BY", "sources"]

NEEDED_BY = ("fetch_image", "list_images", "apply_annotations")
NEEDED_BY += ("verify_annotations", "revert_annotations")
OMERO_PORT, WEB_PORT = 18764, 18765
WAIT_S = 1200
NAMES = ("cells", 'it\'s $(odd) "two"', "three", "four")
WITH_OBJECTS = ("five", "six")


@contextmanager
def sources() -> Iterator[None]:
    """Serve an image on the web, and some on an OMERO server where alice logs in.

    Its dataset 1 holds the images 1 and 2; those of `ANNOTATED` are annotated. The images 5 and 6
    in the dataset 4 are those with objects.
    """
    with _alone(), tempfile.TemporaryDirectory() as home:
        web = Path(home) / "web"
        web.mkdir()
        (web / "cells.tif").write_bytes(_tiff())
        omero = OwnServer(Path(home) / "omero")
        omero.tcp = OMERO_PORT
        omero.start()
        try:
            _fill(omero)
            with serve(web, WEB_PORT):
                yield
        finally:
            omero.stop()


@contextmanager
def _alone() -> Iterator[None]:
    """Wait until no other process of this machine has the ports.

    Raises
    ------
    TimeoutError
        One has them for too long.
    """
    deadline = time.monotonic() + WAIT_S
    with (Path(tempfile.gettempdir()) / "parfocal-galaxy-sources.lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the ports {OMERO_PORT}, {WEB_PORT} are in use") from None
                time.sleep(1)
        yield


def _tiff() -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, np.arange(32 * 40, dtype=np.uint16).reshape(32, 40))
    return file.getvalue()


def _fill(server: OwnServer) -> None:
    """Make the images as the XML of the tools has them."""
    from omero.gateway import BlitzGateway

    password = server.password("alice")
    gateway = BlitzGateway("alice", password, host=server.host, port=server.ssl, secure=True)
    if not gateway.connect():
        raise RuntimeError(f"alice cannot log in: {gateway.getLastError()}")
    try:
        first = upload_image(gateway, NAMES[0])
        parent = gateway.getObject("Image", first).getParent().getId()
        others = [upload_image(gateway, NAMES[1], parent=parent)]
        others += [upload_image(gateway, name) for name in NAMES[2:]]
        others += [dataset_4 := _dataset(gateway)]
        others += [_upload_cells(gateway, name, dataset_4) for name in WITH_OBJECTS]
        if (parent, first, *others) != (1, 1, 2, 3, 4, 4, 5, 6):
            raise RuntimeError(f"dataset {parent} with the images {first} and {others}")
    finally:
        gateway.close()
    for image in ANNOTATED:
        _annotate(image, password)


def _dataset(gateway: BlitzGateway) -> int:
    return int(save(gateway, dataset("with objects")).id.val)


def _upload_cells(gateway: BlitzGateway, name: str, parent: int) -> int:
    """Make an image of six discs in two channels."""
    pixels = cells().pixels
    within = gateway.getObject("Dataset", parent)
    planes = (pixels[0, channel, 0] for channel in range(2))
    return int(gateway.createImageFromNumpySeq(planes, name, 1, 2, 1, dataset=within).getId())


def _annotate(image: int, password: str) -> None:
    """Apply the plan of an image, whose journal then has to be that of the test data."""
    tokens = [
        json.loads(line)["begin"]["token"]
        for line in ANNOTATION_FILES[f"journal-{image}.jsonl"]().splitlines()
        if b'"begin"' in line
    ]
    login = {"OMERO_HOST": SERVER, "OMERO_USER": "alice", "OMERO_PASSWORD": password}
    with (
        tempfile.TemporaryDirectory() as home,
        mock.patch.dict(os.environ, login),
        mock.patch("parfocal.omero.annotate.apply.new_token", side_effect=tokens),
    ):
        results = Path(home)
        (results / "plan.json").write_bytes(ANNOTATION_FILES[f"plan-{image}.json"]())
        inputs = {"results": results, "plan": results / "plan.json"}
        run_step(APPLY, inputs, {"receipt": results / "receipt.json"})
        (journal,) = (results / "annotations").glob("*.jsonl")
        if journal.read_bytes() != ANNOTATION_FILES[f"journal-{image}.jsonl"]():
            raise RuntimeError(f"the journal of image {image} is {journal.read_text('utf-8')}")


if __name__ == "__main__":
    import signal

    with sources():
        print(f"OMERO at {OMERO_PORT}, the web at {WEB_PORT}", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
