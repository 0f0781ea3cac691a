"""How fast images are listed and raw pixels come from the test server of OMERO, and in what memory.

The server is a Python process on the same cores: what is compared are numbers of connections.
"""

from __future__ import annotations

import json
import math
import os
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from tests.omero.server.control import Control
from tests.omero_process import OwnServer

LATENCY_S = 0.04
CONNECTIONS = (1, 4, 8)
PLANES = (1, 2, 16, 2048, 2048)
LISTED = 10_000
LARGE = (1, 3, 80, 2048, 2048)
PARFOCAL = [sys.executable, "-m", "parfocal"]


def measure_omero_reading(folder: Path) -> None:
    """Read planes with 40 ms for each answer, list a dataset, fetch 2 GB; print the rows."""
    with _server(folder) as (server, control):
        _measure_speed(folder, server, control)
        _measure_listing(folder, server, control)
        _measure_memory(folder, server, control)


def _measure_speed(folder: Path, server: OwnServer, control: Control) -> None:
    from parfocal.models.omero_server import parse_omero_server
    from parfocal.omero.connection import connect
    from parfocal.omero.images import read_image

    number = _import(folder, control, PLANES)[0]
    address = parse_omero_server(server.uri)
    image = read_image(connect(address), number)
    control.delay("RawPixelsStore", "getTile", LATENCY_S, times=10**9)
    rates: dict[int, list[float]] = {count: [] for count in CONNECTIONS}
    for _ in range(int(os.environ.get("PARFOCAL_BENCH_ROUNDS", "5"))):
        for count, found in rates.items():
            found.append(_rate(address, image, count))
    control.reset()
    for count, found in rates.items():
        what = f"Raw pixels, {count} connection(s), 40 ms away"
        print(f"| {what} | {statistics.median(found):.0f} MB a second | |", flush=True)


def _rate(address: Any, image: Any, count: int) -> float:
    from parfocal.core.blocks import iter_blocks, whole
    from parfocal.omero.pixels import OmeroPixels

    with OmeroPixels(address, image, count) as pixels:
        one = (1, 1, pixels.planes_at_once, *pixels.shape5[3:])
        blocks = list(iter_blocks(whole(pixels.shape5), one))
        pixels.read(blocks[0])  # so that all are logged in
        start = time.perf_counter()
        come = sum(pixels.read(block).nbytes for block in blocks)
        return come / 1e6 / (time.perf_counter() - start)


def _measure_listing(folder: Path, server: OwnServer, control: Control) -> None:
    from omero.gateway import BlitzGateway
    from omero.model import DatasetI
    from omero.rtypes import rstring

    gateway = BlitzGateway("alice", "alice", host="localhost", port=server.ssl, secure=True)
    gateway.connect()
    dataset = DatasetI()
    dataset.name = rstring("many")
    number = gateway.getUpdateService().saveAndReturnObject(dataset).id.val
    gateway.close()
    for _ in range(0, LISTED, 1000):
        _import(folder, control, (1, 2, 1, 8, 9), times=1000, dataset=number)
    since = control.last()
    source = f"source={server.uri}/dataset/{number}"
    start = time.perf_counter()
    _run(folder, "list-images", "--set", source, "--sheet", "s.tsv")
    seconds = time.perf_counter() - start
    calls = len(control.journal("IQuery", "*", since))
    text = f"{seconds:.0f} s, {calls} questions"
    print(f"| `list-images` of {LISTED:,} images | {text} | |", flush=True)


def _measure_memory(folder: Path, server: OwnServer, control: Control) -> None:
    (number,) = _import(folder, control, LARGE)
    source = f"source={server.uri}/image/{number}"
    options = ["--set", "pixels=raw", "--original", "large", "--record", "record.json"]
    _run(folder, "fetch-image", "--set", source, *options)
    record = json.loads((folder / "record.json").read_text("utf-8"))
    peak = f"{record['peak_memory_bytes'] / 1e6:.0f} MB"
    print(f"| `fetch-image` of 2 GB of raw pixels, peak memory | {peak} | < 500 MB |", flush=True)


def _import(
    folder: Path, control: Control, shape: tuple[int, ...], times: int = 1, **more: Any
) -> list[int]:
    """Have the server make images of that shape; return their numbers."""
    path = folder / "pixels.npy"
    rng = np.random.default_rng(0)
    with path.open("wb") as file:  # no mapping: its memory would count as that of processes begun
        header = {"descr": "<u2", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(math.prod(shape[:3])):
            rng.integers(0, 4000, shape[3:], np.uint16).tofile(file)
    series = times * [{"npy": str(path)}]
    made = control.seed("import", files=[__file__], series=series, **more)
    path.unlink()
    return list(made["images"])


def _run(folder: Path, *arguments: str) -> None:
    subprocess.run([*PARFOCAL, *arguments], cwd=folder, check=True, stderr=subprocess.DEVNULL)


@contextmanager
def _server(folder: Path) -> Iterator[tuple[OwnServer, Control]]:
    from parfocal.models.omero_server import parse_omero_server
    from parfocal.omero.pins import pin

    os.environ |= {"OMERO_USER": "alice", "OMERO_PASSWORD": "alice"}
    os.environ |= {"XDG_CONFIG_HOME": str(folder / "config"), "OMERO_USERDIR": str(folder)}
    server = OwnServer(folder / "server")
    server.start()
    try:
        pin(parse_omero_server(server.uri), ssl.get_server_certificate(("localhost", server.ssl)))
        yield server, Control(server.faults)
    finally:
        server.stop()
