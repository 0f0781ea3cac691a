"""The servers that the tests of the tools for fetching ask, at fixed ports of this machine.

The XML of a tool names them, so the ports cannot be free ones. ``python -m tests.galaxy.sources``
runs them until it is interrupted, for those who run the tests of a tool by hand.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tifffile

sys.path.insert(0, str(Path(__file__).parents[1]))

from omero_objects import upload_image
from omero_process import OwnServer
from webserver import serve

__all__ = ["NEEDED_BY", "sources"]

NEEDED_BY = ("fetch_image", "list_images")
OMERO_PORT, WEB_PORT = 18764, 18765
NAMES = ("cells", 'it\'s $(odd) "two"')


@contextmanager
def sources() -> Iterator[None]:
    """Serve an image on the web, and a dataset of two on an OMERO server where alice logs in."""
    with tempfile.TemporaryDirectory() as home:
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


def _tiff() -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, np.arange(32 * 40, dtype=np.uint16).reshape(32, 40))
    return file.getvalue()


def _fill(server: OwnServer) -> None:
    """Make the images 1 and 2 in the dataset 1, as the XML of the tools has them."""
    from omero.gateway import BlitzGateway

    password = server.password("alice")
    gateway = BlitzGateway("alice", password, host=server.host, port=server.ssl, secure=True)
    if not gateway.connect():
        raise RuntimeError(f"alice cannot log in: {gateway.getLastError()}")
    try:
        first = upload_image(gateway, NAMES[0])
        dataset = gateway.getObject("Image", first).getParent().getId()
        second = upload_image(gateway, NAMES[1], parent=dataset)
        if (dataset, first, second) != (1, 1, 2):
            raise RuntimeError(f"dataset {dataset} with the images {first} and {second}")
    finally:
        gateway.close()


if __name__ == "__main__":
    import signal

    with sources():
        print(f"OMERO at {OMERO_PORT}, the web at {WEB_PORT}", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
